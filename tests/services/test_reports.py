# SPDX-License-Identifier: MIT
"""What a worker tells superd over SUPERD_STATUS_FD."""

import collections
import os
import socket
import unittest

from harness import HandlerTest, blocking, read_all, read_exactly

THREADS = ("--threads", "4")


class Reports(HandlerTest):
    def test_each_request_is_reported_busy_then_idle(self):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            listener = self.listener()
            ours, theirs = self.pair(kind)
            worker = self.start("echo", stdin=listener, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
            theirs.close()
            for _ in range(3):
                self.nothing_pending(ours)
                client = self.connect(listener)
                self.assertEqual(read_exactly(ours, 5), b"busy\n")
                self.echo(client)
                self.nothing_pending(ours)
                client.close()
                self.assertEqual(read_exactly(ours, 5), b"idle\n")
            worker.term()
            self.expect_exit(worker)

    def test_threads_report_each_request(self):
        listener = self.listener()
        ours, theirs = self.pair()
        worker = self.start("echo", *THREADS, stdin=listener,
                            env={"SUPERD_STATUS_FD": str(theirs.fileno()), "SUPERD_MAX_REQUESTS": "20"})
        theirs.close()
        for _ in range(20):
            client = self.connect(listener)
            self.echo(client)
            client.close()
        self.expect_exit(worker)
        records = collections.Counter(read_all(ours).splitlines())
        self.assertEqual(records, {b"busy": 20, b"idle": 20})

    def test_reports_over_a_pipe(self):
        listener = self.listener()
        reading, writing = os.pipe()
        worker = self.start("echo", stdin=listener,
                            env={"SUPERD_STATUS_FD": str(writing), "SUPERD_MAX_REQUESTS": "1"})
        os.close(writing)
        self.echo(client := self.connect(listener))
        client.close()
        self.expect_exit(worker)
        with open(reading, "rb") as records:
            self.assertEqual(records.read(), b"busy\nidle\n")

    def test_datagrams_are_reported(self):
        sock = blocking(self.udp())
        ours, theirs = self.pair()
        self.start("echo", stdin=sock, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        self.udp().sendto(b"hello", sock.getsockname())
        self.assertEqual(read_exactly(ours, 10), b"busy\nidle\n")

    def test_deaf_or_gone_supervisor_holds_no_client(self):
        listener = self.listener()
        ours, theirs = self.pair()
        theirs.setblocking(False)
        try:
            while True:
                theirs.send(bytes(4096))
        except BlockingIOError:
            theirs.setblocking(True)
        worker = self.start("echo", stdin=listener, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        theirs.close()
        for gone in (False, True):
            if gone:
                ours.close()
            self.echo(client := self.connect(listener))
            client.close()
        worker.term()
        self.expect_exit(worker)


if __name__ == "__main__":
    unittest.main()
