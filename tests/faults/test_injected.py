# SPDX-License-Identifier: MIT
"""Every system call of superd fails once, under load: superd lives and serves on, nobody is lost and nothing leaks; or,
at its start, it says what failed and exits 1. tests/faults/injected runs all cases; here are the most telling."""

import collections
import os
import time
import unittest

from faults import SANITIZED, figure
from harness import SuperdCase
from injection import Case, Clients, Strace, available, until
from subject import Subject, exchange, unserved
from syscalls import TABLE

ALL = os.environ.get("SUPERD_FAULTS_INJECTED") == "all"
ONLY = os.environ.get("SUPERD_FAULTS_CALLS", "").split()  # of a sweep: these calls alone
WHEN = (1, 2, 10) if ALL else (1,)
ROUNDS = 3  # in which a call has to come
TRIES = 3 if ALL else 1  # where the call that was hit was of a kind that the kernel does not fail
UNFAIR = "no fault of the kernel's"
GROUPS = 4  # cases at one time where not all are run
ALONE = ("epoll_ctl", "read", "fcntl")  # may hit what does not count, so that the rest of a group would not either


class InjectedCase(SuperdCase):  # no tests of its own
    def setUp(self):
        super().setUp()
        if why := available():
            self.skipTest(why)
        self.tally, self.wrong = collections.Counter(), []

    def strace(self, *arguments):
        strace = Strace(*arguments)
        self.addCleanup(strace.discard)
        return strace

    def known(self, calls, phase):
        unknown = sorted(set(calls) - set(TABLE))
        self.assertEqual(unknown, [], f"{phase}: tests/faults/syscalls.py does not say how these calls may fail")

    @staticmethod
    def of_today(cases):
        """Half of them, the other half tomorrow, where each takes a superd of its own."""
        return cases if ALL else cases[time.localtime().tm_yday % 2::2]

    @staticmethod
    def cases(counts, skip=None):
        """Every case of the calls that a trace has, as far as they came often enough to be hit."""
        found = []
        for call in sorted(counts):
            faults = TABLE[call]
            if (ONLY and call not in ONLY) or (SANITIZED and not faults.sanitized):
                continue
            wanted = [*(faults.errnos if ALL else faults.errnos[:1]), *(["delay"] if ALL and faults.delay else [])]
            found += [Case(call, fault, when, (skip or {}).get(call, 0))
                      for fault in wanted for when in WHEN if when <= counts[call]]
        return found

    def note(self, what, cases, strace, text=""):
        self.tally[what] += 1
        if what == "wrong":
            case = ", ".join(map(str, cases))
            self.wrong.append(f"{case}: {text}\n    " + "\n    ".join(strace.hits()))
            print(f"WRONG {self.wrong[-1]}", flush=True)

    def conclude(self, phase, began):
        figure(f"{phase}: {dict(self.tally)} in {time.monotonic() - began:.0f} s")
        self.assertEqual(self.wrong, [], "\n".join(self.wrong))


class Running(InjectedCase):
    def trace(self, subject):
        strace = self.strace().attach(subject.daemon.pid)
        subject.round()
        subject.round()
        strace.detach()
        counts = strace.counts()
        self.known(counts, "while it serves")
        return counts

    def test_while_it_serves(self):
        """A call fails while clients of every service come, superd is reloaded and asked for its state: it goes on,
        loses no client but the one that the call was for, leaks nothing and counts right."""
        began = time.monotonic()
        subject = Subject(self, unaccepted=True).start()
        subject.settle()
        cases = self.cases(self.trace(subject))
        groups = [[case] for case in cases if ALL or case.call in ALONE]
        rest = [case for case in cases if not ALL and case.call not in ALONE]
        groups += [rest[i::GROUPS] for i in range(GROUPS) if rest[i::GROUPS]]
        for group in groups:
            for _ in range(TRIES):
                what = self.run_group(subject, group)
                if what != "passed" and (what == "wrong" or subject.verdict()):
                    self.replace(subject)
                    subject = Subject(self, unaccepted=True).start()
                    subject.settle()
                if what != UNFAIR:
                    break
        self.conclude("while it serves", began)

    def replace(self, subject):
        """What went wrong has been noted; a sanitizer's report is told here alone."""
        try:
            subject.daemon.stop()
        except AssertionError as error:
            if "anitizer" in str(error):
                self.wrong.append(str(error))

    def run_group(self, subject, group):
        strace = self.strace(",".join(sorted({case.call for case in group})), group)
        strace.attach(subject.daemon.pid)
        lost, text = {}, ""
        try:
            for _ in range(ROUNDS):
                for name, ends in unserved(subject.round()).items():
                    lost[name] = lost.get(name, 0) + sum(ends.values())
                if len(strace.hits()) >= len(group):
                    break
        except OSError as error:
            text = f"superd cannot be told: {error!r}"
        strace.detach()
        hits = strace.hits()
        owned = sum(bool(TABLE[case.call].own) for case in group)
        if not text and sum(lost.values()) > owned:
            text = f"clients lost: {lost}"
        text = text or subject.verdict()
        counted = all(TABLE[case.call].counts(line) for case in group for line in hits if f"{case.call}(" in line)
        if not hits:
            what = "passed, not reached" if not text else "wrong"
        elif text and not counted:
            what = UNFAIR
        else:
            what = "wrong" if text else "passed"
        self.note(what, group, strace, text)
        strace.discard()
        return what


class Starting(InjectedCase):
    def test_at_its_start(self):
        """A call fails while superd starts: it says what failed and exits 1, or goes on and serves everything."""
        began = time.monotonic()
        strace = self.strace()
        subject = Subject(self, prefix=strace.prefix(), leaks=False).start()
        skip, counts = strace.before_main(), strace.counts()
        self.known(counts - skip, "at its start")
        subject.daemon.stop()
        for case in self.of_today(self.cases(counts - skip, skip)):
            self.start_with(case)
        self.conclude("at its start", began)

    def start_with(self, case):
        strace = self.strace(f"openat,{case.call}", [case])
        subject = Subject(self, prefix=strace.prefix(), leaks=False)
        daemon = subject.daemon
        daemon.start(wait=False)
        text = ""
        try:
            until(subject.ready)
            if not subject.alive():
                raise AssertionError("superd ended")
            text = self.after_start(subject)
        except AssertionError as error:
            if daemon.process.poll() is None and not daemon.ended:
                text = str(error)
            else:
                status = daemon.wait()
                said = daemon.find(lambda r: r["level"] == "error" and r["message"].startswith("cannot start: "))
                if status != 1 or not said:
                    text = f"exit status {status}, {daemon.transcript(3)}"
                daemon.process = None
        finally:
            self.end(daemon)
        for record in daemon.find(lambda r: "Bad file descriptor" in r["message"]):
            text = text or f"not the reason: {record['message']}"
        hits = strace.hits()
        seen = strace.lines()
        main = next((number for number, line in enumerate(seen) if "/dev/null\", O_RDWR" in line), len(seen))
        late = any(line in hits for line in seen[main:])
        if not hits or not late or not TABLE[case.call].counts(hits[0]):
            what = "wrong" if text and late and TABLE[case.call].counts(hits[0]) else "not reached"
        else:
            what = "wrong" if text else "passed"
        self.note(what, [case], strace, text)
        strace.discard()

    def after_start(self, subject):
        waits = [r["address"] for r in subject.daemon.find(lambda r: r["message"].startswith("waiting for "))]
        try:
            subject.find()
        except AssertionError as error:
            return f"{error} (waited for: {waits})"
        lost = unserved(Clients(subject.uris, 1, exchange).join())
        return f"not served: {lost}" if lost else ""

    def end(self, daemon):
        if daemon.process is not None:
            try:
                daemon.stop()
            except AssertionError as error:
                self.wrong.append(f"stop: {error}")


class Stopping(InjectedCase):
    def serving(self, *arguments):
        """A superd with clients in the middle of their business, and strace on it."""
        subject = Subject(self, leaks=False).start()
        for name in ("fork", "iterative", "parked", "pool", "held", "held", "later"):
            sock = self.client(subject.uris[name])
            sock.sendall(b"hello\n")
        self.client(subject.uris["owner"]).send(b"hello\n")
        until(lambda: subject.control.ask("status", service="held")["services"][0]["held"] == 1)
        return subject, self.strace(*arguments).attach(subject.daemon.pid)

    def test_while_it_stops(self):
        """A call fails while superd stops with clients on it: it ends all the same, with status 0, and leaves no
        process behind."""
        began = time.monotonic()
        subject, strace = self.serving()
        subject.daemon.stop()
        strace.detach()
        counts = strace.counts()
        self.known(counts, "while it stops")
        for case in self.of_today(self.cases(counts)):
            subject, strace = self.serving(case.call, [case])
            text = ""
            try:
                subject.daemon.stop()
            except AssertionError as error:
                text = str(error)
            strace.detach()
            hits = strace.hits()
            fair = hits and TABLE[case.call].counts(hits[0])
            self.note("not reached" if not fair else "wrong" if text else "passed", [case], strace, text)
            self.doCleanups()
        self.conclude("while it stops", began)


if __name__ == "__main__":
    unittest.main()
