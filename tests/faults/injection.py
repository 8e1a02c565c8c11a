# SPDX-License-Identifier: MIT
"""superd under strace(1): its calls, and calls that fail. Only superd's own thread is traced, never its children,
which strace follows only when asked."""

import collections
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from harness.daemon import PATIENCE
from harness.process import status

DELAY = "delay_enter=50000"  # microseconds
LINE = re.compile(r"^(?:\d+\s+)?(?:<\.\.\. )?(\w+)(?:\(| resumed)")
MAIN_BEGINS = re.compile(r'open(?:at)?\((?:AT_FDCWD[^,]*, )?"/dev/null", O_RDWR')


class Case:
    """One system call that goes wrong once: `fault` is an errno's name or "delay", `when` counts calls from 1, only
    those on `path` if there is one."""

    def __init__(self, call, fault, when=1, skip=0, path=None):
        self.call, self.fault, self.when, self.skip, self.path = call, fault, when, skip, path

    def __str__(self):
        return f"{self.call} {self.fault} " + (f"of {self.path}, " if self.path else "") + f"at call {self.when}"

    def words(self):
        what = DELAY if self.fault == "delay" else f"error={self.fault}"
        inject = ["-e", f"inject={self.call}:{what}:when={self.skip + self.when}"]
        return [*inject, "-P", self.path] if self.path else inject


class Strace:
    """What strace writes about a superd."""

    def __init__(self, calls="all", cases=()):
        self.directory = tempfile.mkdtemp(prefix="superd-strace-", dir="/tmp")
        self.path = os.path.join(self.directory, "calls")
        self.words = ["strace", "-yy", "-qq", "-o", self.path, "-e", f"trace={calls}", "-e", "signal=none"]
        for case in cases:
            self.words += case.words()
        self.process = None

    def prefix(self):
        """Words before superd's own: it is traced from its start and keeps its place as our child."""
        return [*self.words, "-DDD"]

    def attach(self, pid, *more):
        words = [word for word in self.words if word != "-qq"] + list(more)
        self.process = subprocess.Popen([*words, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True, start_new_session=True)
        said = self.process.stderr.readline()
        if "attached" not in said:
            self.detach()
            raise RuntimeError(f"strace cannot attach: {said}")
        return self

    def detach(self):
        """From here on superd runs without strace."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()

    def lines(self):
        try:
            with open(self.path, encoding="utf-8", errors="replace") as lines:
                return lines.read().splitlines()
        except FileNotFoundError:
            return []

    def hits(self):
        """The calls that went wrong."""
        return [line for line in self.lines() if "(INJECTED)" in line or "(DELAYED)" in line]

    def counts(self):
        """Call to how often."""
        names = [match.group(1) for line in self.lines() if (match := LINE.match(line))]
        return collections.Counter(names)

    def before_main(self):
        """For each call, how often it comes before superd's own first call; earlier ones belong to the loader and the
        sanitizers."""
        seen = collections.Counter()
        for line in self.lines():
            if MAIN_BEGINS.search(line):
                return seen
            if match := LINE.match(line):
                seen[match.group(1)] += 1
        raise AssertionError("superd never came to its main")

    def after_main(self):
        """Lines from superd's own first call on."""
        lines = self.lines()
        return lines[next((number for number, line in enumerate(lines) if MAIN_BEGINS.search(line)), len(lines)):]

    def discard(self):
        self.detach()
        shutil.rmtree(self.directory, ignore_errors=True)


def available():
    """Why there can be no tracing here; "" if there can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    if os.geteuid() != 0:
        return "needs root: strace must attach to a superd that has changed ids in its children"
    with subprocess.Popen(["sleep", "60"]) as victim:
        try:
            Strace().attach(victim.pid).discard()
        except RuntimeError as error:
            return str(error)
        finally:
            victim.kill()
    return ""


class Clients:
    """Several clients at once over all services, each in turn; by service their outcomes, and how many `came`."""

    def __init__(self, uris, each, exchange, parallel=8):
        self.ends = collections.defaultdict(collections.Counter)
        self.came = collections.Counter()
        self._work = [(name, uri, number) for number in range(each) for name, uri in uris.items()]
        self._work.reverse()
        self._lock = threading.Lock()
        self._exchange = exchange
        self._threads = [threading.Thread(target=self._run) for _ in range(parallel)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while True:
            with self._lock:
                if not self._work:
                    return
                name, uri, number = self._work.pop()
            end = self._exchange(uri, f"hello {number}".encode(), lambda: self._count(name))  # pylint: disable=W0640
            with self._lock:
                self.ends[name][end] += 1

    def _count(self, name):
        with self._lock:
            self.came[name] += 1

    def join(self, hopeless=lambda: False):
        """Their outcomes; `hopeless` is called now and then, and may make them end."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.1)
                hopeless()
        return self.ends


def let_go(pid):
    """Ends the strace of a process, if it has one, and waits until it is gone."""
    def tracer():
        return int(status(pid).get("TracerPid", 0))
    if strace := tracer():
        try:
            os.kill(strace, signal.SIGTERM)
        except ProcessLookupError:
            pass
        until(lambda: not tracer(), pause=0.01)


def until(question, patience=PATIENCE, pause=0.1):
    """Asks until the answer is true; the last answer."""
    deadline = time.monotonic() + patience
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(pause)
    return answer
