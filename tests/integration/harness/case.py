# SPDX-License-Identifier: MIT
"""What every test class here has: daemons that are always ended and checked, and waiting with a deadline."""

import os
import pwd
import time
import unittest

from . import process
from .daemon import PATIENCE, Superd
from .wire import Reader, connect

process.become_subreaper()


class TestCase(unittest.TestCase):
    maxDiff = None

    def eventually(self, question, what, timeout=PATIENCE):
        """Asks until the answer is true and returns it; fails at the deadline. The longer it takes to answer, the longer
        the pause."""
        deadline = time.monotonic() + timeout
        while True:
            begun = time.monotonic()
            answer = question()
            if answer:
                return answer
            now = time.monotonic()
            if now >= deadline:
                self.fail(f"{what}: not in {timeout:.0f} s")
            time.sleep(min(max(0.01, 2 * (now - begun)), 1.0))

    def at_rest(self, *pids):
        """How often each of these processes has woken up, once none has for two seconds: superd sets timers of one second
        when it starts a handler, and lets them ring."""
        last, since = None, 0.0

        def rest():
            nonlocal last, since
            now = [process.wake_ups(pid) for pid in pids]
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > 2
        self.eventually(rest, "a rest of two seconds")
        return last


class SuperdCase(TestCase):
    """`as_user`: superd itself runs as that user; the tests of the class are skipped unless root may switch."""

    as_user = None

    def setUp(self):
        self.daemons = []
        if self.as_user is not None and os.geteuid() != 0:
            self.skipTest("needs root to run superd as another user; the plain class shows the same")

    @property
    def root(self):
        """Is superd root in this class?"""
        return os.geteuid() == 0 and self.as_user is None

    @property
    def handler_uid(self):
        """The user that handlers run as by default."""
        if self.root:
            return pwd.getpwnam("nobody").pw_uid
        return pwd.getpwnam(self.as_user).pw_uid if self.as_user else os.geteuid()

    def prepare(self, **options):
        """A daemon that is not started yet."""
        options.setdefault("user", self.as_user)
        daemon = Superd(**options)
        self.daemons.append(daemon)
        self.addCleanup(daemon.discard)
        self.addCleanup(daemon.stop)
        return daemon

    def superd(self, services, **options):
        """A daemon that is ready, with one service for each item: name to keys or to TOML text."""
        daemon = self.prepare(**options)
        for name, keys in services.items():
            if isinstance(keys, str):
                daemon.service(name, keys)
            else:
                daemon.service(name, **keys)
        return daemon.start()

    def client(self, uri, **options):
        """A connected socket that is closed at the end of the test."""
        sock = connect(uri, **options)
        self.addCleanup(sock.close)
        return sock

    def converse(self, uri, line=b"hello"):
        """Connects, sends a line and reads one."""
        with connect(uri) as sock:
            sock.sendall(line + b"\n")
            return Reader(sock).line()
