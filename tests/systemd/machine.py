# SPDX-License-Identifier: MIT
"""A machine with systemd as its process 1 and only a loopback network. Its root is in memory, in a mount name space
that disappears with it, whatever happens to the test."""

import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import process, root

# nspawn sees no /run of a system that did not boot by systemd, and leaves nothing in one that did.
BOOT = """
set -e
archive=$1; shift
for folder; do echo 0 >"$folder/cgroup.procs"; done
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/root
tar --extract --file "$archive" --directory /run/root
exec systemd-nspawn --directory /run/root --machine superd --boot --register no --keep-unit --private-network \\
    --console pipe
"""
PATIENCE = 60
CLONE_NEWNET = 0x40000000


def cgroups():
    """A control group for one machine, so that two at the same time do not confuse each other's processes: its folders
    in the trees where systemd keeps its units."""
    made = []
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for tree in {"name=systemd": ["systemd"], "": ["unified", "."]}.get(controllers, []):
            here = pathlib.Path("/sys/fs/cgroup", tree, path.lstrip("/"))
            if (here / "cgroup.procs").exists():
                made.append(here / f"superd-test-{os.getpid()}")
                made[-1].mkdir()
                break
    return made


def remove(cgroup):
    """Once the last of its processes, which have been killed, has gone."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return os.rmdir(cgroup)
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


class Machine:
    """Skips the test if it is not possible. This process enters its network, for good."""

    def __init__(self):
        if root.PACKAGE is None:
            raise unittest.SkipTest(root.NO_PACKAGE)
        if not shutil.which("systemd-nspawn"):
            raise unittest.SkipTest("needs systemd-nspawn, from the package systemd-container")
        archive = root.archive()
        self.leader = None
        self.console = tempfile.TemporaryFile()
        self.cgroups = cgroups()
        # Anything that ends this process ends the whole machine.
        self.outside = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount-proc", "--pid", "--fork", "--kill-child",
             "sh", "-c", BOOT, "boot", archive, *self.cgroups],
            stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console, env=root.ENVIRONMENT)
        try:
            self.leader = self.wait_for_boot()
            self.root = pathlib.Path(f"/proc/{self.leader}/root")
            with open(f"/proc/{self.leader}/ns/net", "rb") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            shutil.copy(root.PACKAGE, self.root / "root/superd.deb")
            self.run("dpkg", "--install", "/root/superd.deb")
        except BaseException:
            self.discard()
            raise

    def wait_for_boot(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.outside.poll() is None:
            for nspawn in process.children(self.outside.pid):
                for child in process.children(nspawn.pid):
                    if process.executable(child.pid) == "systemd" and self.is_up(child.pid):
                        return child.pid
            time.sleep(0.05)
        self.console.seek(0)
        said = self.console.read().decode("utf-8", "replace").strip().splitlines()[-3:]
        raise unittest.SkipTest(f"systemd-nspawn cannot boot a machine here: {' / '.join(said) or 'no word'}")

    @staticmethod
    def is_up(leader):
        done = subprocess.run(["nsenter", "--target", str(leader), "--all", "systemctl", "is-system-running"],
                              env=root.ENVIRONMENT, text=True, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        return done.stdout.strip() in ("running", "degraded")

    def attempt(self, *command):
        """Runs a command inside: (exit status, all its output)."""
        done = subprocess.run(["nsenter", "--target", str(self.leader), "--all", *command], env=root.ENVIRONMENT,
                              text=True, errors="replace", check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
        return done.returncode, done.stdout

    def run(self, *command):
        status, said = self.attempt(*command)
        if status != 0:
            raise AssertionError(f"{' '.join(command)}: exit status {status}: {said[-2000:]}")
        return said

    def systemctl(self, *words):
        return self.run("systemctl", *words)

    def show(self, name, unit="superd.service"):
        """A property as the manager has it."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).rstrip("\n")

    def journal(self, *matches, since=None):
        """Records of the journal as dictionaries, oldest first. `since` comes from cursor()."""
        after = [f"--after-cursor={since}"] if since else []
        self.run("journalctl", "--sync")
        said = self.run("journalctl", "--quiet", "--output", "json", "--all", *after, *matches)
        return [json.loads(line) for line in said.splitlines()]

    def cursor(self):
        (last,) = self.run("journalctl", "--quiet", "--output", "json", "--lines", "1").splitlines()
        return json.loads(last)["__CURSOR"]

    def write(self, path, text):
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def discard(self):
        """Powers off; kills what does not go by itself within a while."""
        if self.leader is not None:
            self.attempt("systemctl", "--no-block", "poweroff")
        try:
            self.outside.wait(20 if self.leader is not None else 0)
        except subprocess.TimeoutExpired:
            self.outside.kill()
            self.outside.wait()
        self.console.close()
        for folder in self.cgroups:
            for path, _, _ in os.walk(folder, topdown=False):
                remove(path)
