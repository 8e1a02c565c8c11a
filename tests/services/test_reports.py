# SPDX-License-Identifier: MIT
"""What a worker reports to superd over SUPERD_STATUS_FD."""

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
            self.assertEqual(read_exactly(ours, 5), b"idle\n")
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
        self.assertEqual(records, {b"busy": 20, b"idle": 4 + 20})

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
            self.assertEqual(records.read(), b"idle\nbusy\nidle\n")

    def test_datagrams_are_reported(self):
        sock = blocking(self.udp())
        ours, theirs = self.pair()
        self.start("echo", stdin=sock, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        self.udp().sendto(b"hello", sock.getsockname())
        self.assertEqual(read_exactly(ours, 15), b"idle\nbusy\nidle\n")

    def test_each_message_is_true_by_itself(self):
        """However many go together: a reader of one message without the next never finds more room than there is."""
        sock = blocking(self.udp())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        ours, theirs = self.pair(socket.SOCK_SEQPACKET)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least: it is full soon
        self.start("echo", stdin=sock, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        theirs.close()
        client = self.udp()
        for begin in range(0, 2000, 50):
            for number in range(begin, begin + 50):
                client.sendto(b"%d" % number, sock.getsockname())
            self.assertEqual([int(client.recv(100)) for _ in range(50)], list(range(begin, begin + 50)))
        clients = free = 0
        while clients < 2000 or free == 0:
            records = collections.Counter(ours.recv(65536).splitlines())
            free = max(free + records[b"idle"] - records[b"busy"], 0)
            clients += records[b"busy"]
            self.assertLessEqual(free, 1)
        self.assertEqual(clients, 2000)

    def test_deaf_supervisor_holds_no_client(self):
        listener = self.listener()
        _ours, theirs = self.pair()
        theirs.setblocking(False)
        try:
            while True:
                theirs.send(bytes(4096))
        except BlockingIOError:
            theirs.setblocking(True)
        worker = self.start("echo", stdin=listener, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        theirs.close()
        for _ in range(2):
            self.echo(client := self.connect(listener))
            client.close()
        worker.term()
        self.expect_exit(worker)

    def test_leaves_when_superd_closes_its_side(self):
        """Half or whole: the client that it has is served to its end, one that comes then is left to others."""
        for arguments in ((), THREADS):
            for whole in (False, True):
                with self.subTest(arguments=arguments, whole=whole):
                    listener = self.listener()
                    ours, theirs = self.pair(socket.SOCK_SEQPACKET)
                    worker = self.start("echo", *arguments, stdin=listener,
                                        env={"SUPERD_STATUS_FD": str(theirs.fileno())})
                    theirs.close()
                    self.echo(client := self.connect(listener))
                    if whole:
                        ours.close()
                    else:
                        ours.shutdown(socket.SHUT_WR)
                    self.echo(client)
                    client.close()
                    self.expect_exit(worker)
                    late = self.connect(listener)
                    listener.settimeout(20)
                    listener.accept()[0].close()
                    late.close()

    def test_closed_before_the_worker_looks(self):
        listener = self.listener()
        ours, theirs = self.pair(socket.SOCK_SEQPACKET)
        ours.close()
        worker = self.start("echo", stdin=listener, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        self.expect_exit(worker)

    def test_many_short_requests_go_together(self):
        """Under load the records of many requests come in few messages; none is lost."""
        listener = self.listener()
        ours, theirs = self.pair(socket.SOCK_SEQPACKET)
        worker = self.start("discard", stdin=listener,
                            env={"SUPERD_STATUS_FD": str(theirs.fileno()), "SUPERD_MAX_REQUESTS": "500"})
        theirs.close()
        for _ in range(500):
            client = self.connect(listener)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"")
            client.close()
        self.expect_exit(worker)
        messages = []
        while message := ours.recv(65536):
            messages.append(message)
        self.assertEqual(collections.Counter(b"".join(messages).splitlines()), {b"busy": 500, b"idle": 1 + 500})
        self.assertLess(len(messages), 500)


if __name__ == "__main__":
    unittest.main()
