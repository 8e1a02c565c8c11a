# SPDX-License-Identifier: MIT
"""Pools on stream sockets: processes parked before their clients, and workers that accept for themselves."""

import os
import shutil
import signal
import time
import unittest

from harness import Reader, SuperdCase, connect, exchange, handler
from harness import process
from harness.probe import Report


def parked_of(daemon):
    return [child.pid for child in daemon.children() if process.executable(child.pid) == "superd-exec"]


class PreforkConnection(SuperdCase):
    def pool(self, **more):
        keys = dict(listen="tcp://127.0.0.1:0", model="prefork", exec=[handler("probe"), "--hold"],
                    prefork={"min_spare": 3, "max_spare": 5}, rlimits={"nofile": 321})
        keys.update(more)
        return self.superd({"pool": keys})

    def test_parked_before_the_first_client(self):
        """prefork: before any client, min_spare processes exist, under the target user, with limits set, and they
        are superd-exec, not copies of superd."""
        daemon = self.pool()
        parked = self.eventually(lambda: len(parked_of(daemon)) >= 3 and parked_of(daemon), "three parked")
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
        before = self.eventually(lambda: len(parked_of(daemon)) >= 3 and parked_of(daemon), "three parked")
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
        self.eventually(lambda: 3 <= len(parked_of(daemon)) <= 5, "min_spare ready next to eight busy ones")
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
        before = self.eventually(lambda: len(parked_of(daemon)) >= 3 and parked_of(daemon), "three parked")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: len(set(parked_of(daemon)) - set(before)) >= 3, "replaced")
        for _ in range(10):
            self.assertEqual(self.converse(uri), b"hello")

    def test_nothing_parked_is_left_after_stop(self):
        """prefork: parked processes end with superd."""
        daemon = self.pool()
        self.eventually(lambda: len(parked_of(daemon)) >= 3, "three parked")
        daemon.stop()


class PreforkConnectionAsUser(PreforkConnection):
    as_user = "nobody"


@unittest.skipUnless(shutil.which("prlimit"), "needs prlimit of util-linux")
class Scarcity(SuperdCase):
    """superd's own limits are lowered once its pool stands: the ready processes need nothing more from it."""

    def pool(self):
        daemon = self.superd({"pool": dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"],
                                           prefork={"min_spare": 4, "max_spare": 4})})
        self.eventually(lambda: len(parked_of(daemon)) == 4, "four parked")
        return daemon

    def served_by_the_parked(self, daemon, limit, lower):
        """Four clients, with `lower` called before each; a fifth waits until the limit is as before."""
        uri = daemon.address("pool")
        before = daemon.soft_limit(limit)
        for _ in range(4):
            daemon.soft_limit(limit, lower())
            client = self.client(uri, timeout=10)
            client.sendall(b"hello\n")
            self.assertEqual(Reader(client).line(), b"hello")
        self.assertEqual(len(daemon.children()), 4, "nobody could be started beside them")
        fifth = self.client(uri)
        fifth.sendall(b"hello\n")
        daemon.soft_limit(limit, before)
        self.assertEqual(Reader(fifth).line(), b"hello")
        self.eventually(lambda: len(parked_of(daemon)) == 4, "four parked again")

    def test_no_more_processes(self):
        """prefork: while no further process can be started, parked ones still get their clients."""
        if self.root:
            self.skipTest("root is not bound by RLIMIT_NPROC")
        self.served_by_the_parked(self.pool(), "nproc", lambda: 1)

    def test_no_more_descriptors(self):
        """prefork: with one descriptor free, enough to accept but not to park, parked ones still get their clients."""
        daemon = self.pool()

        def one_free():
            taken = process.descriptors(daemon.pid)
            free = [number for number in range(max(taken) + 3) if number not in taken]
            return free[1]

        self.served_by_the_parked(daemon, "nofile", one_free)


class ScarcityAsUser(Scarcity):
    as_user = "nobody"


class PreforkListen(SuperdCase):
    def pool(self, *arguments, **more):
        keys = dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                    exec=[handler("probe"), "--accept", "3", *arguments], prefork={"min_spare": 3})
        keys.update(more)
        return self.superd({"pool": keys})

    def test_workers_accept_for_themselves(self):
        """prefork, listen: min_spare workers share the listening socket and serve many clients each."""
        daemon = self.pool(prefork={"min_spare": 3, "grow_after": "5m"})  # a client may wait long on a busy machine
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
        """prefork, listen: killed workers are replaced and the service continues."""
        daemon = self.pool()
        first = self.eventually(lambda: len(daemon.children()) == 3 and daemon.children(), "three workers")
        for worker in first:
            os.kill(worker.pid, signal.SIGKILL)
        old = {worker.pid for worker in first}
        self.eventually(lambda: len({c.pid for c in daemon.children()} - old) == 3, "three new workers")
        self.assertNotIn(Report(exchange(daemon.address("pool"))).pid, old)

    def test_replaced_by_age_where_no_more_fit(self):
        """prefork, listen: with as many workers as instances allow, each is replaced at max_age, over generations."""
        daemon = self.pool(exec=["superd-echo"], limits={"instances": 2}, prefork={"min_spare": 2, "max_age": "1s"})
        uri = daemon.address("pool")
        seen = set()

        def eight_of_them():
            with connect(uri, timeout=10) as client:
                client.sendall(b"hello\n")
                self.assertEqual(Reader(client).line(), b"hello")
            now = {child.pid for child in daemon.children()}
            self.assertLessEqual(len(now), 2)
            seen.update(now)
            return len(seen) >= 8

        self.eventually(eight_of_them, "four generations of two workers")

    def test_every_address_has_a_worker(self):
        """prefork, listen: if not all wanted workers fit, the addresses share them."""
        daemon = self.pool(listen=["tcp://127.0.0.1:0", "tcp://127.0.0.2:0", "tcp://[::1]:0"],
                           limits={"instances": 4}, prefork={"min_spare": 2})
        uris = daemon.addresses("pool")
        self.assertEqual(len(uris), 3)
        self.eventually(lambda: len(daemon.children()) == 4, "as many workers as instances")
        answered = {Report(exchange(uri, timeout=10)).pid for uri in uris}
        self.assertEqual(len(answered), 3)

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
