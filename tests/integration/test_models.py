# SPDX-License-Identifier: MIT
"""The service models on stream sockets, by their effect seen from outside."""

import os
import signal
import socket
import threading
import time

from harness import Reader, SuperdCase, connect, exchange

HOLD = """#!/bin/sh
echo start
exec cat >/dev/null
"""


def alone(folder):
    """A handler that says whether another one of its kind was running."""
    return f"""#!/bin/sh
if mkdir {folder}/running 2>/dev/null; then
    echo alone
    sleep 0.03
    rmdir {folder}/running
else
    echo overlap
fi
"""


def all_at_once(uri, count):
    """`count` clients started together; what each of them read, and when it got it."""
    answers = []

    def one():
        answers.append((exchange(uri), time.monotonic()))

    clients = [threading.Thread(target=one) for _ in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return answers


class Fork(SuperdCase):
    def test_serves_500_at_once(self):
        """fork: 500 clients are connected at the same time and each is answered by its own process."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                                          limits={"instances": 600})})
        uri = daemon.address("cat")
        clients = [self.client(uri) for _ in range(500)]
        for number, client in enumerate(clients):
            client.sendall(b"%d\n" % number)
        for number, client in enumerate(clients):
            self.assertEqual(Reader(client).line(), b"%d" % number)
        self.assertEqual(len({child.pid for child in daemon.children()}), 500)
        for client in clients:
            client.close()
        self.eventually(lambda: not daemon.children(), "all handlers gone after their clients")

    def test_instances_keeps_the_rest_waiting(self):
        """fork: with instances = 3 the fourth client waits, unrefused, until one of the three has ended."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                                          limits={"instances": 3})})
        uri = daemon.address("cat")
        first = [self.client(uri) for _ in range(3)]
        for client in first:
            client.sendall(b"one\n")
            self.assertEqual(Reader(client).line(), b"one")
        fourth = self.client(uri, timeout=0.3)
        fourth.sendall(b"four\n")
        with self.assertRaises(TimeoutError):
            Reader(fourth).line()
        self.assertEqual(len(daemon.children()), 3)
        self.assertEqual(daemon.status()["cat"]["state"], "full")
        first[0].close()
        fourth.settimeout(30)
        self.assertEqual(Reader(fourth).line(), b"four")

    def test_handler_failures_do_not_use_up_instances(self):
        """fork: 200 handlers that end abnormally give their places back, with instances = 2."""
        daemon = self.prepare()
        bad = daemon.script("bad", "#!/bin/sh\necho x\nkill -KILL $$\n")
        daemon.service("bad", listen="tcp://127.0.0.1:0", model="fork", exec=[bad], limits={"instances": 2})
        daemon.start()
        uri = daemon.address("bad")
        for _ in range(200):
            self.assertEqual(exchange(uri), b"x\n")


class ForkAsUser(Fork):
    as_user = "nobody"


class Iterative(SuperdCase):
    def test_never_two_at_once(self):
        """iterative: of 25 clients that come together, no two handlers ever run side by side."""
        daemon = self.prepare()
        script = daemon.script("handler", alone(daemon.shared("state")))
        daemon.service("one", listen="tcp://127.0.0.1:0", model="iterative", exec=[script])
        daemon.start()
        answers = all_at_once(daemon.address("one"), 25)
        self.assertEqual([answer for answer, _ in answers], [b"alone\n"] * 25)

    def test_the_next_waits_in_the_backlog(self):
        """iterative: the second client is connected by the kernel and served when the first has gone."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="iterative", exec=["cat"])})
        uri = daemon.address("cat")
        first = self.client(uri)
        first.sendall(b"first\n")
        self.assertEqual(Reader(first).line(), b"first")
        second = self.client(uri, timeout=0.3)
        second.sendall(b"second\n")
        with self.assertRaises(TimeoutError):
            second.recv(100)
        first.close()
        second.settimeout(30)
        self.assertEqual(Reader(second).line(), b"second")

    def test_a_crash_frees_the_service(self):
        """iterative: a handler killed from outside makes room for the next client."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="iterative", exec=["cat"])})
        uri = daemon.address("cat")
        first = self.client(uri)
        first.sendall(b"first\n")
        Reader(first).line()
        os.kill(daemon.children()[0].pid, signal.SIGKILL)
        self.assertEqual(self.converse(uri), b"hello")


class IterativeAsUser(Iterative):
    as_user = "nobody"


class Delayed(SuperdCase):
    def test_short_requests_never_run_side_by_side(self):
        """delayed: handlers that end within the delay run one after the other."""
        daemon = self.prepare()
        script = daemon.script("handler", alone(daemon.shared("state")))
        daemon.service("one", listen="tcp://127.0.0.1:0", model="delayed", exec=[script], delayed={"delay": "20s"})
        daemon.start()
        answers = all_at_once(daemon.address("one"), 25)
        self.assertEqual([answer for answer, _ in answers], [b"alone\n"] * 25)

    def test_side_by_side_only_past_the_delay(self):
        """delayed: while handlers stay busy, each next client is served after one more delay and not before."""
        daemon = self.prepare()
        script = daemon.script("hold", HOLD)
        daemon.service("hold", listen="tcp://127.0.0.1:0", model="delayed", exec=[script], delayed={"delay": "300ms"})
        daemon.start()
        uri = daemon.address("hold")
        begin = time.monotonic()
        clients = [self.client(uri) for _ in range(4)]
        for number, client in enumerate(clients):
            self.assertEqual(Reader(client).line(), b"start")
            self.assertGreaterEqual(time.monotonic() - begin, number * 0.3 - 0.005)
        self.assertEqual(len(daemon.children()), 4)

    def test_a_long_one_does_not_block_the_rest(self):
        """delayed: with one handler busy for ever, later clients are served."""
        daemon = self.prepare()
        script = daemon.script("hold", HOLD)
        daemon.service("hold", listen="tcp://127.0.0.1:0", model="delayed", exec=[script], delayed={"delay": "50ms"})
        daemon.start()
        uri = daemon.address("hold")
        busy = self.client(uri)
        self.assertEqual(Reader(busy).line(), b"start")
        for _ in range(10):
            with connect(uri) as client:
                self.assertEqual(Reader(client).line(), b"start")

    def test_instances_still_caps(self):
        """delayed: past the delay handlers still count towards instances."""
        daemon = self.prepare()
        script = daemon.script("hold", HOLD)
        daemon.service("hold", listen="tcp://127.0.0.1:0", model="delayed", exec=[script],
                       delayed={"delay": "20ms"}, limits={"instances": 2})
        daemon.start()
        uri = daemon.address("hold")
        clients = [self.client(uri) for _ in range(2)]
        for client in clients:
            self.assertEqual(Reader(client).line(), b"start")
        third = self.client(uri, timeout=0.3)
        with self.assertRaises(TimeoutError):
            third.recv(10)
        clients[0].close()
        third.settimeout(30)
        self.assertEqual(Reader(third).line(), b"start")


class DelayedAsUser(Delayed):
    as_user = "nobody"


class ShippedHandlers(SuperdCase):
    MODELS = {
        "fork": dict(model="fork"),
        "iterative": dict(model="iterative"),
        "delayed": dict(model="delayed"),
        "prefork": dict(model="prefork"),
        "pool": dict(model="prefork", handoff="listen"),
    }

    def discards(self, uri):
        """What is sent is read, more of it than the sockets hold, and nothing comes back until the client ends."""
        with connect(uri) as client:
            client.sendall(bytes(16 << 20))
            patience = client.gettimeout()
            client.setblocking(False)
            with self.assertRaises(BlockingIOError):
                client.recv(1)
            client.settimeout(patience)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")

    def test_every_handler_under_every_model(self):
        """superd-echo, -discard, -daytime, -time and -chargen answer under each model on a stream."""
        services = {}
        for name in ("echo", "discard", "daytime", "time", "chargen"):
            for model, keys in self.MODELS.items():
                services[f"{name}-{model}"] = dict(listen="tcp://127.0.0.1:0", exec=[f"superd-{name}"], **keys)
        daemon = self.superd(services)
        year = time.strftime("%Y").encode()
        for model in self.MODELS:
            with self.subTest(model=model):
                self.assertEqual(exchange(daemon.address(f"echo-{model}"), b"a line\n"), b"a line\n")
                self.discards(daemon.address(f"discard-{model}"))
                self.assertIn(year, exchange(daemon.address(f"daytime-{model}")))
                seconds = int.from_bytes(exchange(daemon.address(f"time-{model}")), "big")
                self.assertLess(abs(seconds - 2208988800 - time.time()), 60)
                with connect(daemon.address(f"chargen-{model}")) as client:
                    self.assertEqual(len(Reader(client).line().rstrip(b"\r")), 72)
