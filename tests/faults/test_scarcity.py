# SPDX-License-Identifier: MIT
"""The kernel has no more processes, descriptors or memory: everyone waits, and everyone is served."""

import contextlib
import json
import os
import resource
import time
import unittest

from faults import SANITIZED, FaultCase, Use, figure
from harness import exchange, process

UID = 64123  # belongs to nobody, so that no other process counts
AT_ONCE = 100
IN_ALL = 1000
WAIT = 2.0  # seconds for which everyone waits
VERBS = [{"verb": verb} for verb in ("status", "metrics", "list", "processes", "security", "plan", "reload")] + [
    {"verb": verb, "service": "fault"} for verb in ("status", "security", "pause", "drain", "resume")] + [
    {"verb": "explain", "service": "fault", "client": "127.0.0.1"}, {"verb": "kill", "target": "fault"}]


class ScarcityCase(FaultCase):  # has no tests itself
    def of_log(self, daemon, since=0):
        """(how often the log says that clients cannot be taken, how often that they can again)."""
        return tuple(len(daemon.find(lambda r, text=text: r["message"].startswith(text), since))
                     for text in ("cannot start as many handlers", "starting handlers as clients need them again"))

    def everybody_waits(self, daemon, uri, what, **sources):
        """Everything available is taken, and 100 clients wait: superd does next to nothing, and says so once."""
        load = self.load(uri, parallel=AT_ONCE, total=AT_ONCE, patience=20, **sources)
        self.addCleanup(self.let_go, daemon)
        daemon.wait_for(message="cannot start as many handlers")
        seen = []

        def settled():
            seen.append(len(daemon.children()))
            return len(seen) > 30 and len(set(seen[-30:])) == 1
        self.eventually(settled, "everything available is taken")
        running, since = seen[-1], daemon.mark()
        with Use(daemon) as use:
            deadline = time.monotonic() + WAIT
            while time.monotonic() < deadline:
                self.assertEqual(len(daemon.children()), running)
                time.sleep(0.1)
        said, again = self.of_log(daemon)
        figure(f"{what}: {running} handlers run, the rest of {AT_ONCE} wait: superd uses {100 * use.share:.1f} % "
               f"of a processor in {use.wall:.1f} s; the log says so {said} times")
        self.assertLess(use.share, 0.05)
        self.assertLess(running, AT_ONCE)
        self.assertEqual(self.of_log(daemon, since), (0, 0), "it was said before")
        self.assertEqual(said, again + 1)
        self.assertLessEqual(said, self.most_said(use.wall))
        self.let_go(daemon)
        self.all_served(load.finish(), AT_ONCE)

    @staticmethod
    def most_said(seconds):
        """Lines about an episode that lasts this long: its beginning, and at most one a second."""
        return 2 + seconds

    @staticmethod
    def let_go(daemon):
        if os.path.isdir(daemon.directory):
            daemon.write("go", "")

    def none_lost(self, daemon, uri, what, then=lambda: None, **sources):
        """1,000 clients, 100 at once: everyone is served in the end; `then` comes before superd is asked about it."""
        since = daemon.mark()
        with Use(daemon) as use:
            load = self.load(uri, parallel=AT_ONCE, total=IN_ALL, **sources).finish()
        self.all_served(load, IN_ALL)
        then()
        said, again = self.of_log(daemon, since)
        state = daemon.status()["fault"]
        figure(f"{what}: {IN_ALL} clients, {AT_ONCE} at once, none lost, in {use.wall:.1f} s, superd's own "
               f"{use.cpu:.2f} s; tries that failed {state['refused_no_processes']} (processes) "
               f"{state['refused_no_descriptors']} (descriptors); logged {said} and {again} times")
        self.eventually(lambda: self.count(daemon, "handlers") == 0, "all handlers have left")
        self.assertLessEqual(said, self.most_said(use.wall), "one episode is logged once")
        return state

    def limited(self, *words):
        """A prefix that runs superd as a separate user under limits."""
        if os.geteuid() != 0:
            self.skipTest("needs root: a process limit counts everything that the user runs")
        return ["prlimit", *words, "--", "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]


class Scarcity(ScarcityCase):
    def test_processes_all_taken(self):
        """30 processes, all taken by handlers that stay: superd waits, and uses nothing while it does."""
        daemon, uri = self.serving("until", "DIR/go", prefix=self.limited("--nproc=30:30"))
        self.everybody_waits(daemon, uri, "30 processes")
        self.assertGreater(self.count(daemon, "refused_no_processes"), 0)

    def test_processes(self):
        """30 processes, 100 clients at once, 1,000 in all: none is lost."""
        daemon, uri = self.serving("wait", "20", prefix=self.limited("--nproc=30:30"))
        state = self.none_lost(daemon, uri, "30 processes")
        self.assertGreater(int(state["refused_no_processes"]), 0)
        self.assertEqual(int(state["refused_exec_failed"]), 0)

    def test_descriptors_all_taken(self):
        """40 descriptors, all taken by clients that wait for their own source's turn: superd waits with them."""
        daemon, uri = self.serving("until", "DIR/go", prefix=["prlimit", "--nofile=40:40", "--"],
                                   limits={"per_source": 2, "wait_timeout": "5m"})
        self.everybody_waits(daemon, uri, "40 descriptors", source="127.0.9.1", sources=10)
        self.assertGreater(self.count(daemon, "refused_no_descriptors"), 0)

    def test_descriptors(self):
        """40 descriptors, 100 clients at once from ten sources, 1,000 in all: none is lost."""
        daemon, uri = self.serving("wait", "20", prefix=["prlimit", "--nofile=40:40", "--"],
                                   limits={"per_source": 2, "wait_timeout": "5m"})
        before = len(process.descriptors(daemon.pid))
        state = self.none_lost(daemon, uri, "40 descriptors", source="127.0.9.1", sources=10)
        self.assertGreater(int(state["refused_no_descriptors"]), 0)
        self.assertLessEqual(len(process.descriptors(daemon.pid)), before + 2)

    def test_descriptors_without_held(self):
        """40 descriptors and no limit for a source: the same."""
        daemon, uri = self.serving("wait", "20", prefix=["prlimit", "--nofile=40:40", "--"])
        self.none_lost(daemon, uri, "40 descriptors, nobody held")

    def test_a_pool_that_cannot_be_filled(self):
        """More spare processes are wanted than there are descriptors: those that fit serve, and so do others."""
        daemon, uri = self.serving("wait", "20", prefix=["prlimit", "--nofile=40:40", "--"], model="prefork",
                                   prefork={"min_spare": 60, "max_spare": 80})
        seen = []

        def settled():
            seen.append(self.count(daemon, "spare"))
            return len(seen) > 20 and seen[-1] > 0 and len(set(seen[-20:])) == 1
        self.eventually(settled, "the pool has taken everything available")
        self.assertEqual(self.load(uri, total=1, patience=10).finish()["ends"], {"served": 1}, "the first client")
        self.none_lost(daemon, uri, "40 descriptors, a pool that wants 60")


@unittest.skipIf(SANITIZED, "AddressSanitizer takes terabytes of address space: for a build without it")
class Memory(ScarcityCase):
    def test_memory(self):
        """No address space beyond the present: clients are held or wait, none is lost, requests to superd itself fail at
        most, and superd continues."""
        daemon, uri = self.serving("wait", "20", limits={"per_source": 2, "wait_timeout": "5m"},
                                   rlimits={"as": "unlimited"} if os.geteuid() == 0 else {})
        self.assertEqual(self.converse(uri), b"answer")
        size = int(process.status(daemon.pid)["VmSize"].split()[0]) * 1024
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (size, most))

        def asked():
            for number in range(500):
                verb = VERBS[number % len(VERBS)]
                with contextlib.suppress(OSError):  # no memory for this client
                    exchange(f"unix://{daemon.control}", json.dumps({"version": 1, **verb}).encode() + b"\n")
            resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most, most))
        self.none_lost(daemon, uri, f"memory of {size >> 20} MiB", asked, source="127.0.9.1", sources=10)


if __name__ == "__main__":
    unittest.main()
