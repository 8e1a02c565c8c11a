# SPDX-License-Identifier: MIT
"""The service models on stream sockets, by their effect seen from outside."""

import os
import signal
import threading
import time

from harness import Reader, SuperdCase, connect, exchange, handler
from harness import process
from harness.probe import Report

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
    """`count` clients started together; what each of them read, with the time at which it had it."""
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
        """fork: 500 clients are connected at the same time and each is answered by a process of its own."""
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


class PreforkConnection(SuperdCase):
    def pool(self, **more):
        keys = dict(listen="tcp://127.0.0.1:0", model="prefork", exec=[handler("probe"), "--hold"],
                    prefork={"min_spare": 3, "max_spare": 5}, rlimits={"nofile": 321})
        keys.update(more)
        return self.superd({"pool": keys})

    def parked(self, daemon):
        return [child.pid for child in daemon.children() if process.executable(child.pid) == "superd-exec"]

    def test_parked_before_the_first_client(self):
        """prefork: before any client, min_spare processes exist, under the target user, with limits set, and they
        are superd-exec, not copies of superd."""
        daemon = self.pool()
        parked = self.eventually(lambda: len(self.parked(daemon)) >= 3 and self.parked(daemon), "three parked")
        self.assertLessEqual(len(parked), 5)
        uid = str(self.handler_uid)
        superd_memory = process.resident(daemon.pid)
        for pid in parked:
            self.eventually(lambda pid=pid: process.status(pid)["Uid"].split() == [uid] * 4, "credentials dropped")
            with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
                row = next(line for line in limits if line.startswith("Max open files"))
            self.assertEqual(row.split()[3:5], ["321", "321"])
            self.assertLess(process.resident(pid), superd_memory)
            if self.root:
                self.assertEqual(process.status(pid)["CapEff"].strip(), "0" * 16)

    def test_parked_processes_become_the_handler(self):
        """prefork: a client is served by a process that was there before it came, now the unmodified handler."""
        daemon = self.pool()
        before = self.eventually(lambda: len(self.parked(daemon)) >= 3 and self.parked(daemon), "three parked")
        client = self.client(daemon.address("pool"))
        data = b""
        while not data.endswith(b"\nend\n"):
            data += client.recv(65536)
        report = Report(data)
        self.assertIn(report.pid, before)
        self.assertEqual(process.executable(report.pid), "probe")
        self.assertEqual(report.numbers("uid"), [self.handler_uid] * 3)
        self.assertEqual(report.environment["SUPERD_SERVICE"], "pool")

    def test_the_pool_fills_up_again(self):
        """prefork: taken processes are replaced, and idle ones beyond max_spare are not kept."""
        daemon = self.pool()
        uri = daemon.address("pool")
        clients = [self.client(uri) for _ in range(8)]
        for client in clients:
            self.assertTrue(client.recv(1))
        self.eventually(lambda: 3 <= len(self.parked(daemon)) <= 5, "min_spare ready beside eight busy ones")
        for client in clients:
            client.close()
        self.eventually(lambda: 3 <= len(daemon.children()) <= 5, "only the spare ones left")

    def test_a_burst_past_the_parked_ones(self):
        """prefork: 60 clients at once, many more than are parked, are all served."""
        daemon = self.superd({"pool": dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"],
                                           prefork={"min_spare": 2, "max_spare": 4}, limits={"instances": 100})})
        uri = daemon.address("pool")
        clients = [self.client(uri) for _ in range(60)]
        for client in clients:
            client.sendall(b"x\n")
        for client in clients:
            self.assertEqual(Reader(client).line(), b"x")

    def test_instances_caps_the_pool(self):
        """prefork: handlers never number more than instances, and waiting clients are served in the end."""
        daemon = self.pool(exec=["cat"], limits={"instances": 4}, rlimits={}, prefork={"min_spare": 2, "max_spare": 3})
        uri = daemon.address("pool")
        clients = [self.client(uri) for _ in range(4)]
        for client in clients:
            client.sendall(b"x\n")
            self.assertEqual(Reader(client).line(), b"x")
        fifth = self.client(uri, timeout=0.3)
        fifth.sendall(b"x\n")
        with self.assertRaises(TimeoutError):
            fifth.recv(10)
        self.assertLessEqual(len(daemon.children()), 4)
        clients[0].close()
        fifth.settimeout(30)
        self.assertEqual(Reader(fifth).line(), b"x")

    def test_parked_processes_that_die_are_replaced(self):
        """prefork: parked processes killed from outside are replaced, and clients do not notice."""
        daemon = self.pool(exec=["cat"], rlimits={})
        uri = daemon.address("pool")
        before = self.eventually(lambda: len(self.parked(daemon)) >= 3 and self.parked(daemon), "three parked")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: len(set(self.parked(daemon)) - set(before)) >= 3, "replaced")
        for _ in range(10):
            self.assertEqual(self.converse(uri), b"hello")

    def test_nothing_parked_is_left_after_stop(self):
        """prefork: parked processes end with superd."""
        daemon = self.pool()
        self.eventually(lambda: len(self.parked(daemon)) >= 3, "three parked")
        daemon.stop()


class PreforkConnectionAsUser(PreforkConnection):
    as_user = "nobody"


class PreforkListen(SuperdCase):
    def pool(self, *arguments, **more):
        keys = dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                    exec=[handler("probe"), "--accept", "3", *arguments], prefork={"min_spare": 3})
        keys.update(more)
        return self.superd({"pool": keys})

    def test_workers_accept_for_themselves(self):
        """prefork, listen: min_spare workers share the listening socket and serve many clients each."""
        daemon = self.pool()
        workers = self.eventually(lambda: len(daemon.children()) == 3 and daemon.children(), "three workers")
        pids = {worker.pid for worker in workers}
        uri = daemon.address("pool")
        seen = {Report(exchange(uri)).pid for _ in range(40)}
        self.assertLessEqual(seen, pids)

    def test_what_a_worker_finds(self):
        """prefork, listen: the listening socket is stdin, stdout and fd 3; LISTEN_FDS and its company are set."""
        daemon = self.pool()
        report = Report(exchange(daemon.address("pool")))
        self.assertEqual(report.environment["LISTEN_FDS"], "1")
        self.assertEqual(report.environment["LISTEN_PID"], str(report.pid))
        self.assertIn("LISTEN_FDNAMES", report.environment)
        self.assertEqual(report.environment["SUPERD_SERVICE"], "pool")
        for number in (0, 1, 3):
            self.assertIn("listening", report.descriptors[number])
            self.assertIn("blocking", report.descriptors[number])
        status = report.environment.get("SUPERD_STATUS_FD")
        allowed = {0, 1, 2, 3} | ({int(status)} if status else set())
        self.assertEqual(set(report.descriptors), allowed)
        self.assertNotIn("TCPREMOTEIP", report.environment)
        self.assertEqual(report.numbers("uid"), [self.handler_uid] * 3)

    def test_a_worker_that_ends_is_replaced(self):
        """prefork, listen: killed workers are replaced and the service goes on."""
        daemon = self.pool()
        first = self.eventually(lambda: len(daemon.children()) == 3 and daemon.children(), "three workers")
        for worker in first:
            os.kill(worker.pid, signal.SIGKILL)
        old = {worker.pid for worker in first}
        self.eventually(lambda: len({c.pid for c in daemon.children()} - old) == 3, "three new workers")
        self.assertNotIn(Report(exchange(daemon.address("pool"))).pid, old)

    def test_workers_that_end_at_once_do_not_spin(self):
        """prefork, listen: workers that fail at their start are retried with back-off, and others are served."""
        daemon = self.superd({
            "broken": dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen", exec=["false"]),
            "cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
        })
        uri = daemon.address("cat")
        begin = time.monotonic()
        while time.monotonic() - begin < 2:
            self.assertEqual(self.converse(uri), b"hello")
        state = daemon.status()["broken"]
        self.assertGreaterEqual(int(state["failures"]), 1)
        self.assertLess(int(state["failures"]), 500)

    def test_shipped_worker(self):
        """prefork, listen: superd-echo accepts for itself, with processes and with threads."""
        daemon = self.superd({
            "processes": dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                              exec=["superd-echo"], prefork={"min_spare": 2}),
            "threads": dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                            exec=["superd-echo", "--threads", "8"], prefork={"min_spare": 1, "max_spare": 1}),
        })
        for name in ("processes", "threads"):
            uri = daemon.address(name)
            for number in range(30):
                self.assertEqual(self.converse(uri, b"line %d" % number), b"line %d" % number)
        clients = [self.client(daemon.address("threads")) for _ in range(6)]
        for client in clients:
            client.sendall(b"together\n")
        for client in clients:
            self.assertEqual(Reader(client).line(), b"together")


class PreforkListenAsUser(PreforkListen):
    as_user = "nobody"


class ShippedHandlers(SuperdCase):
    MODELS = {
        "fork": dict(model="fork"),
        "iterative": dict(model="iterative"),
        "delayed": dict(model="delayed"),
        "prefork": dict(model="prefork"),
        "pool": dict(model="prefork", handoff="listen"),
    }

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
                self.assertEqual(exchange(daemon.address(f"discard-{model}"), b"a line\n"), b"")
                self.assertIn(year, exchange(daemon.address(f"daytime-{model}")))
                seconds = int.from_bytes(exchange(daemon.address(f"time-{model}")), "big")
                self.assertLess(abs(seconds - 2208988800 - time.time()), 60)
                with connect(daemon.address(f"chargen-{model}")) as client:
                    self.assertEqual(len(Reader(client).line().rstrip(b"\r")), 72)
