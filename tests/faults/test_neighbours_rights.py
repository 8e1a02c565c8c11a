# SPDX-License-Identifier: MIT
"""Descriptors whose last close sleeps, passed to superd over every unix socket that a stranger, a handler or a worker
may write to: a process that drops them stands still for as long as the attacker wants. Point 1 of hostile
neighbours."""

import collections
import os
import signal
import time
import unittest

from faults import figure
from harness import Reader, connect, process
from neighbours_case import LINGER, NOBODY, OLDER_KERNEL, NeighbourCase, attack, needs_root, python

POISON = "neighbours_poison.py"
COUNT = 3  # of each attack: each shape once


@needs_root
class PassedDescriptors(NeighbourCase):
    def start(self, services, **options):
        return self.neighbours(services, files=[POISON], **options)

    def strike(self, daemon, uri, *words, what="", count=COUNT, how="leave"):
        """An attacker comes `count` times; who waits for that? Returns the running attacker."""
        scheme, address = uri.split("://")
        with self.nobody_waits(daemon, what):
            attacker = self.attacker(daemon, POISON, "connect", LINGER, scheme, address, count, how, *words)
            outcomes = self.said(attacker)
        self.tell(what, outcomes)
        return attacker

    def tell(self, what, outcomes):
        figure(f"{self.name()}{', ' + what if what else ''}: passed descriptors: "
               f"{dict(collections.Counter(outcomes))}")

    @staticmethod
    def unix(daemon, name, scheme="unix"):
        return f"{scheme}://{daemon.path(name)}"

    @attack
    def test_refused_clients(self):
        """Refused clients, in each way and on both kinds of stream, pass some before their request."""
        ways = {"close": "unix", "reset": "unix", "reject": "unix", "packets": "unix-seqpacket"}
        daemon = self.start(lambda daemon: {
            name: dict(listen=self.unix(daemon, name, scheme), model="fork", exec=[self.answer],
                       limits={"per_source": 5, "per_source_rate": "1/h", "per_source_burst": 1,
                               "on_excess": name if name != "packets" else "close",
                               **({"reject_text": "no\n"} if name == "reject" else {})})
            for name, scheme in ways.items()})
        for name in ways:
            for how in ("leave", "stay"):
                self.end(self.strike(daemon, daemon.address(name), what=f"{name}, {how}", how=how))
                if name != "packets":
                    self.serves_again(lambda name=name: self.answered_or_refused(daemon, name), name)
        # Root, a different source, has been served once; all but one of nobody's were refused.
        services = self.control(daemon).services()
        for name in ways:
            self.assertEqual(services[name]["refused"]["per_source_rate"],
                             services[name]["accepted"] - (1 if name == "packets" else 2), name)
        self.balances(daemon, {name: services[name]["accepted"] for name in ways})
        self.stops(daemon)

    @staticmethod
    def answered_or_refused(daemon, name):
        with connect(daemon.address(name)) as sock:
            try:
                return Reader(sock).rest() in (b"answer\n", b"no\n", b"")
            except ConnectionResetError:
                return True

    @attack
    def test_held_clients(self):
        """Clients that are held for their source's turn leave, or time out."""
        daemon = self.start(lambda daemon: {
            "held": dict(listen=self.unix(daemon, "held"), model="fork", exec=["sleep", "1"],
                         limits={"per_source": 1, "wait_timeout": "300ms"})})
        for how in ("leave", "stay"):
            attacker = self.strike(daemon, daemon.address("held"), what=how, how=how)
            with self.nobody_waits(daemon, f"{how}, afterwards"):
                self.eventually(lambda: self.control(daemon).services()["held"]["held"] == 0, "nobody is held")
                self.end(attacker)
        self.balances(daemon, {"held": 2 * COUNT})
        self.stops(daemon)

    @attack
    def test_served_clients(self):
        """Clients of every model whose handlers leave without having read it, or cannot be started."""
        models = {"fork": {}, "iterative": {}, "delayed": {}, "prefork": dict(prefork={"min_spare": 1})}

        def services(daemon):
            slow = [self.install(daemon), "wait", "100"]
            broken = daemon.script("broken", "neither a script nor a program\n")
            found = {name: dict(listen=self.unix(daemon, name), model=name, exec=slow, **keys)
                     for name, keys in models.items()}
            found["packets"] = dict(listen=self.unix(daemon, "packets", "unix-seqpacket"), model="fork", exec=slow)
            found["broken"] = dict(listen=self.unix(daemon, "broken.sock"), model="fork", exec=[broken],
                                   limits={"on_excess": "close"})
            return found
        daemon = self.start(services)
        made = {}
        for name in (*models, "packets", "broken"):
            for how in ("leave", "stay"):
                self.end(self.strike(daemon, daemon.address(name), what=f"{name}, {how}", how=how))
            made[name] = 2 * COUNT
            if name in models:
                self.serves_again(lambda name=name: self.answered(daemon.address(name)), name)
                made[name] += 1
        self.balances(daemon, made)
        self.stops(daemon)

    @attack
    def test_backlog(self):
        """Clients that nobody has accepted when their service is removed, and when superd stops."""
        daemon = self.start(lambda daemon: {
            name: dict(listen=self.unix(daemon, name), model="fork", exec=["sleep", "1000"], stop_timeout="1s",
                       limits={"instances": 1}) for name in ("removed", "last")})
        first = [self.client(daemon.address(name)) for name in ("removed", "last")]
        self.eventually(lambda: all(self.control(daemon).services()[name]["handlers"] == 1
                                    for name in ("removed", "last")), "no place is left")
        for name in ("removed", "last"):
            self.strike(daemon, daemon.address(name), what=name, how="stay")
        daemon.remove("removed")
        with self.nobody_waits(daemon, "the service is removed"):
            daemon.reload()
        first.clear()
        self.stops(daemon, within=8)

    @attack
    def test_a_stopped_parked_process(self):
        """A client is handed to a parked process that its user has stopped, leaves, and the process is killed."""
        daemon = self.start(lambda daemon: {
            "parked": dict(listen=self.unix(daemon, "parked"), model="prefork", exec=[self.answer],
                           prefork={"min_spare": 1, "max_spare": 1})})
        parked = self.parked(daemon)
        os.kill(parked, signal.SIGSTOP)
        attacker = self.strike(daemon, daemon.address("parked"), count=COUNT)
        with self.nobody_waits(daemon, "killed"):
            os.kill(parked, signal.SIGKILL)
            time.sleep(0.5)
        self.end(attacker)
        self.serves_again(lambda: self.answered(daemon.address("parked")))
        self.balances(daemon, {"parked": COUNT + 1})
        self.stops(daemon)

    def parked(self, daemon):
        def found():
            return [child.pid for child in daemon.children() if process.executable(child.pid) == "superd-exec"]
        return self.eventually(found, "a parked process")[0]

    @attack
    def test_datagrams(self):
        """Datagrams that superd receives, and those that it finds on a socket that handlers had before."""
        daemon = self.start(lambda daemon: {
            "fork": dict(listen=self.unix(daemon, "fork", "unix-dgram"), model="fork", exec=["cat"])})
        attacker = self.strike(daemon, daemon.address("fork"))
        self.end(attacker)
        self.serves_again(lambda: self.echoed(daemon.address("fork")))
        self.stops(daemon)

    @attack
    def test_a_large_file(self):
        """A file in memory that nobody else has: the process that drops it frees it, and that takes time."""
        if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 4 << 30:
            self.skipTest("needs memory for a file of 1.5 GiB")
        daemon = self.start(lambda daemon: {
            "fork": dict(listen=self.unix(daemon, "fork", "unix-dgram"), model="fork", exec=["true"])})
        with self.nobody_waits(daemon):
            outcomes = self.said(self.attacker(daemon, POISON, "large", LINGER, daemon.path("fork")))
            time.sleep(0.5)
        self.tell("", outcomes)
        self.stops(daemon)

    @attack
    def test_datagrams_for_handlers(self):
        """Datagrams for a handler that owns the socket and does not read, which is superd's after a reload."""
        daemon = self.start(lambda daemon: {
            "owned": dict(listen=self.unix(daemon, "owned", "unix-dgram"), model="iterative", exec=["sleep", "1000"],
                          stop_timeout="1s")})
        attacker = self.strike(daemon, daemon.address("owned"), what="owned")
        daemon.service("owned", listen=self.unix(daemon, "owned", "unix-dgram"), model="fork", exec=["cat"])
        with self.nobody_waits(daemon, "a reload"):
            daemon.reload()
            for child in daemon.children():
                if "sleep" in process.words(child.pid):
                    os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.5)
        self.end(attacker)
        self.serves_again(lambda: self.echoed(daemon.address("owned")))
        self.stops(daemon)

    @attack
    def test_control_socket(self):
        """Users who may look and users who may not, before requests, after them, and without any."""
        for group in ("nogroup", "daemon"):
            daemon = self.start({}, config=f'[control]\nreaders = ["{group}"]\n')
            who = "a reader" if group == "nogroup" else "a stranger"
            for how in ("leave", "stay"):
                self.end(self.strike(daemon, f"unix://{daemon.control}", what=f"{who}, {how}", how=how))
            asked = self.attacker(daemon, POISON, "connect", LINGER, "unix", daemon.control, 1, "stay",
                                  '{"version":1,"verb":"metrics"}\n')
            with self.nobody_waits(daemon, f"{who}, behind requests"):
                asked.stdout.readline()
                self.end(asked)
            self.serves_again(lambda daemon=daemon: self.control(daemon).ask("status")["ok"], "the control socket")
            self.stops(daemon)

    @attack
    def test_a_datagrams_handler(self):
        """The handler of a datagram, over the socket by which it answers."""
        daemon = self.start(lambda daemon: {
            "it": dict(listen=self.unix(daemon, "it", "unix-dgram"), model="fork", stderr="inherit",
                       exec=[python(), daemon.path(POISON), "answer", str(LINGER)])})
        client = self.client(daemon.address("it"), timeout=4 * LINGER)
        with self.nobody_waits(daemon):
            client.send(b"x")
            answers = []
            if self.prefix:  # superd reads no more of its answers
                self.eventually(lambda: daemon.status()["it"]["reply_failures"] == 1, "they are counted as failed")
            while not self.prefix and (not answers or answers[-1] in (b"poisoned", b"ahead", b"")):
                answers.append(client.recv(100))
            time.sleep(0.5)
        if answers:
            self.tell("", answers[-1].decode().split())
        self.stops(daemon)

    @attack
    def test_a_workers_reports(self):
        """A worker, over the descriptor on which it reports."""
        daemon = self.start(lambda daemon: {
            "it": dict(listen=self.unix(daemon, "it"), model="prefork", handoff="listen", stop_timeout="1s",
                       exec=[python(), daemon.path(POISON), "report", str(LINGER)],
                       prefork={"min_spare": 1, "max_spare": 1})})
        with self.nobody_waits(daemon):
            line = Reader(self.client(daemon.address("it"))).line().decode()
            with connect(daemon.address("it")) as again:
                self.assertEqual(Reader(again).line().decode().split()[0], line.split()[0])
        self.tell("", line.split())
        self.stops(daemon)

    @attack
    def test_the_pair_of_a_parked_process(self):
        """A holder of the other end of a parked process's pair: another process of its user, if it can get that, or
        root."""
        daemon = self.start(lambda daemon: {
            "parked": dict(listen=self.unix(daemon, "parked"), model="prefork", exec=[self.answer],
                           prefork={"min_spare": 1, "max_spare": 1})})
        for who, user in (("nobody", NOBODY), ("root", {})):
            with self.nobody_waits(daemon, who):
                attacker = self.attacker(daemon, POISON, "pair", LINGER, self.parked(daemon), user=user)
                outcomes = self.said(attacker)
            self.tell(who, outcomes)
            self.assertEqual("not taken" in outcomes, who == "nobody")
            self.end(attacker)
            self.serves_again(lambda: self.answered(daemon.address("parked")), who)
        self.balances(daemon)
        self.stops(daemon)


@needs_root
class PassedDescriptorsOnAnOlderKernel(PassedDescriptors):
    """The same if the kernel cannot forbid passing descriptors."""

    prefix = OLDER_KERNEL


if __name__ == "__main__":
    unittest.main()
