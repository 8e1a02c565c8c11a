# SPDX-License-Identifier: MIT
"""Services in a sandbox, whose handler tries what a client asks for."""

import functools
import os
import subprocess
import textwrap

from harness import exchange
from upgrading import UpgradeCase

PYTHON = "/usr/bin/python3"
# Runs the program that its client sends, and answers with what that has printed, and with how it failed.
TRY = [PYTHON, "-S", "-c", textwrap.dedent("""
    import sys, traceback
    text = sys.stdin.read()
    sys.stderr = sys.stdout
    try:
        exec(text, {"__name__": "tried"})
    except OSError as error:
        print(type(error).__name__, error.errno)
    """)]


def mount_namespaces():
    """May this user make them, by a user namespace where it is not root?"""
    return subprocess.run(["unshare", "--map-current-user", "--user", "--mount", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode == 0


class SandboxCase(UpgradeCase):  # has no tests itself
    """`self.sandboxed(...)` gives a daemon with one service, "box"."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 and not mount_namespaces():
            self.skipTest("needs root, or a kernel that lets users make namespaces")

    def box(self, daemon, sandbox, exec_=None, **keys):
        keys.setdefault("model", "fork")
        daemon.service("box", listen="tcp://127.0.0.1:0", exec=exec_ or TRY, sandbox=sandbox, **keys)

    def sandboxed(self, sandbox, **keys):
        daemon = self.prepare()
        self.box(daemon, sandbox, **keys)
        return daemon.start()

    def attempt(self, daemon, program):
        """What a handler prints that runs this program."""
        return exchange(daemon.address("box"), textwrap.dedent(program).encode()).decode().strip()

    def status(self, daemon):
        return daemon.ask("status", service="box")

    def pids(self, daemon, kind):
        return [one["pid"] for one in self.status(daemon)["processes"] if one["kind"] == kind]

    def holder(self, daemon, but=0):
        """The pid of superd-hold, once there is one, and another than `but`."""
        return self.eventually(lambda: next((pid for pid in self.pids(daemon, "holder") if pid != but), None),
                               "a holder")


def needs_root(test):
    @functools.wraps(test)
    def run(case):
        if not case.root:
            case.skipTest("needs a superd that is root")
        test(case)
    return run
