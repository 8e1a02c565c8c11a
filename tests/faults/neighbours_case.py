# SPDX-License-Identifier: MIT
"""What the attacks of tests/faults/neighbours share: another service whose clients are watched, a control server on
the same machine, attackers with another user, and what must hold after them."""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import time
import unittest

import everything
from faults import SANITIZED, FaultCase, figure
from harness import connect, exchange
from harness.daemon import PATIENCE
from harness.installation import python
from harness.wire import uri_parts

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("SUPERD_FAULTS_ROUNDS", "1"))
LINGER = int(os.environ.get("SUPERD_FAULTS_LINGER", "4"))  # seconds that a successful attack takes

# Seconds that a client of another service may wait longer than one of the control; sanitizers slow superd down.
MOST = 0.3 if SANITIZED else 0.1
AGAIN = 1.0  # seconds from an attacker's end until the attacked service serves
TCP = "tcp://127.0.0.1:0"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}

# A kernel that does not know SO_PASSRIGHTS, for superd and everything that it starts.
OLDER_KERNEL = (python(), os.path.join(HERE, "neighbours_older_kernel.py"))

needs_root = unittest.skipUnless(os.geteuid() == 0, "needs root: attackers are of another user than superd")


class Disturbed(AssertionError):
    """A time that the machine may have caused as well as superd."""


def attack(test):
    """A test that runs ROUNDS times, each time from the start. A round that took too long is repeated, at most twice:
    an attack has its effect each time, a slow machine does not."""
    @functools.wraps(test)
    def rounds(self):
        for _ in range(ROUNDS):
            for left in (2, 1, 0):
                try:
                    test(self)
                    break
                except Disturbed as slow:
                    if left == 0 or slow.args[1] >= LINGER / 3:
                        raise
                    figure(f"{slow.args[0]}: once more")
                    self.start_afresh()
            self.start_afresh()
    return rounds


class Witnesses:
    """A running witness of each address."""

    def __init__(self, *addresses):
        words = [str(word) for address in addresses for word in address]
        self.process = subprocess.Popen([python(), "-IS", os.path.join(HERE, "neighbours_witness.py"), *words],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def end(self):
        out, _ = self.process.communicate(timeout=100)
        return json.loads(out)


class Bare:
    """The control: a server that accepts, forks and execs, and knows no superd."""

    def __init__(self, handler):
        self.process = subprocess.Popen([os.environ["SUPERD_FAULTS_BARE_LOOP"], "127.0.0.1", "0", handler],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def end(self):
        NeighbourCase.end(self.process)


class NeighbourCase(FaultCase):  # has no tests itself
    prefix = ()       # words before superd's own

    def start_afresh(self):
        self.doCleanups()
        self.daemons.clear()

    def name(self):
        return ".".join(self.id().split(".")[-2:])

    def neighbours(self, services, files=(), wait=True, config=None, **options):
        """A daemon with `services`, a function of it or a dictionary, and another one whose clients are watched."""
        daemon = self.prepare(config=config, **options)
        daemon.prefix += self.prefix(daemon) if callable(self.prefix) else self.prefix
        for file in files:
            shutil.copyfile(os.path.join(HERE, file), daemon.path(file))
            os.chmod(daemon.path(file), 0o644)
        with open(os.environ["SUPERD_FAULTS_ANSWER"], "rb") as program:
            self.answer = daemon.script("answer", program.read())
        daemon.shared("theirs")
        for name, keys in (services(daemon) if callable(services) else services).items():
            daemon.service(name, **keys)
        daemon.service("other", listen=self.other_address(), model="fork", exec=[self.answer],
                       limits={"instances": 1000})
        return daemon.start(wait)

    @staticmethod
    def other_address():
        return TCP

    @contextlib.contextmanager
    def nobody_waits(self, daemon, what="", uri=None):
        """Clients of "other" and of the control come all the time while the block runs."""
        bare = Bare(self.answer)
        self.addCleanup(bare.end)
        _, host, port = uri_parts(uri or daemon.address("other"))
        witnesses = Witnesses((host, port), ("127.0.0.1", bare.port))
        try:
            yield
            time.sleep(0.2)  # still on its way
        finally:
            ours, control = witnesses.end()
            bare.end()
            what = f"{self.name()}{', ' + what if what else ''}"
            figure(f"{what}: clients of another service waited {ours['most'] * 1000:.0f} ms at most, {ours['asked']} "
                   f"of them; those of a control {control['most'] * 1000:.0f} ms")
        if ours["most"] > MOST + control["most"]:
            if ours["most"] >= LINGER / 3 and daemon.process is not None:
                daemon.process.kill()  # ending may keep it busy for long
            raise Disturbed(f"{what}: a client of another service waited {ours['most'] * 1000:.0f} ms, of a control "
                            f"{control['most'] * 1000:.0f} ms", ours["most"])
        self.assertEqual(ours["failed"], [])

    def serves_again(self, ask, what="", since=None, grace=0.0, quiet=False):
        """`ask` returns True within a second of the attacker's end, `since`; returns how long that took. `grace`: time
        for the handler's own start."""
        begin = time.monotonic() if since is None else since
        self.eventually(ask, f"{what or 'the attacked service'} serves again")
        took = time.monotonic() - begin
        if not quiet:
            figure(f"{self.name()}{', ' + what if what else ''}: the attacked service served {took * 1000:.0f} ms "
                   "after the attacker's end")
        if took > AGAIN + grace:
            raise Disturbed(f"{self.name()} {what}: served only {took:.2f} s after the attacker's end", took)
        return took

    @staticmethod
    def answered(uri, data=b"", patience=AGAIN):
        """Is a client of the static handler served?"""
        try:
            return exchange(uri, data, timeout=patience) == b"answer\n"
        except OSError:
            return False

    @staticmethod
    def echoed(uri, data=b"hello", patience=AGAIN):
        """Is a client of an echo service served?"""
        try:
            with connect(uri, timeout=patience) as sock:
                sock.send(data + b"\n")
                return sock.recv(100) == data + b"\n"
        except OSError:
            return False

    def attacker(self, daemon, program, *words, user=NOBODY, **options):
        """A running program of this folder, of another user; it has been copied into the daemon's."""
        options.setdefault("stdin", subprocess.PIPE)
        process = subprocess.Popen([python(), "-S", daemon.path(program), *map(str, words)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", **user, **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.returncode is None:
            process.kill()
            process.wait()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            stream.close()

    def said(self, process, until="done"):
        """The lines of a running attacker up to that one."""
        lines = []
        while (line := process.stdout.readline().strip()) != until:
            self.assertTrue(line, "the attacker failed: " + (process.stderr.read() if not line else ""))
            lines.append(line)
        return lines

    def control(self, daemon):
        return everything.Control(daemon.control)

    def balances(self, daemon, accepted=None, names=None):
        """Each client and each handler has been counted once, and none of them is left. `accepted`: by service."""
        def unrest():
            services = self.control(daemon).services()
            wrong = {}
            for name, service in services.items():
                owner = service["handoff"] == "listen"
                if names is not None and name not in names:
                    continue
                text = everything.imbalance("owner" if owner else name, service)
                if not owner and accepted and name in accepted and service["accepted"] != accepted[name]:
                    text += f"; accepted {service['accepted']} of {accepted[name]}"
                if text:
                    wrong[name] = text
            return wrong
        deadline = time.monotonic() + PATIENCE
        while (wrong := unrest()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(wrong, {}, "counts")

    def stops(self, daemon, within=5.0):
        """superd ends in time."""
        begin = time.monotonic()
        daemon.process.terminate()
        status = daemon.wait(4 * LINGER + PATIENCE)
        took = time.monotonic() - begin
        self.assertEqual(status, 0)
        if took > within:
            raise Disturbed(f"{self.name()}: superd took {took:.2f} s to stop", took)
