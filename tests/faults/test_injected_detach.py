# SPDX-License-Identifier: MIT
"""Each system call by which superd --daemon detaches fails once."""

import collections
import os
import re
import signal
import subprocess
import time

from harness import process
from harness.daemon import PATIENCE, leftovers
from injected_case import ALL, InjectedCase
from injection import Case, let_go
from syscalls import TABLE

NUMBERED = re.compile(r"^(\d+) +(.*)")
CALL = re.compile(r"^(\w+)\(")


class Detached:
    """A superd that is started with --daemon under strace, which follows it into the background."""

    def __init__(self, test, case=None):
        self.daemon = test.prepare(environment={"ASAN_OPTIONS": "detect_leaks=0"})  # it cannot look while strace does
        self.daemon.service("cat", listen=f"unix://{self.daemon.path('sock')}", model="fork", exec=["cat"])
        self.pid_file = self.daemon.path("pid")
        self.strace = test.strace(case.call if case else "all", [case] if case else [])
        words = ["--log-format", "json", "--daemon", "--pid-file", self.pid_file]
        with open(self.daemon.path("log"), "wb") as log:
            self.starter = subprocess.Popen([*self.strace.prefix(), "-f", "-I2", *self.daemon.command(*words)],
                                            env=self.daemon.environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, start_new_session=True)

    def wait(self):
        """The starter's exit status; by then strace has let superd go."""
        try:
            status = self.starter.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.starter.kill()
            status = f"none: {self.starter.wait()}"
        self.starter.stdin.close()
        self.starter.stdout.close()
        if pid := self.pid():
            let_go(pid)
        return status

    def pid(self):
        """superd's pid, from its file; 0 if there is none."""
        try:
            with open(self.pid_file, encoding="ascii") as file:
                pid = int(file.read() or 0)
        except FileNotFoundError:
            return 0
        return pid if process.alive(pid) else 0

    def log(self):
        with open(self.daemon.path("log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def stop(self):
        """What is wrong with the end of a superd that runs."""
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)  # ours since its starter ended
        wrong = [] if status == 0 else [f"superd ended with {status}"]
        if os.path.exists(self.pid_file):
            wrong.append("the pid file is left")
        return "; ".join(wrong)


class Detaching(InjectedCase):
    @staticmethod
    def detaching(strace):
        """The calls of both processes from the pipe for the outcome on: the child's until it has left the terminal,
        and the one that informs the starter. Each with its number among its process's calls."""
        numbers, found, pipe, starter, left = collections.Counter(), [], None, None, False
        for line in strace.lines():
            pid, text = NUMBERED.match(line).groups()
            if not (match := CALL.match(text)):
                continue
            call = match.group(1)
            numbers[pid, call] += 1
            if call == "pipe2" and pipe is None:
                pipe, starter = re.search(r"pipe:\[\d+\]", text).group(), pid
            left = left or "/proc/self/exe" in text and pid != starter
            if pipe is not None and (pid == starter or not left or call == "write" and pipe in text):
                found.append((call, numbers[pid, call]))
        return found

    def test_while_it_detaches(self):
        """A call fails while superd detaches: it runs, its file has its process id and its starter ends with 0; or the
        starter ends with 1, the log says why, and nothing is left running."""
        began = time.monotonic()
        plain = Detached(self)
        self.assertEqual(plain.wait(), 0, plain.log())
        self.assertEqual(self.served(plain), "")
        self.assertEqual(plain.stop(), "")
        found = self.detaching(plain.strace)
        self.known({call for call, _ in found}, "while it detaches")
        for call, number in self.some(found):
            if not self.fits(call):
                continue
            # The starter's loader has opened other files before; superd itself /dev/null once.
            number, path = (1, "/dev/null") if call == "openat" else (number, None)
            for errno in TABLE[call].errnos if ALL else TABLE[call].errnos[:1]:
                self.detach_with(Case(call, errno, number, path=path))
        self.conclude("while it detaches", began)

    def served(self, detached):
        """What a superd that runs lacks."""
        pid = detached.pid()
        if not pid:
            return "it does not run"
        kept = [number for number in (0, 1) if process.descriptors(pid)[number] != "/dev/null"]
        if kept or process.Process(pid).session != pid or os.readlink(f"/proc/{pid}/cwd") != "/":
            return f"not detached: descriptors {kept}, session {process.Process(pid).session} of {pid}"
        answer = self.converse(f"unix://{detached.daemon.path('sock')}")
        return "" if answer == b"hello" else f"answer {answer!r}"

    def detach_with(self, case):
        detached = Detached(self, case)
        status = detached.wait()
        text = ""
        if status == 0:
            text = self.served(detached)
        elif status != 1:
            text = f"exit status {status}"
        elif detached.pid():
            text = "status 1, and it runs"
        elif '"message":"cannot start: ' not in detached.log():
            text = "status 1, and no reason"
        elif os.path.exists(detached.pid_file):
            text = "status 1, and the pid file is left"
        if detached.pid():
            text = text or detached.stop()
        if left := leftovers():
            text = text or f"left: {[p.name for p in left]}"
        hits = detached.strace.hits()
        fair = hits and (case.fault == "EINTR" or TABLE[case.call].counts(hits[0].split(maxsplit=1)[1]))
        self.note("not reached" if not fair else "wrong" if text else "passed", [case], detached.strace,
                  text and f"{text}: {detached.log()}")
        detached.strace.discard()
