# SPDX-License-Identifier: MIT
"""Datagrams: from a shared socket and one per process; whom the services answer, and with how much."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import HandlerTest, blocking, main, until

ANSWERS = {  # to a datagram of so many bytes
    "echo": lambda size: size,
    "chargen": lambda size: min(2 * size, 512),
    "daytime": lambda size: 26,
    "time": lambda size: 4,
}


RECEIVE = {"recvfrom", "recvmmsg"}
SEND = {"sendto", "sendmmsg"}


def pause(handler):
    handler.process.send_signal(signal.SIGSTOP)
    until(lambda: state(handler.process.pid) == "T")


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def waiting(sock):
    """What is there for a socket that does not block."""
    found = []
    try:
        while True:
            found.append(sock.recv(1 << 16))
    except BlockingIOError:
        return found


def record_text(path):
    with open(path, encoding="utf-8", errors="replace") as record:
        return record.read()


class OnSharedSocket(HandlerTest):
    def service(self, name, *arguments, address="127.0.0.1", family=socket.AF_INET):
        """A handler alone on a socket, and the address to reach it."""
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

    def test_a_broadcast_is_answered_from_the_address_that_the_kernel_names(self):
        """From a service that answers broadcasts: not from the broadcast address, from which nothing may be sent."""
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            sock = self.open(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((address, 0))
            self.start("faulty", stdin=blocking(sock))
            client = self.udp("0.0.0.0")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.settimeout(30)
            for to in ("127.0.0.1", "127.255.255.255"):
                client.sendto(b"hello", (to, sock.getsockname()[1]))
                self.assertEqual(client.recvfrom(100), (b"hello", ("127.0.0.1", sock.getsockname()[1])))

    def test_what_is_bound_to_a_broadcast_or_multicast_address_answers_none(self):
        for address in ("127.255.255.255", "239.1.2.3"):
            with self.subTest(address):
                sock = self.udp(address)
                loopback = socket.inet_aton("127.0.0.1")
                if address.startswith("239"):
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) + loopback)
                handler = self.start("echo", stdin=blocking(sock), env={"SUPERD_MAX_REQUESTS": "2"})
                client = self.udp("127.0.0.1")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
                for _ in range(2):
                    client.sendto(b"hello", sock.getsockname())
                self.expect_exit(handler)
                self.nothing_pending(client)

    def test_what_does_not_fit_is_not_answered(self):
        """A unix datagram may be longer than any answer."""
        sock = self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind("")
        handler = self.start("echo", stdin=blocking(sock))
        client = self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.bind("")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client.connect(sock.getsockname())
        for together in (False, True):
            if together:
                client.send(b"first")
                self.assertEqual(client.recv(100), b"first")
                pause(handler)
            client.send(bytes(70000))
            client.send(b"hello")
            client.send(bytes(65536))
            handler.process.send_signal(signal.SIGCONT)
            self.assertEqual([len(client.recv(1 << 17)) for _ in range(2)], [5, 65536])
            self.nothing_pending(client)

    def test_alone_it_leaves_when_idle_and_the_next_takes_over(self):
        for arguments in ((), ("--threads", "4")):
            sock = self.udp()
            client = self.udp()
            for blocks in (True, False):
                sock.setblocking(blocks)
                handler = self.start("echo", "--idle", "1", *arguments, stdin=sock)
                self.assertEqual(self.ask(client, sock.getsockname()[1]), b"hello")
                self.expect_exit(handler)

    @unittest.skipIf(shutil.which("strace") is None, "strace is not installed")
    def test_system_calls(self):
        """Alone on its socket, it makes one call to receive and one to answer a datagram that comes alone, and less
        than one each if many wait."""
        for address in ("127.0.0.1", "0.0.0.0"):
            with self.subTest(address), tempfile.NamedTemporaryFile(prefix="strace-", dir="/tmp") as record:
                sock = self.udp(address)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                port = sock.getsockname()[1]
                handler = self.start("echo", "--idle", "20", stdin=blocking(sock),
                                     env={"ASAN_OPTIONS": "detect_leaks=0"},  # which do not work under strace
                                     shell=f'exec strace -o {record.name} -e signal=none "$0" "$@"')
                client = self.udp()

                def calls(begin, end):
                    text = record_text(record.name)
                    return re.findall(r"^\w+", text[text.index(begin):text.index(end)], re.MULTILINE)

                for text in (b"begin", *[b"hello"] * 30, b"end"):
                    self.assertEqual(self.ask(client, port, text), text)
                until(lambda: record_text(record.name).count('"end"') == 2)
                names = calls('"begin"', '"end"')
                self.assertLessEqual(set(names), RECEIVE | SEND)
                self.assertEqual(sum(name in RECEIVE for name in names), 31)
                self.assertEqual(sum(name in SEND for name in names), 31)

                echo = int(subprocess.check_output(["pgrep", "-P", str(handler.process.pid)]))
                os.kill(echo, signal.SIGSTOP)
                many = [b"begin many", *[b"%d" % number for number in range(200)], b"last"]
                for text in many:
                    client.sendto(text, ("127.0.0.1", port))
                os.kill(echo, signal.SIGCONT)
                self.assertEqual([client.recv(100) for _ in many], many)
                until(lambda: record_text(record.name).count('"last"') == 2)
                self.assertLess(len(calls('"begin many"', '"last"')), 200)
                os.kill(echo, signal.SIGTERM)
                self.expect_exit(handler)


class InBatches(HandlerTest):
    """Many wait, and the handler takes several at once."""

    def begin(self, program="echo", *arguments, **how):
        """A handler that has answered one and is then stopped, its socket and a client."""
        sock = self.udp()
        for each in (sock, client := self.udp()):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        handler = self.start(program, *arguments, stdin=blocking(sock), **how)
        client.connect(sock.getsockname())
        client.send(b"first")
        self.assertEqual(client.recv(100), b"first")
        pause(handler)
        return handler, sock, client

    def go_on(self, handler):
        handler.process.send_signal(signal.SIGCONT)

    def test_answers_come_in_turn(self):
        handler, _, client = self.begin()
        sent = [os.urandom(size) for size in (*range(100), 60000, 1)]
        for text in sent:
            client.send(text)
        self.go_on(handler)
        self.assertEqual([client.recv(1 << 16) for _ in sent], sent)

    def test_failed_requests_end_alone(self):
        handler, _, client = self.begin("faulty")
        for number in range(40):
            client.send((b"throw", b"throw 1", b"%d" % number)[number % 3])
        self.go_on(handler)
        self.assertEqual([int(client.recv(100)) for _ in range(13)], list(range(2, 40, 3)))
        until(lambda: handler.errors().count("request failed") == 27)

    def test_a_reply_that_cannot_be_sent_does_not_keep_the_others(self):
        sock = self.open(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind("")
        handler = self.start("echo", stdin=blocking(sock))
        client, gone = (self.open(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        for each in (client, gone):
            each.bind("")
            each.connect(sock.getsockname())
        client.send(b"first")
        self.assertEqual(client.recv(100), b"first")
        pause(handler)
        for sender, text in ((gone, b"0"), (client, b"1"), (gone, b"2"), (gone, b"3"), (client, b"4"), (gone, b"5")):
            sender.send(text)
        gone.close()
        self.go_on(handler)
        self.assertEqual([client.recv(100) for _ in range(2)], [b"1", b"4"])
        client.send(b"last")
        self.assertEqual(client.recv(100), b"last")

    def test_max_requests_are_taken_exactly(self):
        for arguments in ((), ("--threads", "4")):
            handler, sock, client = self.begin("echo", *arguments, env={"SUPERD_MAX_REQUESTS": "60"})
            for _ in range(100):
                client.send(b"hello")
            self.go_on(handler)
            self.expect_exit(handler)
            self.assertEqual([client.recv(100) for _ in range(59)], [b"hello"] * 59)
            self.nothing_pending(client)
            sock.setblocking(False)
            self.assertEqual([sock.recv(100) for _ in range(41)], [b"hello"] * 41)
            self.nothing_pending(sock)

    def test_term_loses_none(self):
        """What a leaving handler has taken it answers; the rest is there for the next one."""
        for _ in range(20):
            handler, sock, client = self.begin()
            sent = [b"%d" % number for number in range(200)]
            for text in sent:
                client.send(text)
            self.go_on(handler)
            answered = [client.recv(100)]
            handler.term()
            self.expect_exit(handler)
            client.setblocking(False)
            sock.setblocking(False)
            answered += waiting(client)
            self.assertEqual(answered + waiting(sock), sent)

    def test_long_requests_are_left_to_others(self):
        """Once a request has taken long, no other is taken along with the next one."""
        handler, sock, client = self.begin("faulty")
        quick = [b"quick"] * 20 + [b"slow"]
        for text in quick:
            client.send(text)
        self.go_on(handler)
        self.assertEqual([client.recv(100) for _ in quick], quick)
        pause(handler)
        for _ in range(10):
            client.send(b"slow")
        self.go_on(handler)
        self.assertEqual(client.recv(100), b"slow")
        pause(handler)
        sock.setblocking(False)
        self.assertNotEqual(waiting(sock), [])


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
    main()
