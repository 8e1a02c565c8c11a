# SPDX-License-Identifier: MIT
"""One connection on stdin and stdout: what each service sends, and where it stops."""

import datetime
import os
import socket
import struct
import threading
import time
import unittest

from harness import HandlerTest, read_all, read_exactly

SINCE_1900 = 2208988800
BIG = os.urandom(1 << 20)


class Echo(HandlerTest):
    def half_close(self, client, theirs):
        """The client sends everything, half-closes, and only then has finished reading: nothing may be missing."""
        handler = self.start("echo", stdin=theirs)
        theirs.close()

        def send():
            client.sendall(BIG)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = read_all(client)
        sender.join()
        self.assertEqual(received, BIG)
        self.expect_exit(handler)

    def test_tcp_connection_is_echoed_after_half_close(self):
        self.half_close(*self.tcp_pair())

    def test_unix_connection_is_echoed_after_half_close(self):
        self.half_close(*self.pair())

    def test_seqpacket_keeps_its_records(self):
        client, theirs = self.pair(socket.SOCK_SEQPACKET)
        handler = self.start("echo", stdin=theirs)
        theirs.close()
        for record in (b"one", b"x" * 30000, b"three"):
            client.send(record)
            self.assertEqual(client.recv(1 << 16), record)
        client.close()
        self.expect_exit(handler)

    def test_pipes_are_a_connection(self):
        into, out = os.pipe(), os.pipe()
        handler = self.start("echo", stdin=into[0], stdout=out[1])
        os.close(into[0]), os.close(out[1])
        with open(into[1], "wb") as sending, open(out[0], "rb") as receiving:
            sending.write(b"through pipes")
            sending.close()
            self.assertEqual(receiving.read(), b"through pipes")
        self.expect_exit(handler)

    def test_file_without_a_datagram_about_it_is_a_connection(self):
        source, out = os.memfd_create("input"), os.pipe()
        os.pwrite(source, b"from a file", 0)
        handler = self.start("echo", stdin=source, stdout=out[1])
        os.close(source), os.close(out[1])
        with open(out[0], "rb") as receiving:
            self.assertEqual(receiving.read(), b"from a file")
        self.expect_exit(handler)

    def test_client_that_is_gone_is_no_failure(self):
        client, theirs = self.tcp_pair()
        client.sendall(BIG[:1000])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a RST
        handler = self.start("echo", stdin=theirs)
        theirs.close()
        self.expect_exit(handler)

    def test_silent_client_is_given_up(self):
        client, theirs = self.tcp_pair()
        handler = self.start("echo", "--timeout", "1", stdin=theirs)
        theirs.close()
        self.assertEqual(client.recv(1), b"")
        self.expect_exit(handler)


class Others(HandlerTest):
    def answer(self, service, sent=b""):
        client, theirs = self.tcp_pair()
        client.sendall(sent)
        handler = self.start(service, stdin=theirs)
        theirs.close()
        received = read_all(client)
        self.expect_exit(handler)
        return received

    def test_discard_reads_to_the_end_and_says_nothing(self):
        client, theirs = self.tcp_pair()
        handler = self.start("discard", stdin=theirs)
        theirs.close()
        client.sendall(BIG)
        self.assertIsNone(handler.process.poll())
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"")
        self.expect_exit(handler)

    def test_daytime_is_one_line_with_the_time(self):
        line = self.answer("daytime")
        self.assertTrue(line.endswith(b"\r\n"))
        told = datetime.datetime.strptime(line.decode().strip(), "%a %b %d %H:%M:%S %Y")
        self.assertLess(abs(told - datetime.datetime.now()), datetime.timedelta(seconds=DEADLINE_OF_CLOCK))

    def test_time_is_32_bits_since_1900(self):
        answer = self.answer("time")
        self.assertEqual(len(answer), 4)
        (told,) = struct.unpack("!I", answer)
        self.assertLess(abs(told - (int(time.time()) + SINCE_1900) % (1 << 32)), DEADLINE_OF_CLOCK)

    def test_unasked_input_does_not_reset_the_answer(self):
        for _ in range(20):
            self.assertEqual(len(self.answer("daytime", sent=BIG[:20000])), 26)

    def test_chargen_rotates_until_the_client_closes(self):
        client, theirs = self.tcp_pair()
        handler = self.start("chargen", stdin=theirs)
        theirs.close()
        client.sendall(BIG[:1000])
        printable = bytes(range(0x20, 0x7F))
        for line in range(200):
            at = line % 95
            self.assertEqual(read_exactly(client, 74), (printable * 2)[at:at + 72] + b"\r\n")
        client.close()
        self.expect_exit(handler)


DEADLINE_OF_CLOCK = 10

if __name__ == "__main__":
    unittest.main()
