# SPDX-License-Identifier: MIT
"""Datagrams: from a shared socket and one per process, whom the services answer, and with how much."""

import os
import socket
import unittest

from harness import HandlerTest, blocking

ANSWERS = {  # to a datagram of so many bytes
    "echo": lambda size: size,
    "chargen": lambda size: min(2 * size, 512),
    "daytime": lambda size: 26,
    "time": lambda size: 4,
}


class OnSharedSocket(HandlerTest):
    def service(self, name, *arguments, address="127.0.0.1", family=socket.AF_INET):
        """A handler alone on a socket; the address to reach it at."""
        sock = self.udp(address, family=family)
        handler = self.start(name, *arguments, stdin=blocking(sock))
        return sock.getsockname()[1], handler

    def ask(self, client, port, data=b"hello", address="127.0.0.1"):
        client.sendto(data, (address, port))
        reply, sender = client.recvfrom(1 << 16)
        self.assertEqual(sender[:2], (address, port))
        return reply

    def test_length_of_each_answer(self):
        for name, length in ANSWERS.items():
            with self.subTest(name):
                port, handler = self.service(name)
                client = self.udp()
                for size in (0, 1, 2, 100, 256, 257, 1000, 60000):
                    reply = self.ask(client, port, os.urandom(size))
                    self.assertEqual(len(reply), length(size))
                    self.assertLessEqual(len(reply), max(2 * size, 32))
                handler.term()
                self.expect_exit(handler)

    def test_echo_is_the_same_bytes(self):
        port, _ = self.service("echo")
        data = os.urandom(65507)
        self.assertEqual(self.ask(self.udp(), port, data), data)

    def test_discard_takes_all_and_answers_none(self):
        sock = self.udp()
        handler = self.start("discard", stdin=blocking(sock), env={"SUPERD_MAX_REQUESTS": "3"})
        client = self.udp()
        for size in (0, 10, 1000):
            client.sendto(bytes(size), sock.getsockname())
        self.expect_exit(handler)
        self.nothing_pending(client)

    def test_reply_comes_from_the_address_that_was_asked(self):
        port, _ = self.service("echo", address="0.0.0.0")
        for address in ("127.0.0.1", "127.0.0.2", "127.9.8.7"):
            self.ask(self.udp(), port, address=address)

    def test_dual_stack_reply_comes_from_the_address_that_was_asked(self):
        sock = self.open(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        port = sock.getsockname()[1]
        self.start("echo", stdin=blocking(sock))
        self.ask(self.udp(), port, address="127.0.0.3")
        self.ask(self.udp("::1", family=socket.AF_INET6), port, address="::1")

    def test_unix_datagrams_are_answered_where_the_sender_has_a_name(self):
        sock = self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind("")  # the kernel picks an abstract name
        self.start("echo", stdin=blocking(sock))
        client, nameless = self.open(socket.AF_UNIX, socket.SOCK_DGRAM), self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.bind("")
        nameless.sendto(b"no way back", sock.getsockname())
        client.sendto(b"hello", sock.getsockname())
        self.assertEqual(client.recv(100), b"hello")

    def test_descriptors_of_a_sender_are_not_kept(self):
        sock = self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind("")
        handler = self.start("echo", stdin=blocking(sock))
        client = self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.bind("")
        client.connect(sock.getsockname())

        def ask():
            self.assertEqual(client.recv(100), b"hello")
            return len(os.listdir(f"/proc/{handler.process.pid}/fd"))

        client.send(b"hello")
        before = ask()
        given = self.own(open("/dev/null", "rb")).fileno()
        for _ in range(20):
            socket.send_fds(client, [b"hello"], [given] * 20)
            self.assertEqual(ask(), before)

    def unanswered(self, port, client, address="127.0.0.1"):
        """Sends from `client`, then from one that is answered: by then the first has been dealt with."""
        client.sendto(b"hello", (address, port))
        self.ask(self.udp(), port, b"after it")
        self.nothing_pending(client)

    def test_own_port_and_low_ports_are_not_answered(self):
        for name in ("echo", "chargen"):
            with self.subTest(name):
                port, handler = self.service(name)
                self.unanswered(port, self.udp("127.0.0.2", port))
                try:
                    for low in (7, 19, 1023):
                        with self.udp("127.0.0.2", low) as client:
                            self.unanswered(port, client)
                except OSError:
                    pass  # not ours to take; OneDatagram shows the same without
                handler.term()
                self.expect_exit(handler)

    def test_min_port_raises_the_bound(self):
        low, high = sorted((self.udp(), self.udp()), key=lambda sock: sock.getsockname()[1])
        port, _ = self.service("echo", "--min-port", str(high.getsockname()[1]))
        low.sendto(b"hello", ("127.0.0.1", port))
        self.assertEqual(self.ask(high, port), b"hello")
        self.nothing_pending(low)

    def test_broadcast_and_multicast_are_not_answered(self):
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            sock = self.open(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((address, 0))
            port = sock.getsockname()[1]
            client = self.udp("0.0.0.0")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            loopback = socket.inet_aton("127.0.0.1")
            client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
            if family == socket.AF_INET:
                group = socket.inet_aton("239.1.2.3") + loopback
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            self.start("echo", stdin=blocking(sock))
            self.unanswered(port, client, "127.255.255.255")  # perhaps there before the handler
            self.unanswered(port, client, "127.255.255.255")
            if family == socket.AF_INET:
                self.unanswered(port, client, "239.1.2.3")

    def test_alone_it_leaves_when_idle_and_the_next_takes_over(self):
        sock = self.udp()
        client = self.udp()
        for _ in range(2):
            handler = self.start("echo", "--idle", "1", stdin=blocking(sock))
            self.assertEqual(self.ask(client, sock.getsockname()[1]), b"hello")
            self.expect_exit(handler)


class OneDatagram(HandlerTest):
    def answer(self, name, data, remote="127.0.0.1", remote_port=40000, local="127.0.0.1", local_port=7007, **how):
        """What a process that was given one datagram writes, as a list of its writes."""
        stdin = os.memfd_create("datagram")
        os.write(stdin, data)
        os.lseek(stdin, 0, os.SEEK_SET)
        ours, theirs = self.pair(socket.SOCK_SEQPACKET)
        handler = self.start(name, *how.get("arguments", ()), stdin=stdin, stdout=theirs, env={
            "PROTO": "UDP", "UDPREMOTEIP": remote, "UDPREMOTEPORT": str(remote_port),
            "UDPLOCALIP": local, "UDPLOCALPORT": str(local_port)})
        theirs.close()
        os.close(stdin)
        self.expect_exit(handler, how.get("status", 0))
        writes = []
        while part := ours.recv(1 << 17):
            writes.append(part)
        return writes

    def test_length_of_each_answer(self):
        for name, length in ANSWERS.items():
            for size in (1, 100, 257, 65507):
                with self.subTest(name, size=size):
                    (reply,) = self.answer(name, os.urandom(size))
                    self.assertEqual(len(reply), length(size))
        self.assertEqual(self.answer("discard", b"hello"), [])

    def test_empty_request_is_worth_no_more_than_32_bytes(self):
        self.assertEqual(self.answer("chargen", b""), [])
        self.assertEqual([len(write) for write in self.answer("time", b"")], [4])
        self.assertEqual([len(write) for write in self.answer("daytime", b"")], [26])

    def test_echo_is_the_same_bytes(self):
        data = os.urandom(20000)
        self.assertEqual(self.answer("echo", data), [data])
        self.assertEqual(self.answer("echo", data, remote="fe80::1%lo", local="fe80::2%lo"), [data])

    def test_who_is_not_answered(self):
        for name in ("echo", "chargen", "daytime", "time"):
            for whom in ({"remote_port": 0}, {"remote_port": 7}, {"remote_port": 19}, {"remote_port": 1023},
                         {"remote_port": 7007}, {"remote": "0.0.0.0"}, {"remote": "255.255.255.255"},
                         {"remote": "224.0.0.1"}, {"remote": "::"}, {"remote": "ff02::1"},
                         {"remote": "::ffff:239.1.1.1"}, {"local": "255.255.255.255"}, {"local": "239.1.2.3"},
                         {"local": "ff02::1"}, {"arguments": ("--min-port", "40001")}):
                with self.subTest(name, **whom):
                    self.assertEqual(self.answer(name, b"hello", **whom), [])

    def test_lowest_port_that_is_answered(self):
        self.assertEqual(self.answer("echo", b"hello", remote_port=1024), [b"hello"])

    def test_failed_request_shows_in_the_exit_status(self):
        self.assertEqual(self.answer("faulty", b"throw", status=1), [])


if __name__ == "__main__":
    unittest.main()
