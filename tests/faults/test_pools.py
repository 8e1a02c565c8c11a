# SPDX-License-Identifier: MIT
"""Pools of workers on a shared socket: they grow with demand and shrink after it, their workers come and go, and no
client is stranded. tests/faults/pools runs the longer ones at their full length."""

import contextlib
import datetime
import os
import random
import re
import signal
import threading
import time
import unittest

from faults import FaultCase, figure
from harness import Reader, connect, process

REQUESTS = int(os.environ.get("SUPERD_FAULTS_REQUESTS", "2000"))
SECONDS = float(os.environ.get("SUPERD_FAULTS_RELOADING", "4"))
CLIENTS = 8


class PoolCase(FaultCase):  # has no tests itself
    def pool(self, daemon, silent=False, pause=0, arguments=(), **keys):
        """Writes the service of this folder's worker."""
        with open(os.environ["SUPERD_FAULTS_WORKER"], "rb") as program:
            worker = daemon.script("worker", program.read())
        environment = {"WORKER_PAUSE": str(pause), **({"WORKER_SILENT": "1"} if silent else {})}
        keys.setdefault("model", "prefork")
        keys.setdefault("handoff", "listen")
        keys.setdefault("listen", "tcp://127.0.0.1:0")
        daemon.service("fault", exec=[worker, *arguments], environment=environment, **keys)

    def serving_pool(self, *arguments, **keys):
        daemon = self.prepare()
        self.pool(daemon, *arguments, **keys)
        daemon.start()
        return daemon, daemon.address("fault")

    def workers(self, daemon):
        return {child.pid for child in daemon.children()}

    def many(self, uri, number):
        """So many clients at once, each with its line sent."""
        clients = [self.client(uri, timeout=60) for _ in range(number)]
        for client in clients:
            client.sendall(b"x\n")
        return clients

    def answered(self, clients):
        """Waits until each has its answer. Returns the pids of the processes that gave them."""
        pids = set()
        for client in clients:
            reader = Reader(client)
            pids.add(int(reader.line()))
            self.assertEqual(reader.line(), b"answer")
            client.close()
        return pids


class Growth(PoolCase):
    def ramp(self, name, **keys):
        """200 clients at once for handlers of 100 ms, with two spare workers."""
        daemon, uri = self.serving_pool(pause=100, limits={"instances": 256}, prefork={"min_spare": 2}, **keys)
        self.eventually(lambda: self.count(daemon, "spare") >= 2, "ready")
        begin = time.monotonic()
        pids = self.answered(self.many(uri, 200))
        figure(f"ramp, {name}: 200 at once, min_spare 2, 100 ms each: all served within "
               f"{time.monotonic() - begin:.2f} s by {len(pids)} processes")
        self.assertGreater(len(pids), 20)
        return daemon

    def test_workers_that_report(self):
        """A burst of 200 is served by workers that were started for it, and most of these leave soon after."""
        daemon = self.ramp("workers that report")
        self.eventually(lambda: 2 <= len(self.workers(daemon)) <= 8, "no more than max_spare are kept")

    def test_workers_that_do_not_report(self):
        """The same if only the workers' queue is known."""
        self.ramp("workers that do not report", silent=True)

    def test_parked_processes(self):
        """The same with parked processes that take one connection each."""
        self.ramp("parked processes", handoff="connection")

    def test_min_spare_is_kept(self):
        """Beside busy workers that report, min_spare idle ones are ready; they shrink to that after max_idle."""
        daemon, uri = self.serving_pool(prefork={"min_spare": 2, "max_spare": 3, "max_idle": "500ms"})
        clients = [self.client(uri) for _ in range(4)]
        busy = {int(Reader(client).line()) for client in clients}
        self.assertEqual(len(busy), 4)
        self.eventually(lambda: len(self.workers(daemon)) >= 6 and self.count(daemon, "spare") >= 2, "two more")
        for client in clients:
            client.close()
        self.eventually(lambda: len(self.workers(daemon)) == 2, "two left")

    def test_silent_workers_shrink(self):
        """Workers that do not report go back to min_spare once clients no longer wait."""
        daemon, uri = self.serving_pool(silent=True, pause=300, prefork={"min_spare": 1, "max_idle": "300ms"})
        self.answered(self.many(uri, 12))
        self.eventually(lambda: len(self.workers(daemon)) == 1, "one left")
        self.answered(self.many(uri, 1))

    def test_on_demand(self):
        """min_spare = 0: no worker until the first client, none again after max_idle, and the next client has one."""
        for silent in (False, True):
            with self.subTest(silent=silent):
                daemon, uri = self.serving_pool(silent=silent, prefork={"min_spare": 0, "max_idle": "200ms"})
                self.assertEqual(self.workers(daemon), set())
                for _ in range(3):
                    self.answered(self.many(uri, 1))
                    self.eventually(lambda daemon=daemon: not self.workers(daemon), "none left")

    def test_unix_socket(self):
        """The length of a unix socket's queue is known too: a pool that does not report grows on it."""
        daemon = self.prepare()
        self.pool(daemon)
        daemon.service("fault", listen="unix://" + daemon.path("pool.sock"), model="prefork", handoff="listen",
                       exec=[daemon.path("worker")], environment={"WORKER_SILENT": "1", "WORKER_PAUSE": "300"},
                       prefork={"min_spare": 1})
        daemon.start()
        clients = self.many(daemon.address("fault"), 6)
        self.eventually(lambda: len(self.workers(daemon)) >= 3, "more workers")
        self.answered(clients)

    def test_delayed(self):
        """delayed, listen: one worker, another once a client has waited `delay`, one again after max_idle."""
        for silent in (False, True):
            with self.subTest(silent=silent):
                daemon, uri = self.serving_pool(silent=silent, model="delayed", delayed={"delay": "100ms"},
                                                prefork={"max_idle": "300ms"})
                self.answered(self.many(uri, 1))  # slow to start, the first may have got a second one beside it
                self.eventually(lambda daemon=daemon: len(self.workers(daemon)) == 1, "one")
                first = self.client(uri)
                one = int(Reader(first).line())
                self.assertEqual(self.workers(daemon), {one})
                second = self.client(uri)
                other = int(Reader(second).line())
                self.assertNotEqual(other, one)
                self.assertEqual(self.workers(daemon), {one, other})
                for client in (first, second):
                    client.sendall(b"x\n")
                    client.close()
                self.eventually(lambda daemon=daemon: len(self.workers(daemon)) == 1, "back to one")
                self.answered(self.many(uri, 1))

    def test_reports_are_shown(self):
        """The status shows which workers are spare and how many clients workers have taken."""
        daemon, uri = self.serving_pool(prefork={"min_spare": 2, "max_spare": 2})
        for _ in range(30):
            self.answered(self.many(uri, 1))
        self.eventually(lambda: self.count(daemon, "accepted") == 30 and self.count(daemon, "spare") == 2, "counted")


class Quiet(PoolCase):
    def test_an_idle_pool_wakes_nobody(self):
        """For ten seconds superd has nothing to do for pools of each kind that nobody uses."""
        daemon = self.prepare()
        for name, keys in {"reporting": {}, "threads": {"arguments": ["--threads", "16"]}, "parked": {"handoff": "connection"}, "silent": {"silent": True},
                           "later": {"model": "delayed"}, "none": {"prefork": {"min_spare": 0}}}.items():
            self.pool(daemon, **keys)
            os.rename(os.path.join(daemon.conf_dir, "fault.toml"), os.path.join(daemon.conf_dir, name + ".toml"))
        daemon.start()
        self.eventually(lambda: len(self.workers(daemon)) >= 2 + 1 + 2 + 2 + 1, "all are there")
        for name in ("reporting", "threads", "silent", "later", "parked"):
            self.answered(self.many(daemon.address(name), 1))
        quiet, = self.at_rest(daemon.pid)
        time.sleep(10)  # this shows that nothing happens
        woken = process.wake_ups(daemon.pid) - quiet
        figure(f"six idle pools: superd woke up {woken} times in 10 s")
        self.assertEqual(woken, 0)


class Renewal(PoolCase):
    def requests(self, uri, number, note):
        """`number` requests by CLIENTS clients; note(pid or None, error or None, seconds) after each."""
        lock = threading.Lock()
        left = [number]

        def client():
            while True:
                with lock:
                    if left[0] == 0:
                        return
                    left[0] -= 1
                pid, error, begin = None, None, time.monotonic()
                try:
                    with connect(uri, timeout=60) as sock:
                        reader = Reader(sock)
                        pid = int(reader.line())
                        sock.sendall(b"x\n")
                        if reader.line() != b"answer":
                            error = "no answer"
                except (OSError, ValueError) as failure:
                    error = repr(failure)
                with lock:
                    note(pid, error, time.monotonic() - begin)

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def test_killed_and_renewed(self):
        """With max_requests = 100 and a worker killed every 50 ms, only clients of killed workers see an end."""
        daemon, uri = self.serving_pool(prefork={"min_spare": 2, "max_spare": 6, "max_requests": 100})
        ends, pids, longest = [], set(), [0.0]

        def note(pid, error, seconds):
            pids.add(pid)
            longest[0] = max(longest[0], seconds)
            if error:
                ends.append((pid, error))

        threads = self.requests(uri, REQUESTS, note)
        killed = set()
        while any(thread.is_alive() for thread in threads):
            workers = self.workers(daemon)
            if workers:
                victim = random.choice(sorted(workers))
                killed.add(victim)
                with contextlib.suppress(ProcessLookupError):  # it has just left by itself
                    os.kill(victim, signal.SIGKILL)
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        # A process that was killed before it could send its pid cannot be identified.
        self.assertEqual([end for end in ends if end[0] is not None and end[0] not in killed], [])
        self.assertLessEqual(len(ends), len(killed))
        self.assertGreater(len(pids), REQUESTS // 100)
        figure(f"max_requests = 100: {REQUESTS} requests, {len(pids)} workers, {len(killed)} killed: {len(ends)} clients "
               f"saw an end, none of them of another worker; the longest request took {longest[0]:.3f} s")
        state = daemon.status()["fault"]
        self.assertEqual(state["state"], "listening")

    SHAPES = (
        dict(prefork={"min_spare": 1}),
        dict(prefork={"min_spare": 4, "max_spare": 12}),
        dict(prefork={"min_spare": 2}, silent=True),
        dict(handoff="connection", prefork={"min_spare": 3}),
        dict(model="delayed", delayed={"delay": "20ms"}),
        dict(prefork={"min_spare": 0, "max_idle": "20ms"}),
        dict(model="fork", handoff="connection"),
        dict(model="delayed", handoff="connection"),
        dict(prefork={"min_spare": 2, "max_requests": 7, "max_age": "50ms"}),
        dict(model="iterative", handoff="connection"),
    )

    def test_reloads(self):
        """Reloads every 100 ms that change pool sizes, model and handoff: no client fails."""
        daemon = self.prepare()
        self.pool(daemon, **self.SHAPES[0])
        daemon.start()
        uri = daemon.address("fault")
        failures, served, over = [], [0], threading.Event()

        def note(_, error, __):
            served[0] += 1
            if error:
                failures.append(error)

        def go_on():
            while not over.is_set() and not failures:
                for thread in self.requests(uri, 100, note):
                    thread.join()

        load = threading.Thread(target=go_on)
        load.start()
        reloads = 0
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end and not failures:
                reloads += 1
                self.pool(daemon, **self.SHAPES[reloads % len(self.SHAPES)])
                daemon.reload()
                load.join(0.1)
        finally:
            over.set()
            load.join()
        self.assertEqual(failures, [])
        self.assertGreater(served[0], 0)
        figure(f"{reloads} reloads that change size, model and handoff in {SECONDS:.0f} s: "
               f"{served[0]} clients, none failed")

    def test_worker_that_dies_before_its_first_client(self):
        """Workers that end at once are started less and less often, the port stays open, and the one that works again
        serves the waiting clients."""
        daemon = self.prepare()
        self.pool(daemon, prefork={"min_spare": 1})
        with open(daemon.path("worker"), "rb") as file:
            good = file.read()
        daemon.script("worker", b"#!/bin/sh\nexit 1\n")
        daemon.start()
        uri = daemon.address("fault")
        client = self.client(uri, timeout=60)

        def ends():
            return [record for record in daemon.records if re.match(r"worker \d+ ended", record["message"])]
        self.eventually(lambda: len(ends()) >= 7, "some tries")
        times = [datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")) for record in ends()]
        gaps = [(later - earlier).total_seconds() for earlier, later in zip(times, times[1:])]
        self.assertGreater(gaps[5], 4 * 0.020)
        daemon.script("worker", good)
        client.sendall(b"x\n")
        self.answered([client])


class FewPlaces(PoolCase):
    """As many workers as `instances` allows."""

    def test_each_address_keeps_a_worker(self):
        """Two addresses, two places: whichever worker is killed, its address is served again at once."""
        daemon, _ = self.serving_pool(listen=["tcp://127.0.0.1:0", "tcp://127.0.0.2:0"], limits={"instances": 2},
                                      prefork={"min_spare": 2})
        for _ in range(5):
            for uri in daemon.addresses("fault"):
                pid, = self.answered(self.many(uri, 1))
                os.kill(pid, signal.SIGKILL)
                self.eventually(lambda pid=pid: pid not in self.workers(daemon), "gone")
                self.answered(self.many(uri, 1))

    def test_an_address_that_is_not_there(self):
        """A pool with one unavailable address serves and grows on the other."""
        daemon, _ = self.serving_pool(silent=True, pause=300, prefork={"min_spare": 1},
                                      listen=["tcp://127.0.0.1:0", "tcp://192.0.2.55:7999"])
        self.assertGreater(len(self.answered(self.many(daemon.addresses("fault")[0], 6))), 1)
        self.assertEqual(daemon.status()["fault"]["state"], "waiting")

    def test_successors_are_there_at_once(self):
        """One place, and a worker that leaves after each client: its successor starts when it goes, not by a timer;
        the same if superd does not know its fate."""
        for silent in (False, True):
            with self.subTest(silent=silent):
                daemon, uri = self.serving_pool(silent=silent, limits={"instances": 1},
                                                prefork={"min_spare": 1, "max_requests": 1})
                begin = time.monotonic()
                pids = [self.answered(self.many(uri, 1)) for _ in range(30)]
                figure(f"max_requests = 1, one place, {'silent' if silent else 'reporting'}: 30 clients one after the "
                       f"other in {time.monotonic() - begin:.2f} s")
                self.assertEqual(len(set.union(*pids)), 30)


class Unruly(PoolCase):
    """What workers can do with their status descriptor."""

    BAD = {
        "floods": "import os, threading\n"
                  "def flood():\n"
                  "    while True: os.write(status, b'idle\\n' * 400)\n"
                  "threading.Thread(target=flood, daemon=True).start()\n",
        "babbles": "import os\nos.write(status, os.urandom(3000))\nos.write(status, b'idl')\n",
        "closes": "import os\nos.close(status)\n",
    }
    WORKER = ("import os, socket\n"
              "status = int(os.environ['SUPERD_STATUS_FD'])\n"
              "{bad}"
              "listener = socket.socket(fileno=os.dup(0))\n"
              "while True:\n"
              "    client, _ = listener.accept()\n"
              "    client.sendall(b'%d\\nanswer\\n' % os.getpid())\n"
              "    client.close()\n")

    def test_others_go_on(self):
        """Workers that write without end, write anything, or close it are served by, and so are a good pool's."""
        daemon = self.prepare()
        self.pool(daemon, prefork={"min_spare": 2})
        for name, bad in self.BAD.items():
            program = daemon.write(name + ".py", self.WORKER.format(bad=bad))
            daemon.service(name, listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                           exec=["/usr/bin/python3", program], prefork={"min_spare": 2})
        daemon.start()
        for name in self.BAD:
            self.answered(self.many(daemon.address(name), 3))
        uri = daemon.address("fault")
        for _ in range(3):
            clients = [self.client(uri) for _ in range(6)]
            for client in clients:
                Reader(client).line()
            self.eventually(lambda: self.count(daemon, "spare") >= 2, "spare next to the busy ones")
            for client in clients:
                client.close()
        daemon.reload()
        self.answered(self.many(uri, 1))

    def test_told_to_leave_it_may_close_first(self):
        """A worker that closes its descriptor when it is asked to leave still finishes its client."""
        daemon = self.prepare()
        worker = ("import os, select, socket, sys\n"
                  "status = int(os.environ['SUPERD_STATUS_FD'])\n"
                  "os.write(status, b'idle\\n')\n"
                  "listener = socket.socket(fileno=os.dup(0))\n"
                  "client, _ = listener.accept()\n"
                  "os.write(status, b'busy\\n')\n"
                  "client.sendall(b'hello\\n')\n"
                  "select.select([status], [], [])\n"
                  "os.close(status)\n"
                  "client.sendall(b'told\\n')\n"
                  "client.recv(100)\n"
                  "client.sendall(b'bye\\n')\n")
        program = daemon.write("worker.py", worker)
        for number in range(2):
            daemon.service("fault", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                           exec=["/usr/bin/python3", program], prefork={"min_spare": 1}, stop_timeout="1s",
                           environment={"CHANGED": str(number)})
            if number == 0:
                daemon.start()
        client = self.client(daemon.address("fault"), timeout=60)
        reader = Reader(client)
        self.assertEqual(reader.line(), b"hello")
        daemon.reload()
        self.assertEqual(reader.line(), b"told")
        time.sleep(2.5)  # longer than superd would leave it, if it looked idle
        client.sendall(b"x\n")
        self.assertEqual(reader.line(), b"bye")


if __name__ == "__main__":
    unittest.main()
