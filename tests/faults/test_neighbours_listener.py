# SPDX-License-Identifier: MIT
"""Workers that spoil the listening socket that they were given: it is restored once they have ended, or at a reload,
and lets in no client that its lists keep out. Point 3 of hostile neighbours."""

import os
import time
import unittest

import neighbours_sockets
from faults import Use, figure
from harness import connect, handler, process
from harness.probe import Report
from harness.wire import Reader
from neighbours_case import AGAIN, Disturbed, NeighbourCase, attack, needs_root, python

WORKER = "neighbours_worker.py"
ALLOWED, DENIED = "127.0.0.1", "127.0.0.2"
STREAM = ("detach", "deny", "lock", "lock-open", "shutdown", "unconnect", "backlog", "options", "storm")
DATAGRAM = ("detach", "deny", "lock", "lock-open", "shutdown", "unconnect", "connect", "options", "storm")
LOCAL = {"unix": ("shutdown", "backlog", "deny", "lock", "options"),
         "unix-dgram": ("shutdown", "connect", "deny", "lock", "options")}


def attacker(daemon, name, *good):
    """The first process of a service is the attacker, all others run the program."""
    theirs = daemon.path("theirs")
    script = f'mkdir {theirs}/{name}.taken 2>/dev/null && exec {python()} {daemon.path(WORKER)} {theirs} {name}; ' \
             'exec "$@"'
    return ["/bin/sh", "-c", script, "sh", *good]


@needs_root
class SpoiltListeners(NeighbourCase):
    def start(self, keys, actions, scheme="tcp", more=()):
        """A service for each action."""
        self.scheme = scheme

        def services(daemon):
            found = {}
            for action in actions:
                listen = f"{scheme}://{daemon.path(action)}" if scheme.startswith("unix") else f"{scheme}://127.0.0.1:0"
                access = {} if scheme.startswith("unix") else {"access": {"allow": [ALLOWED + "/32"]}}
                found[action] = dict(listen=listen, handoff="listen", stop_timeout="1s",
                                     exec=attacker(daemon, action, handler("superd-echo"), *more), **access, **keys)
            return found
        return self.neighbours(services, files=[WORKER])

    def ready(self, daemon, action):
        """The attacker has the socket."""
        theirs = daemon.path(f"theirs/{action}")
        if not os.path.exists(theirs + ".ready"):
            self.echoed(daemon.address(action), patience=0.05)  # the first client brings it, if none is there
        return os.path.exists(theirs + ".ready")

    def act(self, daemon, action):
        """Makes the attacker of a service act; "done", or "not permitted" if the kernel has refused it."""
        theirs = daemon.path(f"theirs/{action}")
        self.eventually(lambda: self.ready(daemon, action), f"{action}: the attacker is there")
        with open(theirs + ".ready", encoding="ascii") as ready:
            pid = int(ready.read())
        daemon.write(f"theirs/{action}.do", action)
        self.eventually(lambda: os.path.exists(theirs + ".done") or not process.alive(pid), f"{action}: done")
        if not os.path.exists(theirs + ".done"):
            return "done"  # and ended for it already
        with open(theirs + ".done", encoding="utf-8") as done:
            said = done.read()
        self.assertIn(said, ("done", "not permitted"), action)
        return said

    def denied(self, uri):
        """Does a client that the lists keep out get no answer, several times over?"""
        for _ in range(3):
            try:
                with connect(uri, timeout=0.2, source=(DENIED, 0)) as sock:
                    sock.send(b"hello\n")
                    if sock.recv(100):
                        return False
            except OSError:
                pass
        return True

    def after(self, daemon, action, before, since):
        """What is wrong after an attack that ended at `since`."""
        uri = daemon.address(action)
        deadline = since + AGAIN + self.grace
        wrong = []
        while not (served := self.echoed(uri, patience=0.2)) and time.monotonic() < deadline + 5:
            pass
        self.longest = max(self.longest, took := time.monotonic() - since)
        if not served or time.monotonic() > deadline:
            wrong.append(f"served again only after {took:.1f} s" if served else "not served again")
        while (now := neighbours_sockets.states(daemon.pid, uri)) != [before] and time.monotonic() < deadline:
            time.sleep(0.02)
        if now != [before]:
            wrong.append(f"{len(now)} sockets: {[neighbours_sockets.changes(before, one) for one in now]}")
        if self.scheme in ("tcp", "udp") and not self.denied(uri):
            wrong.append("a denied client is served")
        return wrong

    def strike(self, daemon, actions, end):
        """Each attack in turn; `end` ends it."""
        wrong, self.longest, since = {}, 0.0, daemon.mark()
        self.mendings = {}
        uses = {action: daemon.address(action) for action in actions}
        with self.nobody_waits(daemon):
            for action, uri in uses.items():
                self.eventually(lambda action=action: self.ready(daemon, action), f"{action}: the attacker is there")
                before = neighbours_sockets.states(daemon.pid, uri)
                self.assertEqual(len(before), 1)
                said = self.act(daemon, action)
                end(daemon, action)
                if found := self.after(daemon, action, before[0], time.monotonic()):
                    wrong[action] = found
                elif said == "done" and action != "backlog" and not self.told(daemon, action, since):
                    wrong[action] = ["nothing in the log"]
                elif said == "done" and action != "backlog" and self.mended(daemon, action) < 1:
                    wrong[action] = ["not counted"]
        figure(f"{self.name()}: {len(actions)} attacks; the attacked services served {self.longest * 1000:.0f} ms "
               f"after the attacker's end at most; mended: {self.mendings}")
        if wrong and all("served again only" in part for parts in wrong.values() for part in parts):
            raise Disturbed(str(wrong), self.longest)
        self.assertFalse(wrong, "\n".join(f"{action}: {'; '.join(parts)}" for action, parts in wrong.items()))
        self.balances(daemon)
        self.stops(daemon)

    longest = 0.0
    grace = 0.3  # for the shell in front of the program, on a busy machine

    @staticmethod
    def told(daemon, action, since):
        """Has superd reported that it put something right? It may do so for a backlog: programs call listen(2) by
        habit."""
        return daemon.find(lambda r: r.get("service") == action and r.get("level") in ("notice", "warning", "error") and
                           r.get("pid") is None, since)

    def mended(self, daemon, action):
        """How often superd's status says that it was put right."""
        count = self.control(daemon).services()[action]["sockets_mended"]
        self.mendings[action] = count
        return count

    @staticmethod
    def exits(daemon, action):
        daemon.write(f"theirs/{action}.end", "")

    @attack
    def test_a_pool(self):
        """One worker of a pool spoils a stream's listener, and ends: its successor has it as it was."""
        self.strike(self.start(dict(model="prefork", prefork={"min_spare": 1, "max_spare": 1}), STREAM), STREAM,
                    self.exits)

    @attack
    def test_a_datagram_pool(self):
        """The same on a datagram socket."""
        self.strike(self.start(dict(model="prefork", prefork={"min_spare": 1, "max_spare": 1}), DATAGRAM, "udp"),
                    DATAGRAM, self.exits)

    @attack
    def test_owners(self):
        """A handler that had the socket for itself until it exits, as inetd's wait: a stream."""
        self.strike(self.start(dict(model="iterative"), STREAM, more=["--idle", "1"]), STREAM, self.exits)

    @attack
    def test_datagram_owners(self):
        """And datagrams, as most of inetd's wait."""
        self.strike(self.start(dict(model="iterative"), DATAGRAM, "udp", more=["--idle", "1"]), DATAGRAM, self.exits)

    @attack
    def test_delayed(self):
        """Workers of a delayed service."""
        self.strike(self.start(dict(model="delayed", delayed={"delay": "50ms"}), STREAM), STREAM, self.exits)

    @attack
    def test_unix_sockets(self):
        """Sockets at paths, for streams and for datagrams."""
        for scheme, actions in LOCAL.items():
            self.strike(self.start(dict(model="prefork", prefork={"min_spare": 1, "max_spare": 1}), actions, scheme),
                        actions, self.exits)
            self.start_afresh()

    @attack
    def test_a_reload(self):
        """The attacker stays, next to a worker that serves; a reload puts the socket right."""
        def reload(daemon, _action):
            daemon.reload()
        for scheme, actions in (("tcp", STREAM), ("udp", DATAGRAM)):
            actions = [action for action in actions if action != "storm"]
            daemon = self.start(dict(model="prefork", limits={"instances": 2},
                                     prefork={"min_spare": 2, "max_spare": 2}), actions, scheme)
            self.strike(daemon, actions, reload)
            self.start_afresh()

    @attack
    def test_silent_ones_are_found(self):
        """A listener that is deaf although its attacker lives on is found by superd itself."""
        daemon = self.start(dict(model="prefork", limits={"instances": 2}, prefork={"min_spare": 2, "max_spare": 2}),
                            ("shutdown", "unconnect"))
        self.strike(daemon, ("shutdown", "unconnect"), lambda *_: None)

    @attack
    def test_blocking(self):
        """The next process that gets the socket finds it blocking, whatever the one before did."""
        keys = dict(model="prefork", handoff="listen", listen="tcp://127.0.0.1:0",
                    prefork={"min_spare": 1, "max_spare": 1})
        daemon = self.neighbours(lambda daemon: {
            "nonblock": dict(exec=attacker(daemon, "nonblock", handler("probe"), "--accept", "0"), **keys)},
            files=[WORKER])
        uri = daemon.address("nonblock")
        with self.nobody_waits(daemon):
            self.act(daemon, "nonblock")
            with open(daemon.path("theirs/nonblock.ready"), encoding="ascii") as ready:
                pid = int(ready.read())
            self.exits(daemon, "nonblock")
            # One that is started beside it has the socket as it is.
            self.eventually(lambda: not os.path.exists(f"/proc/{pid}"), "superd knows that it has ended")
            since = time.monotonic()
            with connect(uri) as sock:
                lines = []
                while (line := Reader(sock).rest()) and not lines:
                    lines.append(line)
            self.serves_again(lambda: bool(lines), since=since, grace=self.grace)
        self.assertIn("blocking", Report(lines[0]).descriptors[0])

    @attack
    def test_an_orphan_that_goes_on(self):
        """A process that a worker left behind continues to spoil the socket: others do not notice, superd does not
        spin, and once the process is gone a reload is enough."""
        daemon = self.start(dict(model="prefork", prefork={"min_spare": 1, "max_spare": 1}), ("orphan",))
        uri = daemon.address("orphan")
        with self.nobody_waits(daemon):
            before = neighbours_sockets.states(daemon.pid, uri)
            self.act(daemon, "orphan")
            self.exits(daemon, "orphan")
            with Use(daemon) as use:
                time.sleep(2)
            figure(f"{self.name()}: superd used {use.share * 100:.0f} % of a processor meanwhile")
            self.end_workers()
            since = time.monotonic()
            daemon.reload()
            self.assertEqual(self.after(daemon, "orphan", before[0], since), [])
        self.assertLess(use.share, 0.9)
        self.stops(daemon)

    @staticmethod
    def end_workers():
        for one in process.processes():
            if any(word.endswith(WORKER) for word in process.words(one.pid)):
                os.kill(one.pid, 9)


if __name__ == "__main__":
    unittest.main()
