# SPDX-License-Identifier: MIT
"""Copies of the programs under test in a place where every user may run them, made once for each test process."""

import atexit
import os
import shutil
from types import SimpleNamespace

from .place import new_folder


class Installation:
    """DIR/sbin/superd and DIR/libexec/superd/*: the shape in which superd finds its handlers."""

    def __init__(self):
        binary = os.environ.get("SUPERD_BINARY")
        libexec = os.environ.get("SUPERD_LIBEXEC")
        if not binary or not libexec:
            raise RuntimeError("SUPERD_BINARY and SUPERD_LIBEXEC must name the programs under test (ctest sets them)")
        self.directory = new_folder("superd-programs-")
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.superd = os.path.join(self.directory, "sbin", "superd")
        self.libexec = os.path.join(self.directory, "libexec", "superd")
        os.makedirs(os.path.dirname(self.superd))
        os.makedirs(self.libexec)
        self.copy(binary, self.superd)
        for name in os.listdir(libexec):
            source = os.path.join(libexec, name)
            if os.path.isfile(source):
                self.copy(source, os.path.join(self.libexec, name))
        self.probe = os.path.join(self.directory, "probe")
        if os.environ.get("SUPERD_PROBE"):
            self.copy(os.environ["SUPERD_PROBE"], self.probe)
        for directory, _, _ in os.walk(self.directory):
            os.chmod(directory, 0o755)

    def of_its_own(self, daemon):
        """Gives a daemon programs that can be replaced without others seeing it."""
        programs = daemon.path("programs")
        shutil.copytree(self.directory, programs, copy_function=os.link)
        daemon.installation = SimpleNamespace(superd=os.path.join(programs, "sbin", "superd"))
        return daemon

    @staticmethod
    def copy(source, target):
        shutil.copyfile(source, target)
        starts = os.path.basename(target) in ("superd-exec", "superd-launch", "superd-warm")
        os.chmod(target, 0o711 if starts else 0o755)  # as it is installed


_installation = None


def installation():
    """The one of this process."""
    global _installation
    if _installation is None:
        _installation = Installation()
    return _installation


def handler(name):
    """The path of a shipped handler, or of the probe."""
    if name == "probe":
        return installation().probe
    return os.path.join(installation().libexec, name)


def python():
    """A Python that every user may run: the distribution's, not one in a home folder."""
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else shutil.which("python3")
