# SPDX-License-Identifier: MIT
"""What the fault tests share: their handler, their load, and superd's own use of the machine."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import time

from harness import SuperdCase
from harness.daemon import PATIENCE
from harness.wire import uri_parts

SANITIZED = bool(os.environ.get("SUPERD_SANITIZE"))
TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def figure(text):
    """A number that this run found."""
    print(f"\nfigure: {text}", flush=True)


def cpu_seconds(pid):
    """What a process, not its children, has used of the processors."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK


class Load:
    """A running load program; `options` are described at the top of load.cc."""

    def __init__(self, uri, prefix=(), **options):
        _, address, port = uri_parts(uri)
        words = [f"{name}={value}" for name, value in dict(address=address, port=port, **options).items()]
        self.process = subprocess.Popen([*prefix, os.environ["SUPERD_FAULTS_LOAD"], *words],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def finish(self, timeout=4 * PATIENCE):
        """Its figures, once it is through."""
        try:
            text, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if self.process.returncode != 0:
            raise AssertionError(f"the load ended with status {self.process.returncode}: {text}")
        return json.loads(text)

    def end(self):
        """Tells it to begin no more; its figures."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


class FaultCase(SuperdCase):
    """A SuperdCase with the handler and the load of this folder."""

    def install(self, daemon, name="handler"):
        """The handler under a name in the daemon's folder; its path."""
        with open(os.environ["SUPERD_FAULTS_HANDLER"], "rb") as program:
            return daemon.script(name, program.read())

    def serving(self, *handler, prefix=(), **keys):
        """A daemon with one service "fault" that runs the handler; and its address."""
        daemon = self.prepare(prefix=prefix)
        program = self.install(daemon)
        keys.setdefault("listen", "tcp://127.0.0.1:0")
        keys.setdefault("model", "fork")
        words = [word.replace("DIR", daemon.directory) for word in handler]
        daemon.service("fault", exec=[program, *words], **keys)
        daemon.start()
        return daemon, daemon.address("fault")

    def again(self, daemon, *handler, **keys):
        """The same service with other keys, by a reload."""
        keys.setdefault("listen", "tcp://127.0.0.1:0")
        keys.setdefault("model", "fork")
        words = [word.replace("DIR", daemon.directory) for word in handler]
        daemon.service("fault", exec=[daemon.path("handler"), *words], **keys)
        daemon.reload()

    def load(self, uri, **options):
        load = Load(uri, **options)
        self.addCleanup(load.kill)
        return load

    def count(self, daemon, field):
        """One number of the service's status."""
        return int(daemon.status()["fault"][field])

    @contextlib.contextmanager
    def flood(self, uri, **options):
        """Clients that continue for as long as the block does; afterwards `.figures` has their outcomes."""
        load = self.load(uri, **options)
        yield load
        load.figures = load.end()

    def all_served(self, figures, how_many=None):
        if how_many is not None:
            self.assertEqual(figures["begun"], how_many)
        self.assertEqual(figures["ends"], {"served": figures["begun"]})


class Counter:
    """The file in which handlers count themselves: how many run, the most at once, all."""

    def __init__(self, daemon, name="counter"):
        self.path = daemon.write(name, bytes(24), 0o666)

    def read(self):
        with open(self.path, "rb") as file:
            return struct.unpack("QQQ", file.read(24))


class Use:
    """superd's own processor time over a block."""

    def __init__(self, daemon):
        self.pid = daemon.pid

    def __enter__(self):
        self.began, self.before = time.monotonic(), cpu_seconds(self.pid)
        return self

    def __exit__(self, *_):
        self.wall = time.monotonic() - self.began
        self.cpu = cpu_seconds(self.pid) - self.before
        self.share = self.cpu / self.wall
