# SPDX-License-Identifier: MIT
"""The service models on datagram sockets."""

import hashlib
import os
import signal
import socket
import time

from harness import SuperdCase, connect, handler
from harness import process
from harness.installation import python
from harness.probe import Report

WAIT_HANDLER = """import os, select, socket
sock = socket.socket(fileno=os.dup(0))
while select.select([sock], [], [], 0.4)[0]:
    data, sender = sock.recvfrom(65536)
    sock.sendto(b"%d " % os.getpid() + data, sender)
"""

ONE_AND_OUT = """import os, socket
sock = socket.socket(fileno=os.dup(0))
sock.sendto(*sock.recvfrom(65536))
"""

TWO_HUNDRED = """#!/bin/sh
i=0
while [ $i -lt 200 ]; do
    echo $i
    i=$((i + 1))
done
"""


class Fork(SuperdCase):
    def test_one_handler_for_each_datagram(self):
        """fork: a shell script sees one datagram on stdin, and its answer goes back to the sender."""
        daemon = self.prepare()
        script = daemon.script("answer", "#!/bin/sh\nread line\necho \"$$ got $line\"\n")
        daemon.service("answer", listen="udp://127.0.0.1:0", model="fork", exec=[script])
        daemon.start()
        uri = daemon.address("answer")
        pids = set()
        for number in range(5):
            with connect(uri) as client:
                client.send(b"%d\n" % number)
                pid, rest = client.recv(1000).split(b" ", 1)
                self.assertEqual(rest, b"got %d\n" % number)
                pids.add(pid)
        self.assertEqual(len(pids), 5)

    def test_cat_echoes(self):
        """fork: cat finds the end of input after the datagram, answers and leaves; the socket it came from answers."""
        daemon = self.superd({"cat": dict(listen="udp://127.0.0.1:0", model="fork", exec=["cat"])})
        uri = daemon.address("cat")
        clients = [self.client(uri) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(b"datagram %d" % number)
        for number, client in enumerate(clients):
            self.assertEqual(client.recv(1000), b"datagram %d" % number)
        self.eventually(lambda: not daemon.children(), "every cat has left")

    def test_each_write_is_a_datagram(self):
        """fork: two writes of the handler come back as two datagrams."""
        daemon = self.prepare()
        script = daemon.script("two", "#!/bin/sh\nread line\necho one\necho two\n")
        daemon.service("two", listen="udp://127.0.0.1:0", model="fork", exec=[script])
        daemon.start()
        client = self.client(daemon.address("two"))
        client.send(b"x\n")
        self.assertEqual(client.recv(1000), b"one\n")
        self.assertEqual(client.recv(1000), b"two\n")

    def test_a_handler_that_writes_much_and_leaves(self):
        """fork: a handler ends right after 200 writes, and all of them reach the client, over udp and unix-dgram."""
        daemon = self.prepare()
        script = daemon.script("many", TWO_HUNDRED)
        daemon.service("udp", listen="udp://127.0.0.1:0", model="fork", exec=[script])
        daemon.service("unix", listen=f"unix-dgram://{daemon.path('many.sock')}", model="fork", exec=[script])
        daemon.start()
        for name in ("udp", "unix"):
            with self.subTest(name):
                client = self.client(daemon.address(name), timeout=10)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                client.send(b"x")
                self.assertEqual([int(client.recv(100)) for _ in range(200)], list(range(200)))

    def test_the_largest_and_the_empty_datagram(self):
        """fork: 65,507 bytes arrive whole, and an empty datagram starts a handler too."""
        daemon = self.prepare()
        count = daemon.script("count", "#!/bin/sh\nwc -c\n")
        daemon.service("count", listen="udp://127.0.0.1:0", model="fork", exec=[count])
        daemon.start()
        for size in (65507, 0, 1):
            client = self.client(daemon.address("count"))
            client.send(b"x" * size)
            self.assertEqual(int(client.recv(1000)), size)

    def test_ipv6_and_dual_stack(self):
        """fork: answers come from the address that was asked, on ::1 and on udp://*."""
        services = {
            "six": dict(listen="udp://[::1]:0", model="fork", exec=["cat"]),
            "all": dict(listen="udp://*:0", model="fork", exec=["cat"]),
        }
        daemon = self.superd(services)
        port = daemon.address("all").rsplit(":", 1)[1]
        for uri in (daemon.address("six"), f"udp://127.0.0.1:{port}", f"udp://127.0.0.9:{port}", f"udp://[::1]:{port}"):
            with self.subTest(uri=uri):
                client = self.client(uri)
                client.send(b"hello")
                self.assertEqual(client.recv(100), b"hello")

    def test_a_flood_leaves_nothing(self):
        """fork: 300 datagrams with instances = 10 leave no process and the service answers after."""
        daemon = self.superd({"cat": dict(listen="udp://127.0.0.1:0", model="fork", exec=["cat"],
                                          limits={"instances": 10}, socket={"receive_buffer": "1M"})})
        uri = daemon.address("cat")
        client = self.client(uri)
        for _ in range(300):
            client.send(b"flood")
            self.assertLessEqual(len(daemon.children()), 10)
        self.eventually(lambda: not daemon.children(), "all handlers ended")
        last = self.client(uri)
        last.send(b"last")
        self.assertEqual(last.recv(100), b"last")


class ForkAsUser(Fork):
    as_user = "nobody"


class Iterative(SuperdCase):
    def test_the_handler_owns_the_socket_until_it_exits(self):
        """iterative (wait): one process answers all datagrams until it leaves, then superd watches again."""
        daemon = self.prepare()
        script = daemon.write("wait.py", WAIT_HANDLER)
        daemon.service("wait", listen="udp://127.0.0.1:0", model="iterative", exec=[python(), script])
        daemon.start()
        client = self.client(daemon.address("wait"))

        def ask():
            client.send(b"x")
            return int(client.recv(100).split()[0])

        first = ask()
        self.assertEqual([ask() for _ in range(10)], [first] * 10)
        self.assertEqual([child.pid for child in daemon.children()], [first])
        self.eventually(lambda: not daemon.children(), "the handler leaves when idle")
        second = ask()
        self.assertNotEqual(first, second)
        self.assertEqual(ask(), second)

    def test_what_the_handler_finds(self):
        """iterative: stdin and stdout are the datagram socket itself and no sender is claimed."""
        daemon = self.superd({"probe": dict(listen="udp://127.0.0.1:0", model="iterative",
                                            exec=[handler("probe"), "--receive", "0", "--idle", "200"])})
        client = self.client(daemon.address("probe"))
        client.send(b"x")
        report = Report(client.recv(65536))
        self.assertEqual(report.descriptors[0][:2], report.descriptors[1][:2])
        self.assertNotIn("UDPREMOTEIP", report.environment)
        self.assertEqual(report.environment["SUPERD_SERVICE"], "probe")

    def test_a_handler_that_leaves_the_datagram_does_not_spin(self):
        """iterative: a handler that exits without reading is started again, but with back-off, and others are
        served."""
        daemon = self.superd({
            "lazy": dict(listen="udp://127.0.0.1:0", model="iterative", exec=["true"]),
            "cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
        })
        client = self.client(daemon.address("lazy"))
        client.send(b"x")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        started = int(daemon.status()["lazy"]["started"])
        self.assertGreaterEqual(started, 2)
        self.assertLess(started, 200)

    def test_a_handler_that_reads_one_and_leaves_is_not_slowed_down(self):
        """iterative: a handler that ends well after each datagram is started for the next one without back-off."""
        daemon = self.prepare()
        script = daemon.write("one.py", ONE_AND_OUT)
        daemon.service("one", listen="udp://127.0.0.1:0", model="iterative", exec=[python(), script])
        daemon.start()
        client = self.client(daemon.address("one"))
        begin = time.monotonic()
        for number in range(12):
            client.send(b"%d" % number)
            self.assertEqual(client.recv(100), b"%d" % number)
        self.assertLess(time.monotonic() - begin, 20)


class IterativeAsUser(Iterative):
    as_user = "nobody"


class Prefork(SuperdCase):
    def test_a_pool_receives_from_the_shared_socket(self):
        """prefork: workers are there before the first datagram, answer, and are replaced when they end."""
        daemon = self.superd({"pool": dict(listen="udp://127.0.0.1:0", model="prefork", prefork={"min_spare": 3},
                                           exec=[handler("probe"), "--receive", "3"])})
        workers = self.eventually(lambda: len(daemon.children()) == 3 and daemon.children(), "three workers")
        old = {worker.pid for worker in workers}
        client = self.client(daemon.address("pool"))

        def ask():
            client.send(b"x")
            return Report(client.recv(65536))

        self.assertLessEqual({ask().pid for _ in range(20)}, old)
        report = ask()
        self.assertEqual(report.environment["LISTEN_FDS"], "1")
        self.assertEqual(report.environment["LISTEN_PID"], str(report.pid))
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        self.eventually(lambda: len({c.pid for c in daemon.children()} - old) == 3, "three new workers")
        self.assertNotIn(ask().pid, old)

    def test_shipped_handlers(self):
        """superd-echo, -daytime, -time and -chargen answer datagrams under each model; -discard answers none."""
        services = {}
        for model in ("fork", "iterative", "prefork"):
            for name in ("echo", "discard", "daytime", "time", "chargen"):
                services[f"{name}-{model}"] = dict(listen="udp://127.0.0.1:0", model=model, exec=[f"superd-{name}"])
        daemon = self.superd(services)
        for model in ("fork", "iterative", "prefork"):
            with self.subTest(model=model):
                for name in ("echo", "daytime", "time", "chargen"):
                    client = self.client(daemon.address(f"{name}-{model}"))
                    client.send(b"some words that may come back, long enough for any answer" * 4)
                    answer = client.recv(65536)
                    if name == "echo":
                        self.assertTrue(answer.startswith(b"some words"))
                    elif name == "time":
                        self.assertEqual(len(answer), 4)
                    else:
                        self.assertTrue(answer)
                silent = self.client(daemon.address(f"discard-{model}"), timeout=0.2)
                silent.send(b"x")
                with self.assertRaises(TimeoutError):
                    silent.recv(10)


class PreforkAsUser(Prefork):
    as_user = "nobody"


class UnixDatagram(SuperdCase):
    def test_fork_iterative_and_prefork(self):
        """A unix datagram socket is served by fork, iterative and prefork, and answers reach a bound sender."""
        daemon = self.prepare()
        if daemon.user is None and self.root:
            os.chmod(daemon.directory, 0o755)
        for model in ("fork", "iterative", "prefork"):
            daemon.service(model, listen=f"unix-dgram://{daemon.path(model)}.sock", model=model,
                           exec=["cat"] if model == "fork" else ["superd-echo"])
        daemon.start()
        for model in ("fork", "iterative", "prefork"):
            with self.subTest(model=model):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self.addCleanup(client.close)
                client.bind("")
                client.settimeout(30)
                client.connect(daemon.path(f"{model}.sock"))
                client.send(b"hello")
                self.assertEqual(client.recv(100), b"hello")

    def cats(self, name, command):
        daemon = self.prepare()
        daemon.service(name, listen=f"unix-dgram://{daemon.path(name)}.sock", model="fork", exec=[command])
        return daemon.start()

    def test_a_large_one_arrives_whole(self):
        """fork: a unix datagram of 100,000 bytes, more than any UDP one, reaches its handler whole."""
        daemon = self.cats("sum", "md5sum")
        client = self.client(daemon.address("sum"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for size in (65537, 100000):
            with self.subTest(size=size):
                data = os.urandom(size)
                client.send(data)
                self.assertEqual(client.recv(100).split()[0].decode(), hashlib.md5(data).hexdigest())

    def test_descriptors_of_a_sender_are_not_kept(self):
        """fork: 20 datagrams with 20 descriptors each, if the kernel lets them through, leave no descriptor in
        superd."""
        daemon = self.cats("cat", "cat")
        client = self.client(daemon.address("cat"))

        def ask(send):
            send()
            self.assertEqual(client.recv(100), b"hello")
            self.eventually(lambda: not daemon.children(), "the handler has left")

        def count():
            # superd may start to watch the socket's file meanwhile.
            return sum(what != "anon_inode:inotify" for what in process.descriptors(daemon.pid).values())

        def pass_some():
            try:
                socket.send_fds(client, [b"hello"], [null.fileno()] * 20)
            except PermissionError:
                client.send(b"hello")

        ask(lambda: client.send(b"hello"))
        before = count()
        with open("/dev/null", "rb") as null:
            for _ in range(20):
                ask(pass_some)
        self.eventually(lambda: count() <= before, f"no more than {before} descriptors (now {count()})", timeout=10)
