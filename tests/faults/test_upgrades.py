# SPDX-License-Identifier: MIT
"""Upgrades in place, one after the other, under load. tests/faults/upgrades makes more of them."""

import collections
import hashlib
import os
import resource
import select
import signal
import statistics
import subprocess
import threading
import time
import unittest

import everything
import sshd
from faults import SANITIZED, Counter, FaultCase, figure
from harness import connect, exchange, process
from upgrading import Session, UpgradeCase

UPGRADES = int(os.environ.get("SUPERD_FAULTS_UPGRADES", "20"))
CONNECTIONS = int(os.environ.get("SUPERD_FAULTS_CONNECTIONS", "1000"))
BEAT = 0.1  # seconds from one upgrade to the next
PATIENCE = 60.0
SIZE = 4 << 20  # of the file that is fetched meanwhile

# Services that are meant to refuse clients.
LEFT_OUT = ("turned-away",)
TCP = "tcp://127.0.0.1:0"


class Shell:
    """An interactive shell at the other end of ssh."""

    def __init__(self, case, words):
        self.case, self.said, self.typed = case, b"", 0
        self.process = subprocess.Popen([words[0], "-tt", *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        bufsize=0)
        case.addCleanup(self.end)

    def answers(self):
        """Types a command and waits for its output."""
        self.typed += 1
        self.process.stdin.write(b"echo said $((7 * %d))\n" % self.typed)
        deadline = time.monotonic() + PATIENCE
        while b"said %d\r\n" % (7 * self.typed) not in self.said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            self.case.assertTrue(ready, f"the shell does not answer: {self.said[-500:]}")
            more = self.process.stdout.read(4096)
            self.case.assertTrue(more, f"the session has ended: {self.said[-500:]}")
            self.said = self.said[-4096:] + more

    def leave(self):
        self.process.stdin.write(b"exit 5\n")
        self.case.assertEqual(self.process.wait(PATIENCE), 5)

    def end(self):
        self.process.kill()
        self.process.communicate()


class Load:
    """Clients of every service, one after the other, until told that it is over. None is quicker than its share of
    CONNECTIONS over all upgrades requires, or pools would leave nothing to the others."""

    def __init__(self, visits):
        self.pause = UPGRADES * BEAT / CONNECTIONS * len(visits)
        self.made, self.wrong, self.longest = collections.Counter(), [], 0.0
        self.over, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.go_on, args=visit) for visit in visits]
        for thread in self.threads:
            thread.start()

    def go_on(self, name, visit):
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            due = max(due, begun - self.pause) + self.pause
            try:
                answer = visit(b"%d" % self.made[name])
            except OSError as error:
                answer = repr(error)
            with self.lock:
                self.made[name] += 1
                self.longest = max(self.longest, time.monotonic() - begun)
                if answer != "served":
                    self.wrong.append((name, answer))

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


@unittest.skipIf(sshd.MISSING, f"not installed: {', '.join(sshd.MISSING)}")
class Upgrades(sshd.SshdCase, UpgradeCase, FaultCase):
    def serve_everything(self):
        """Every model and kind of socket, with sessions that last."""
        daemon, login = self.prepare_login()
        daemon.log_level = "info"
        names = {name: keys for name, keys in everything.services(daemon.directory).items() if name not in LEFT_OUT}
        for name, keys in names.items():
            daemon.service(name, **keys)
        self.counter = Counter(daemon)
        daemon.service("few", listen=TCP, model="fork", limits={"instances": 2},
                       exec=[self.install(daemon), "count", self.counter.path, "5"])
        daemon.service("each", listen=TCP, model="fork", exec=["cat"], limits={"per_source": 2, "on_excess": "close"})
        daemon.service("aged", listen=TCP, model="fork", exec=["cat"],
                       max_lifetime=f"{UPGRADES * BEAT * 1000 / 4:.0f}ms")
        words, keys = self.sshd(daemon)
        daemon.service("sshd", listen=TCP, model="fork", exec=words, **keys)
        with open(os.path.join(daemon.shared("data"), "blob"), "wb") as blob:
            blob.write(os.urandom(SIZE))
        config = daemon.write("rsyncd.conf", f"use chroot = no\n[data]\npath = {daemon.path('data')}\n")
        daemon.service("rsync", listen=TCP, model="fork", exec=["rsync", "--daemon", f"--config={config}"])
        daemon.start()
        return daemon, login, {name: daemon.address(name) for name in [*names, "few", "each", "aged", "rsync"]}

    @staticmethod
    def visitor(name, uri):
        if name == "few":
            return lambda _: "served" if exchange(uri, timeout=PATIENCE) == b"answer\n" else "no answer"
        if uri.startswith(("udp", "unix-dgram")):
            return lambda data: Upgrades.datagram(uri, data)
        return lambda data: everything.exchange(uri, data, PATIENCE)

    @staticmethod
    def datagram(uri, data):
        """Sent once: anything that a superd lost would be missed."""
        with connect(uri, timeout=PATIENCE) as sock:
            sock.send(data)
            return "served" if sock.recv(100) == data else "another's answer"

    def fetch(self, daemon, uri):
        """rsync, so slow that it lasts for all of it."""
        target = daemon.shared("fetched")
        rate = max(1, int(SIZE / 1024 / (UPGRADES * BEAT)))
        return subprocess.Popen(["rsync", f"--bwlimit={rate}", f"rsync://127.0.0.1:{uri.rsplit(':', 1)[1]}/data/blob",
                                 target], stdout=subprocess.DEVNULL)

    def digest(self, path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @staticmethod
    def busy_workers(control):
        return {child["pid"] for child in control.processes() if child["service"] == "pool" and child["busy"]}

    def is_over_its_share(self, uri):
        """One source has its two connections to "each" open: another is turned away."""
        with connect(uri) as third:
            try:
                return third.recv(1) == b""
            except ConnectionResetError:
                return True

    def test_nobody_notices(self):
        """Upgrades one after the other while clients come to every model and kind of socket: each gets its answer and
        is counted, instances, per_source and max_lifetime hold, and sessions that span all upgrades continue: handlers
        under four models and a pool's worker, a shell behind sshd -i, a file that rsync fetches."""
        daemon, login, uris = self.serve_everything()
        control = everything.Control(daemon.control)
        self.eventually(lambda: control.services()["pool"]["spare"] >= 2, "workers are there")
        sessions = {name: Session(self.client(uris[name])) for name in ("fork", "parked", "unix", "delayed", "pool")}
        sessions["pool"].goes_on(self, b"there")
        busy = self.eventually(lambda: self.busy_workers(control), "the worker of a session has answered")
        shares = [Session(self.client(uris["each"])) for _ in range(2)]
        shell = Shell(self, self.ssh(daemon, daemon.address("sshd"), login))
        shell.answers()
        fetching = self.fetch(daemon, uris["rsync"])
        self.addCleanup(fetching.wait)
        self.addCleanup(fetching.kill)
        aged = self.client(uris["aged"])
        aged.setblocking(False)
        lasting = {"each", "aged", "rsync"}
        load = Load([(name, self.visitor(name, uri)) for name, uri in uris.items() if name not in lasting
                     for _ in range({"few": 3, "held": 2, "iterative": 2}.get(name, 1))])
        begun, took, ended_at, fetched_at = [], [], None, None
        try:
            due = time.monotonic()
            while len(begun) < UPGRADES or sum(load.made.values()) < CONNECTIONS:
                begun.append(time.monotonic())
                self.upgrade(daemon)
                took.append(time.monotonic() - begun[-1])
                for session in [*sessions.values(), *shares]:
                    session.goes_on(self, b"%d" % len(begun))
                shell.answers()
                if ended_at is None and select.select([aged], [], [], 0)[0]:
                    self.assertEqual(aged.recv(1), b"")
                    ended_at = len(begun)
                if fetched_at is None and fetching.poll() is not None:
                    fetched_at = len(begun)
                if len(begun) % 10 == 0:
                    self.assertTrue(self.is_over_its_share(uris["each"]))
                due = max(due + BEAT, time.monotonic() - BEAT)
                time.sleep(max(0.0, due - time.monotonic()))
        finally:
            load.finish()
        self.assertEqual(load.wrong, [])
        self.assertGreaterEqual(min(load.made[name] for name in uris if name not in lasting), 1)
        self.assertIsNotNone(ended_at, "max_lifetime restarted with each upgrade")
        self.assertEqual(fetching.wait(PATIENCE), 0)
        self.assertEqual(self.digest(daemon.path("fetched/blob")), self.digest(daemon.path("data/blob")))
        self.assertLessEqual(busy, self.busy_workers(control), "the worker of a session is not known any more")
        shell.leave()
        for session in [*sessions.values(), *shares]:
            session.sock.close()
        self.assertLessEqual(self.counter.read()[1], 2, "instances")
        self.assertEqual(self.counter.read()[2], load.made["few"])
        self.balances(control, {name: load.made[name] + (name in sessions) for name in load.made})
        self.tell(load, begun, took, ended_at, fetched_at, shell)

    def balances(self, control, made):
        """Each client has been counted once, and its handler's start and end."""
        def unrest():
            services = control.services()
            return {name: text for name, service in services.items() if (text := everything.imbalance(name, service))}
        self.eventually(lambda: not unrest(), "the books balance")
        for name, service in control.services().items():
            if name in made and name not in everything.OWNERS:
                self.assertEqual(service["accepted"], made[name], name)
            if name != "sshd":  # which ends with 255 when its client leaves
                self.assertEqual(service["failures"], 0, name)
        self.assertEqual(control.ask("status")["superd"]["upgrades"]["refused"], 0)

    def tell(self, load, begun, took, ended_at, fetched_at, shell):
        between = [later - earlier for earlier, later in zip(begun, begun[1:])]
        figure(f"{len(begun)} upgrades, one each {statistics.median(between) * 1000:.0f} ms (median; at most "
               f"{max(between) * 1000:.0f}), each of {statistics.median(took) * 1000:.0f} ms (at most "
               f"{max(took) * 1000:.0f}), while {sum(load.made.values())} connections were made: {len(load.wrong)} "
               f"failed, the longest took {load.longest:.2f} s")
        figure(f"by service: {dict(sorted(load.made.items()))}")
        figure(f"a shell behind sshd -i answered {shell.typed} times; rsync fetched {SIZE >> 20} MiB by upgrade "
               f"{fetched_at or 'after the last'}; max_lifetime ended a session by upgrade {ended_at}; at most "
               f"{self.counter.read()[1]} handlers at once of instances = 2")


class Scarcity(FaultCase, UpgradeCase):
    """An upgrade that lacks some resource is refused with the reason, or done; nothing in between."""

    UID = 64123  # belongs to nobody, so that no other process counts
    NEEDS_DESCRIPTORS = "UndefinedBehaviorSanitizer looks at memory by a pipe, and ends superd where it cannot have one"

    def attempt(self, daemon):
        """An upgrade; why it was refused, or "done"."""
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        record = daemon.wait_for(lambda r: r["message"].startswith(("upgraded", "upgrade refused")), since=since)
        return record["message"].partition("stays as it was: ")[2].removeprefix(daemon.installation.superd) or "done"

    def crowd(self, daemon, uri, **sources):
        """100 clients, more than there is room for, of handlers that stay until they are told to go."""
        load = self.load(uri, parallel=100, total=100, patience=60, **sources)
        self.addCleanup(daemon.write, "go", "")
        daemon.wait_for(message="cannot start as many handlers")
        return load

    @unittest.skipIf(SANITIZED, NEEDS_DESCRIPTORS)
    def test_descriptors_all_taken(self):
        """All descriptors are taken by clients, most of which superd holds: upgrades, done or not, lose no client, and
        the scarcity is reported once, before them."""
        daemon, uri = self.serving("until", "DIR/go", prefix=["prlimit", "--nofile=60:60", "--"],
                                   limits={"per_source": 2, "wait_timeout": "5m"})
        load = self.crowd(daemon, uri, source="127.0.9.1", sources=10)
        outcomes = collections.Counter(self.attempt(daemon) for _ in range(10))
        figure(f"ten upgrades where clients have taken all of 60 descriptors: {dict(outcomes)}")
        self.assertEqual(self.count(daemon, "handlers"), 20)
        daemon.write("go", "")
        self.all_served(load.finish(), 100)
        self.assertEqual(len(daemon.find(lambda r: r["message"].startswith("cannot start as many handlers"))), 1)
        self.assertEqual(self.attempt(daemon), "done")

    @unittest.skipIf(SANITIZED, NEEDS_DESCRIPTORS)
    def test_descriptors_ever_fewer(self):
        """The limit of descriptors comes down one by one: upgrades are done, then refused, and a session continues."""
        daemon = self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"]),
                              "parked": dict(listen=TCP, model="prefork", exec=["cat"])})
        sessions = [Session(self.client(daemon.address(name))) for name in ("cat", "parked")]
        for session in sessions:  # handlers could not be given their limits back later
            session.goes_on(self, b"there")
        limit, outcomes = len(process.descriptors(daemon.pid)) + 15, collections.Counter()
        while outcomes.total() - outcomes["done"] < 15 and limit > 0:
            daemon.limit("nofile", limit)
            outcomes[self.attempt(daemon)] += 1
            for session in sessions:
                session.goes_on(self, b"%d" % limit)
            limit -= 1
        figure(f"upgrades with ever fewer descriptors: {dict(outcomes)}")
        self.assertGreater(outcomes["done"], 0)
        self.assertEqual(outcomes.total(), outcomes["done"] + 15)

    @unittest.skipIf(os.geteuid() != 0, "needs root: a limit of processes counts all that the user runs")
    def test_processes_all_taken(self):
        """An ordinary user's superd that has as many processes as it may: refused, since none is left for the proof;
        no client is lost, and once there is a free one the upgrade is done."""
        user = ["setpriv", f"--reuid={self.UID}", f"--regid={self.UID}", "--clear-groups", "--"]
        daemon, uri = self.serving("until", "DIR/go", prefix=["prlimit", "--nproc=30:30", "--", *user])
        load = self.crowd(daemon, uri)
        self.assertEqual(self.attempt(daemon), "fork: Resource temporarily unavailable")
        daemon.write("go", "")
        self.all_served(load.finish(), 100)
        self.assertEqual(self.attempt(daemon), "done")
        self.all_served(self.load(uri, total=1).finish(), 1)

    @unittest.skipIf(SANITIZED, "AddressSanitizer takes terabytes of address space: for a build without it")
    def test_memory(self):
        """From far too little address space to enough, in pages around the minimum: an upgrade is refused or done, and
        a session continues."""
        daemon = self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"])})
        session = Session(self.client(daemon.address("cat")))
        outcomes, hard = collections.Counter(), resource.prlimit(daemon.pid, resource.RLIMIT_AS)[1]

        def enough(pages):
            resource.prlimit(daemon.pid, resource.RLIMIT_AS, (pages * resource.getpagesize(), hard))
            outcome = self.attempt(daemon)
            resource.prlimit(daemon.pid, resource.RLIMIT_AS, (hard, hard))
            session.goes_on(self, b"%d" % pages)
            outcomes[outcome] += 1
            return outcome == "done"

        low, high = 1, int(process.status(daemon.pid)["VmSize"].split()[0]) * 2 * 1024 // resource.getpagesize()
        self.assertTrue(enough(high))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        for pages in range(high - 20, high + 20):
            enough(pages)
        figure(f"least address space for an upgrade {high * resource.getpagesize() >> 10} KiB: {dict(outcomes)}")
        self.assertGreater(outcomes["done"], 1)
        self.assertGreater(outcomes.total(), outcomes["done"])
        self.assertEqual(exchange(daemon.address("cat"), b"hello"), b"hello")


if __name__ == "__main__":
    unittest.main()
