# SPDX-License-Identifier: MIT
"""Each system call of an upgrade fails once: of superd up to its exec, of the program that proves, and of the one that
takes over."""

import os
import re
import signal
import time

from harness import Reader, installation
from harness.daemon import RUNNING, leftovers
from injected_case import ALL, InjectedCase
from injection import let_go, until
from subject import Subject
from syscalls import TABLE

SESSIONS = ("fork", "unix", "iterative", "delayed", "parked", "held", "held")
ENDS = ("upgraded", "upgrade refused", "no upgrade")

# In superd's place: becomes superd, with strace on it from then on.
SUCCESSOR = """#!/usr/bin/python3 -IS
import os, signal, sys
if ("--prove" in sys.argv) == {proves}:
    said, says = os.pipe()
    superd = os.getpid()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.dup2(says, 2)
            os.closerange(3, 1 << 16)
            os.execvp("strace", {words} + ["-p", str(superd)])
        os._exit(0)
    os.waitpid(child, 0)
    os.close(says)
    os.read(said, 1)
os.execv({binary!r}, sys.argv)
"""


class Session:
    """A client in the middle of its business."""

    def __init__(self, test, subject, name):
        self.subject, self.name = subject, name
        self.sock = test.client(subject.uris[name])
        self.sock.sendall(b"hello\n")
        self.reader = Reader(self.sock)
        subject.came[name] += 1

    def goes_on(self):
        """superd's part in it is over, so this continues whatever has happened to superd."""
        try:
            said = self.reader.line()
            self.sock.sendall(b"and on\n")
            return (said, self.reader.line()) == (b"hello", b"and on")
        except OSError:
            return False

    def end(self):
        self.sock.close()
        self.subject.ends[self.name]["served"] += 1


class Upgrading(InjectedCase):
    def prepare(self, **options):
        return installation().of_its_own(super().prepare(**options))

    def subject(self):
        subject = Subject(self, leaks=False, exact=True).start()
        subject.settle()
        return subject

    @staticmethod
    def put_successor(subject, strace, proves):
        binary = subject.daemon.installation.superd
        if not os.path.exists(binary + ".kept"):
            os.rename(binary, binary + ".kept")
        words = [word for word in strace.words if word != "-qq"]
        subject.daemon.script(binary, SUCCESSOR.format(proves=proves, words=words, binary=binary + ".kept"))

    @staticmethod
    def put_back(subject):
        binary = subject.daemon.installation.superd
        if os.path.exists(binary + ".kept"):
            os.rename(binary + ".kept", binary)

    def upgrade(self, subject):
        """Starts an upgrade and waits for its end; "" if nothing reports one."""
        daemon, since, told = subject.daemon, subject.daemon.mark(), len(subject.manager.said)
        heard = []
        daemon.process.send_signal(signal.SIGUSR2)

        def over():
            if not subject.alive():
                return "ended"
            if records := daemon.find(lambda r: r["message"].startswith(ENDS), since):
                return records[0]["message"].split(" to ")[0].split(",")[0]
            said = subject.manager.said[told:]  # the log may have lost the line
            if any("READY" in pairs or "STATUS" in pairs for pairs in said):
                heard.append(time.monotonic())
            return "told" if heard and heard[-1] > heard[0] + 1 else ""  # the line may be on its way
        return until(over, pause=0.02)

    def try_with(self, subject, begin, end):
        """An upgrade with clients of every kind: returns what is wrong, and the outcome."""
        sessions = [Session(self, subject, name) for name in SESSIONS]
        until(lambda: subject.control.ask("status", service="held")["services"][0]["held"] == 1)
        before = subject.control.ask("status")["superd"]["upgrades"]
        begin()
        outcome = self.upgrade(subject)
        end()
        wrong = []
        if not outcome:
            wrong.append("it does not end")
        first = [session for number, session in enumerate(sessions) if session.name not in SESSIONS[:number]]
        wrong += [f"session of {session.name} lost" for session in first if not session.goes_on()]
        for session in first:
            session.end()
        if outcome == "ended":
            for session in sessions:
                session.sock.close()
            return wrong, outcome
        for session in sessions:
            if session not in first:
                wrong += [] if session.goes_on() else [f"who waited for {session.name} was lost"]
                session.end()
        try:
            after = subject.control.ask("status")["superd"]["upgrades"]
            if after["done"] + after["refused"] != before["done"] + before["refused"] + 1 or after["under_way"]:
                wrong.append(f"upgrades: {before}, then {after}")
        except OSError as error:
            wrong.append(f"superd cannot be told: {error!r}")
        if text := subject.verdict():
            wrong.append(text)
        return wrong, outcome

    def note_case(self, case, strace, subject, wrong, outcome, reached=True):
        hits = strace.hits()
        fair = hits and reached and TABLE[case.call].counts(hits[0])
        what = "wrong" if wrong and fair else outcome if fair else "not reached"
        self.note(what, [case], strace, "; ".join(wrong) + (f": {subject.daemon.transcript(3)}" if wrong else ""))
        strace.discard()

    def renewed(self, subject, wrong, outcome):
        """A subject for the next case."""
        self.put_back(subject)
        if not wrong and outcome != "ended":
            return subject
        if subject.alive():
            subject.daemon.process.kill()
        subject.daemon.wait()
        RUNNING.discard(subject.daemon.pid)
        if (left := leftovers()) and not wrong:
            self.wrong.append(f"left running: {[process.name for process in left]}")
        subject.daemon.process = None
        return self.subject()

    def test_before_the_exec(self):
        """superd itself cannot make one of the calls for an upgrade: the upgrade is refused or done, and everything
        continues."""
        began = time.monotonic()
        subject = self.subject()
        strace = self.strace()
        wrong, outcome = self.try_with(subject, lambda: strace.attach(subject.daemon.pid, "-b", "execve"),
                                       strace.detach)
        self.assertEqual((wrong, outcome), ([], "upgraded"))
        self.known(strace.counts(), "while it is upgraded")
        # This also hits what is written at the end, after the proof.
        for case in self.some(self.cases(strace.counts(), parts=(0.6, 0.8, 1.0)), of=4):
            strace = self.strace(case.call, [case])
            wrong, outcome = self.try_with(subject, lambda: strace.attach(subject.daemon.pid, "-b", "execve"),
                                           strace.detach)  # pylint: disable=cell-var-from-loop
            if outcome == "ended":
                wrong.append("superd ended")
            self.note_case(case, strace, subject, wrong, outcome)
            subject = self.renewed(subject, wrong, outcome)
        self.conclude("before the exec of an upgrade", began)

    def test_the_proof(self):
        """A call of the proving program fails: the upgrade is refused or done, and everything continues."""
        self.successors(proves=True, when=(1,), every=False)

    def test_after_the_exec(self):
        """A call of the program that takes over fails: it continues with everything that was there, or it says what
        failed and ends with 1, as after a crash; handlers continue with their clients."""
        self.successors(proves=False, when=(1, 10) if ALL else (1,), every=ALL)

    def successors(self, proves, when, every):
        began = time.monotonic()
        subject = self.subject()
        strace = self.strace()
        self.put_successor(subject, strace, proves)
        wrong, outcome = self.try_with(subject, lambda: None, lambda: let_go(subject.daemon.pid))
        self.assertEqual((wrong, outcome), ([], "upgraded"))
        skip, counts = strace.before_main(), strace.counts()
        self.known(counts - skip, "of the successor")
        self.put_back(subject)
        for case in self.some(self.cases(counts - skip, skip, when, every), of=4):
            strace = self.strace(f"openat,{case.call}", [case])
            self.put_successor(subject, strace, proves)
            pid = subject.daemon.pid
            wrong, outcome = self.try_with(subject, lambda: None, lambda: let_go(pid))  # pylint: disable=W0640
            if outcome == "ended":
                code = subject.daemon.wait()
                if proves or code != 1 or not re.search("cannot start: |^superd: ", subject.daemon.transcript(3), re.M):
                    wrong.append(f"superd ended with {code}")
            late = any(line in strace.hits() for line in strace.after_main())
            self.note_case(case, strace, subject, wrong, outcome, reached=late)
            subject = self.renewed(subject, wrong, outcome)
        self.conclude("while it proves" if proves else "after the exec of an upgrade", began)
