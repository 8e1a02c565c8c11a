# SPDX-License-Identifier: MIT
"""The handlers that are scripts."""

import re
import socket
import unittest

from harness import DEADLINE, Handler


class Scripts(unittest.TestCase):
    def answer(self, program, question):
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                handler = Handler(program, stdin=theirs)
            ours.settimeout(DEADLINE)
            ours.sendall(question)
            ours.shutdown(socket.SHUT_WR)
            answer = b""
            while data := ours.recv(4096):
                answer += data
        self.assertEqual(handler.wait(), 0)
        return answer

    def test_weekday_answers_each_line(self):
        self.assertEqual(self.answer("weekday", b"2026-11-26\r\n1970-01-01\n"), b"Thursday\r\nThursday\r\n")

    def test_weekday_says_what_it_wants(self):
        wrong = b"not a date like 2026-11-26\r\n"
        for question in b"2026-02-30\n", b"\n", b"\xff\n", b"x" * 60 + b"\n":
            with self.subTest(question):
                self.assertEqual(self.answer("weekday", question), wrong)
        self.assertEqual(self.answer("weekday", b"x" * 1000), 16 * wrong)

    def test_load_answers_a_line_or_the_end(self):
        for question in b"\n", b"anything\r\n", b"":
            with self.subTest(question):
                self.assertTrue(re.fullmatch(rb"\d+\.\d\d \d+\.\d\d \d+\.\d\d\r\n", self.answer("load", question)))


if __name__ == "__main__":
    unittest.main()
