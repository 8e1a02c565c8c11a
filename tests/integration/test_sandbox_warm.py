# SPDX-License-Identifier: MIT
"""Warm and parked handlers in a sandbox: ready before their client, and as confined as those that are not."""

import os
import signal
import unittest

from harness import Reader, connect
from sandboxing import mount_namespaces
from warming import PYTHON, WarmCase

STATUS = """import os, sys
sys.stdin.readline()
facts = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
try:
    open("/etc/superd-test-x", "w")
except OSError as error:
    refused = error.errno
print(facts["NoNewPrivs"], facts["Seccomp"], facts["CapPrm"], os.getpid() > 1, len(os.listdir("/proc/self/fd")), refused)
"""
CONFINED = "1 2 0000000000000000 True 4 30"


@unittest.skipUnless(os.geteuid() == 0 or mount_namespaces(), "needs root, or a kernel that lets users make namespaces")
class Warm(WarmCase):
    def strict(self, value, **keys):
        return self.start(lambda d: [PYTHON, d.write("status.py", STATUS)], value, sandbox={"preset": "strict"}, **keys)

    def tell(self, daemon):
        with connect(daemon.address("warm")) as client:
            client.sendall(b"tell\n")
            return Reader(client).line().decode()

    def test_copies(self):
        """clone: a template in its sandbox is copied, and copies are confined; none of superd's descriptors is theirs."""
        daemon = self.strict("clone")
        template = self.template(daemon)
        self.parked(daemon)
        for _ in range(12):
            self.assertEqual(self.tell(daemon), CONFINED)
        self.assertGreater(self.warmth(daemon)["copies"], 5)
        self.assertEqual(self.template(daemon), template)

    def test_started(self):
        """start: each has made its own start in the sandbox."""
        daemon = self.strict("start")
        self.parked(daemon)
        self.assertEqual(self.warmth(daemon)["in_force"], "start")
        for _ in range(3):
            self.assertEqual(self.tell(daemon), CONFINED)

    def test_parked(self):
        """off: what waits before its exec is confined already, and so is the handler."""
        daemon = self.strict("off")
        for pid in self.parked(daemon):
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                text = status.read()
            self.assertIn("Seccomp:\t2\n", text)
            self.assertIn("NoNewPrivs:\t1\n", text)
        for _ in range(4):
            self.assertEqual(self.tell(daemon), CONFINED)

    def test_a_holder_that_is_killed(self):
        """clone: template and copies die with process 1; clients are served, and a new template parks."""
        daemon = self.strict("clone")
        first = self.template(daemon)
        self.parked(daemon)
        since = daemon.mark()
        os.kill(self.kinds(daemon, "holder")[0], signal.SIGKILL)
        daemon.wait_for(lambda r: r["message"].startswith("superd-hold, process "), since=since)
        self.assertEqual(self.tell(daemon), CONFINED)
        self.assertNotEqual(self.template(daemon, but=first), first)

    def test_upgrade(self):
        """clone: an upgrade keeps the template and the sandbox that it lives in."""
        daemon = self.strict("clone")
        template = self.template(daemon)
        self.parked(daemon)
        self.upgrade(daemon)
        self.assertEqual(self.template(daemon), template)
        self.assertEqual(self.tell(daemon), CONFINED)


class WarmAsUser(Warm):
    as_user = "nobody"
