# SPDX-License-Identifier: MIT
"""Everything at once for a while: every model and kind of socket, well-behaved and other clients, floods, reloads,
upgrades and killed processes. At the end the books balance and nothing is left. tests/soak makes it last."""

import collections
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import everything
from faults import SANITIZED, figure
from harness import SuperdCase, connect, handler, process
from harness.wire import uri_parts
from injection import until
from subject import Subject

SECONDS = float(os.environ.get("SUPERD_SOAK", "10"))
PATIENCE = 120.0  # of a client: behind others that hang, on two busy processors
RESET = struct.pack("ii", 1, 0)  # SO_LINGER
FLOOD = 20  # clients of one burst
KEPT = 2000  # log records
MEMORY = 1024  # KiB

# Floods go only to these, so that a well-behaved client is refused only by its own service.
FLOODED = {
    "rated": dict(limits={"rate": "100/s", "burst": 5}),
    "denied": dict(access={"deny": ["127.0.0.66"]}),
    "sourced": dict(limits={"per_source_rate": "20/s", "per_source_burst": 5, "on_excess": "reset"}),
    "crowded": dict(limits={"per_source": 2, "wait_timeout": "500ms"}),
}

# Workers with threads, which a ThreadSanitizer sees at work.
THREAD_COUNT = 4
THREADS = dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
               exec=[handler("superd-echo"), "--threads", str(THREAD_COUNT)],
               prefork={"min_spare": 4, "max_spare": 4, "max_requests": 50})

# Of parked, pool, datagram-pool and warm (a template and its copy) two, of later and threads one.
STANDING = 10


def can_upgrade():
    superctl = os.environ.get("SUPERD_SUPERCTL")
    if not superctl:
        return False
    text = subprocess.run([superctl, "--help"], stdout=subprocess.PIPE, text=True, check=False).stdout
    return any(line.split()[:1] == ["upgrade"] for line in text.splitlines())


class Soak(SuperdCase):
    def setUp(self):
        super().setUp()
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.ends = collections.Counter()
        self.clients_killed = 0  # at the most
        self.wrong = []

    def count(self, what, wrong=""):
        with self.lock:
            self.ends[what] += 1
            if wrong and len(self.wrong) < 50:
                self.wrong.append(wrong)

    def act(self, what, pause=0.0):
        """A thread that does it until the end; an exception in it is an error."""
        def run():
            dice = random.Random(what.__name__ + str(threading.get_ident()))
            while not self.over.is_set():
                try:
                    what(dice)
                except Exception as error:  # pylint: disable=broad-except
                    self.count("failures", f"{what.__name__}: {error!r}")
                    self.over.wait(1)
                self.over.wait(pause)
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    # -- the actors -------------------------------------------------------------------------------

    def behaves(self, dice):
        """Sends a line and reads it again."""
        name, uri = dice.choice(list(self.subject.uris.items()))
        if name in FLOODED:
            return
        end = everything.exchange(uri, b"%d" % dice.randrange(1 << 60), PATIENCE)
        if end == "closed" and name != "broken":
            end = "lost"  # no more than were killed
        self.count(end if end in ("served", "refused", "closed", "lost") else "failures",
                   "" if end in ("served", "refused", "closed", "lost") else f"{name}: {end}")

    def misbehaves(self, dice):
        """Hangs, half-closes, resets, never reads, or leaves without a word."""
        uri = dice.choice(list(self.subject.uris.values()))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError, ConnectionRefusedError):
            with connect(uri, timeout=5) as sock:
                manner = dice.choice([self.hangs, self.half_closes, self.resets, self.never_reads, self.leaves])
                manner(sock, dice)
                self.count(manner.__name__)

    def hangs(self, _, dice):
        self.over.wait(dice.random())

    @staticmethod
    def half_closes(sock, _):
        sock.sendall(b"half\n")
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(1)
            sock.recv(100)

    @staticmethod
    def resets(sock, _):
        sock.sendall(b"reset\n")
        if sock.family != socket.AF_UNIX and sock.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    @staticmethod
    def never_reads(sock, _):
        sock.settimeout(0.3)
        for _ in range(64):
            sock.send(bytes(1024))

    @staticmethod
    def leaves(_, __):
        pass

    def floods(self, dice):
        """A burst from one source at a service that keeps some of it out."""
        name = dice.choice(list(FLOODED))
        _, *address = uri_parts(self.subject.uris[name])
        socks = []
        try:
            for _ in range(FLOOD):
                sock = socket.socket()
                socks.append(sock)
                sock.settimeout(5)
                sock.bind((dice.choice(["127.0.0.66", "127.0.0.67"]), 0))
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    sock.connect(tuple(address))
                    sock.send(b"flood\n")
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.recv(100)
        finally:
            for sock in socks:
                sock.close()
        self.count("bursts")

    def reloads(self, dice):
        number = str(dice.randrange(1000))
        self.write(ROUND=number)
        if dice.random() < 0.5:
            self.subject.daemon.service("extra", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        elif os.path.exists(self.subject.daemon.path("conf.d/extra.toml")):
            self.subject.daemon.remove("extra")
        answer = self.control("reload")
        self.count("reloads" if answer["ok"] else "failures", "" if answer["ok"] else f"reload: {answer}")

    def kills(self, dice):
        """A handler, worker or parked process, with or without superd's knowledge."""
        children = self.control("processes")["processes"]
        if not children:
            return
        child = dice.choice(children)
        if dice.random() < 0.5:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child["pid"], signal.SIGKILL)
        else:
            self.control("kill", target=str(child["pid"]))
        self.count("kills")
        with self.lock:
            self.clients_killed += THREAD_COUNT if child["service"] == "threads" else 1

    def holds(self, dice):
        name = dice.choice(["fork", "pool", "delayed", "datagram"])
        for verb in (dice.choice(["pause", "drain"]), "resume"):
            self.control(verb, service=name)
            self.over.wait(0.05)
        self.count("pauses")

    def upgrades(self, _):
        self.subject.daemon.process.send_signal(signal.SIGUSR2)
        self.count("upgrades")

    def control(self, verb, **words):
        """Asks until it is answered: during an upgrade nothing answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.subject.control.ask(verb, **words)
            except OSError:
                if time.monotonic() > deadline or not self.subject.alive():
                    raise
                time.sleep(0.05)

    # -- the whole -------------------------------------------------------------------------------

    def write(self, **more):
        everything.write_all(self.subject.daemon, **more)
        extra = {"environment": more} if more else {}
        for name, keys in FLOODED.items():
            self.subject.daemon.service(name, listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], **keys, **extra)
        self.subject.daemon.service("threads", stop_timeout="1s", **THREADS, **extra)

    def go_on_for(self, seconds):
        """All of it at once."""
        self.over.clear()
        threads = [self.act(self.behaves) for _ in range(6)]
        threads += [self.act(self.misbehaves) for _ in range(4)]
        threads += [self.act(self.floods, 0.2), self.act(self.reloads, 0.5), self.act(self.kills, 0.2),
                    self.act(self.holds, 1)]
        if can_upgrade():
            threads.append(self.act(self.upgrades, 1))
        end = time.monotonic() + seconds
        daemon = self.subject.daemon
        while (left := end - time.monotonic()) > 0 and self.subject.alive():
            time.sleep(min(left, 0.5))
            with daemon.arrival:  # a log of millions of lines would be the leak that is looked for
                del daemon.records[:-KEPT]
        self.over.set()
        for thread in threads:
            thread.join()
        self.assertTrue(self.subject.alive(), "superd has ended")

    def come_to_rest(self):
        with contextlib.suppress(FileNotFoundError):
            self.subject.daemon.remove("extra")
        self.write()
        self.control("reload")
        quiet = until(lambda: not self.subject.unrest(), patience=60)
        self.assertTrue(quiet, self.subject.unrest())
        until(lambda: self.children() == STANDING, patience=30)

    def children(self):
        return len(self.control("processes")["processes"])

    def test_everything_at_once(self):
        """Afterwards: accepted = served + refused + left; started = ended, by kind of end; the same descriptors,
        processes and memory; and no client was lost except by the killers of its handler."""
        self.subject = Subject(self)
        self.write()
        self.subject.names = {**self.subject.names, **FLOODED, "threads": THREADS}
        self.subject.start()
        # What is allocated once is there before the count: a service's pipe for stderr, say, with its first handler.
        self.go_on_for(max(SECONDS / 5, 2))
        while not self.all_have_started():
            self.go_on_for(1)
        self.come_to_rest()
        self.subject.note_rest()
        before = (self.children(), process.resident(self.subject.daemon.pid))
        self.go_on_for(SECONDS * 4 / 5)
        self.come_to_rest()
        after = (self.children(), process.resident(self.subject.daemon.pid))
        self.tell(before, after)
        self.assertEqual(self.wrong, [])
        self.assertLessEqual(self.ends["lost"], self.clients_killed)
        self.assertEqual((before[0], after[0]), (STANDING, STANDING), "processes")
        if not SANITIZED:
            self.assertLess(after[1] - before[1], MEMORY, "KiB more than before")
        for wanted in ("served", "refused", "bursts", "reloads", "kills", "never_reads"):
            self.assertGreater(self.ends[wanted], 0, wanted)

    def all_have_started(self):
        """Has each service had a handler, but the one that comes and goes?"""
        return all(service["started"] for service in self.control("status")["services"] if service["name"] != "extra")

    def tell(self, before, after):
        services = self.control("status")["services"]
        sums = collections.Counter()
        for service in services:
            for name in ("accepted", "started", "spawn_failures"):
                sums[name] += service[name]
            sums.update({f"exits {kind}": number for kind, number in service["exits"].items()})
            sums.update({f"refused {reason}": number for reason, number in service["refused"].items() if number})
        figure(f"soak of {SECONDS:.0f} s: {dict(self.ends)}")
        figure(f"superd's books: {dict(sums)}")
        figure(f"{before[0]} processes then {after[0]}, memory {before[1]} KiB then {after[1] - before[1]:+} KiB, "
               f"descriptors {sum(self.subject.rest.values())}, the same")


if __name__ == "__main__":
    unittest.main()
