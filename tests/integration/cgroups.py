# SPDX-License-Identifier: MIT
"""A superd with a control group of its own, as a service manager gives it one."""

import itertools
import os
import pathlib
import re
import time
import unittest

from harness import process
from upgrading import UpgradeCase

NUMBERS = itertools.count()


def own_group():
    """This process's own folder in the unified hierarchy; None: there is none."""
    (path,) = re.findall(r"^0::(/.*)$", pathlib.Path("/proc/self/cgroup").read_text(), re.MULTILINE) or [None]
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if path and fields[3] == "/" and " - cgroup2 " in line:
            return pathlib.Path(fields[4] + path)
    return None


def remove(folder):
    """With all below, once the last process has gone."""
    for path, _, _ in os.walk(folder, topdown=False):
        deadline = time.monotonic() + 10
        while True:
            try:
                os.rmdir(path)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)


class CgroupCase(UpgradeCase):  # has no tests itself
    def new_group(self, delegated=True):
        """Below this process's own; removed at the end."""
        own = own_group()
        if own is None or os.geteuid() != 0:
            raise unittest.SkipTest("needs root and cgroup v2")
        group = own / f"superd-test-{os.getpid()}-{next(NUMBERS)}"
        try:
            group.mkdir()
        except OSError as error:
            raise unittest.SkipTest(f"needs a cgroup v2 that may be written to: {error}") from error
        self.addCleanup(remove, group)
        if delegated:
            os.setxattr(group, "trusted.delegate", b"1")
        return group

    def prepare(self, *, group=None, **options):
        """A daemon that is to start in that group, or in a new one."""
        group = group or self.new_group()
        prefix = ["sh", "-c", f'echo 0 >{group}/cgroup.procs && exec "$@"', "sh", *options.pop("prefix", ())]
        daemon = super().prepare(prefix=prefix, **options)
        daemon.group = group
        return daemon

    def of_service(self, daemon, name="it"):
        return daemon.group / f"s-{name}"

    def members(self, folder):
        """Processes in a group and below."""
        found = []
        for path, _, _ in os.walk(folder):
            try:
                found += map(int, pathlib.Path(path, "cgroup.procs").read_text().split())
            except OSError:
                pass  # it has just been removed
        return found

    def gone(self, pid):
        return not process.alive(pid)
