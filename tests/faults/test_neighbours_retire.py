# SPDX-License-Identifier: MIT
"""Workers that report nothing and have to go: none is ended with a client, and none can hold superd up meanwhile.
Point 13 of hostile neighbours."""

import os
import signal
import time
import unittest

from faults import figure
from harness import Reader, handler, process
from neighbours_case import TCP, Disturbed, NeighbourCase, attack, python

SILENT = "neighbours_silent.py"
KINDS = ("one", "threads", "child", "epoll", "poll", "compute", "sleep")
HOSTILE = ("vfork", "descriptors", "many-threads", "stopped", "traced")
GONE = 12.0  # seconds in which one that has become idle is ended: 10 from one stop to the next, and some


class SilentWorkers(NeighbourCase):
    def pool(self, daemon, changed, kinds):
        for kind in kinds:
            daemon.service(kind, listen=TCP, model="prefork", handoff="listen", environment={"CHANGED": str(changed)},
                           exec=[python(), daemon.path(SILENT), kind], stop_timeout="1s",
                           prefork={"min_spare": 2, "max_spare": 2})

    def start(self):
        daemon = self.neighbours({}, files=[SILENT])
        self.pool(daemon, 0, KINDS)
        daemon.reload()
        return daemon

    def talk(self, daemon):
        """A client of each kind, and the process that it is at."""
        talks = {}
        for kind in KINDS:
            client = self.client(daemon.address(kind), timeout=60)
            reader = Reader(client)
            talks[kind] = client, reader, int(reader.line())
        return talks

    def workers(self, daemon, kind):
        return {one["pid"] for one in self.control(daemon).processes() if one["service"] == kind}

    def answers(self, talks):
        """What each client gets in the end."""
        said = {}
        for kind, (client, reader, _) in talks.items():
            try:
                client.sendall(b"go on\n")
                said[kind] = reader.line().decode() or "closed"
            except OSError as error:
                said[kind] = repr(error)
        return said

    @attack
    def test_a_client_in_hand(self):
        """A reload while a silent worker has a client, by one thread, several, a child or in a loop, waiting or not:
        each client has its answer, idle workers go at once, the others once their clients have left."""
        daemon = self.start()
        talks = self.talk(daemon)
        before = {kind: self.workers(daemon, kind) for kind in KINDS}
        with self.nobody_waits(daemon):
            self.pool(daemon, 1, KINDS)
            daemon.reload()
            time.sleep(3)
            said = self.answers(talks)
        figure(f"{self.name()}: {said}")
        self.assertEqual(said, dict.fromkeys(KINDS, "answer"))
        begin = time.monotonic()
        for client, _, _ in talks.values():
            client.close()
        self.eventually(lambda: not any(pid in before[kind] for kind in KINDS for pid in self.workers(daemon, kind)),
                        "the former workers are gone")
        took = time.monotonic() - begin
        figure(f"{self.name()}: the last former worker was gone {took:.1f} s after its client")
        if took > GONE:
            raise Disturbed(f"{self.name()}: a worker without clients stayed for {took:.1f} s", took)
        self.balances(daemon)
        self.stops(daemon, within=8)

    @attack
    def test_idle_ones_go(self):
        """Silent workers that wait for clients are replaced at once, and each client meanwhile is served."""
        daemon = self.start()
        kinds = ("one", "threads", "epoll", "poll")
        for kind in kinds:
            self.eventually(lambda kind=kind: len(self.workers(daemon, kind)) == 2, "two workers")
        for talk in self.talk(daemon).values():
            talk[0].close()  # each has had a client
        time.sleep(0.5)
        before = {pid for kind in kinds for pid in self.workers(daemon, kind)}
        with self.nobody_waits(daemon):
            self.pool(daemon, 1, KINDS)
            begin = time.monotonic()
            daemon.reload()
            self.eventually(lambda: not before & {pid for kind in kinds for pid in self.workers(daemon, kind)},
                            "the former ones are gone")
            took = time.monotonic() - begin
            said = self.answers({kind: talk for kind, talk in self.talk(daemon).items() if kind in kinds})
        figure(f"{self.name()}: the last idle one was gone after {took:.1f} s")
        self.assertEqual(said, dict.fromkeys(kinds, "answer"))
        if took > 5:
            raise Disturbed(f"{self.name()}: an idle worker stayed for {took:.1f} s", took)
        self.stops(daemon, within=8)

    @attack
    def test_ones_that_cannot_be_looked_at(self):
        """Workers that sleep where no signal reaches them, have 20,000 descriptors or 300 threads, are stopped, or
        held by a tracer, have to go: nobody waits for that, and their successors serve."""
        def services(daemon):
            found = {}
            for kind in HOSTILE:
                theirs = daemon.path(f"theirs/{kind}")
                attack_once = f"exec {python()} {daemon.path(SILENT)} {kind} {theirs}.ready"
                script = f"mkdir {theirs} 2>/dev/null && {attack_once}; exec {handler('superd-echo')}"
                found[kind] = dict(listen=TCP, model="prefork", handoff="listen", exec=["/bin/sh", "-c", script],
                                   stop_timeout="1s", rlimits={"nofile": 20000},
                                   prefork={"min_spare": 1, "max_spare": 1})
            return found
        daemon = self.neighbours(services, files=[SILENT])
        self.eventually(lambda: all(os.path.exists(daemon.path(f"theirs/{kind}.ready")) for kind in HOSTILE),
                        "the attackers are there")
        time.sleep(0.5)
        attackers = {kind: self.workers(daemon, kind) for kind in HOSTILE}
        self.addCleanup(self.end_all)
        longest = 0.0
        for number in range(3):
            with self.nobody_waits(daemon, f"reload {number + 1}"):
                for kind, keys in services(daemon).items():
                    daemon.service(kind, environment={"CHANGED": str(number)}, **keys)
                daemon.reload()
                for kind in HOSTILE:
                    longest = max(longest, self.serves_again(lambda kind=kind: self.echoed(daemon.address(kind)), kind,
                                                             grace=1.0, quiet=True))
                time.sleep(1)
        left = {kind: sum(map(process.alive, pids)) for kind, pids in attackers.items()}
        figure(f"{self.name()}: the attacked services served {longest * 1000:.0f} ms after a reload at most; attackers "
               f"left: {left}")
        for pids in attackers.values():
            for pid in filter(process.alive, pids):
                os.kill(pid, signal.SIGKILL)
        self.end_all()
        self.balances(daemon)
        self.stops(daemon, within=8)

    @staticmethod
    def end_all():
        """The children that the attackers have, too."""
        for one in process.processes():
            words = process.words(one.pid)
            if len(words) > 2 and words[1].endswith(SILENT) and words[2] in HOSTILE:
                try:
                    os.kill(one.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


if __name__ == "__main__":
    unittest.main()
