# SPDX-License-Identifier: MIT
"""Every system call of superd fails once, under load: superd continues to serve, loses no client and leaks nothing;
or, at its start, it says what failed and exits with 1. tests/faults/injected runs all cases; these are the most
telling."""

import collections
import os
import re
import time
import unittest

from injected_case import ALL, ONLY, InjectedCase
from injection import Case, until
from subject import Subject
from syscalls import TABLE

ROUNDS = 3  # within which a call must come
TRIES = 3 if ALL else 1  # if the hit call was of a kind that the kernel does not fail
UNFAIR = "no fault of the kernel's"
GROUPS = 4  # cases at a time, if not all are run
ALONE = ("epoll_ctl", "read", "fcntl")  # a hit may not count, and then spoils the rest of its group
HOPELESS = 2.0  # seconds for clients after such a hit, which may have cost superd its track of them


class Running(InjectedCase):
    def subject(self):
        subject = Subject(self, exact=True).start()
        subject.settle()
        return subject

    def trace(self, subject):
        strace = self.strace().attach(subject.daemon.pid)
        subject.round()
        subject.round()
        strace.detach()
        counts = strace.counts()
        self.known(counts, "while it serves")
        return counts

    def test_while_it_serves(self):
        """A call fails while clients of every service come, and superd is reloaded and asked for its state: it
        continues, loses no client except the one that the call was for, leaks nothing and counts correctly."""
        began = time.monotonic()
        subject = self.subject()
        cases = self.cases(self.trace(subject))
        groups = [[case] for case in cases if ALL or case.call in ALONE]
        rest = [case for case in cases if not ALL and case.call not in ALONE]
        groups += [rest[i::GROUPS] for i in range(GROUPS) if rest[i::GROUPS]]
        for group in groups:
            for _ in range(TRIES):
                what = self.run_group(subject, group)
                if what in ("wrong", UNFAIR):
                    self.replace(subject)
                    subject = self.subject()
                if what != UNFAIR:
                    break
        self.conclude("while it serves", began)

    def replace(self, subject):
        """The fault has been noted; only a sanitizer's report is reported here."""
        try:
            subject.daemon.stop()
        except AssertionError as error:
            if "anitizer" in str(error):
                self.wrong.append(str(error))

    @staticmethod
    def fair(group, hits):
        """Is one of the hits a fault that the kernel could cause?"""
        return any(TABLE[case.call].counts(line) for case in group for line in hits if f"{case.call}(" in line)

    def run_group(self, subject, group):
        strace = self.strace(",".join(sorted({case.call for case in group})), group)
        strace.attach(subject.daemon.pid)
        lost, text, unfair_since = {}, "", []

        def hopeless():
            if (hits := strace.hits()) and not self.fair(group, hits):
                unfair_since.append(time.monotonic())
                if unfair_since[-1] - unfair_since[0] > HOPELESS and subject.alive():
                    subject.daemon.process.kill()

        try:
            subject.fallible("list")  # so that the first call that watches something is hit
            for _ in range(ROUNDS):
                for name, ends in subject.round(hopeless=hopeless).items():
                    lost[name] = lost.get(name, 0) + sum(ends.values())
                if len(strace.hits()) >= len(group):
                    break
        except OSError as error:
            text = f"superd cannot be told: {error!r}"
        strace.detach()
        hits = strace.hits()
        fair = self.fair(group, hits)
        for line in hits:
            subject.note_fault(line)
        text = text or self.strangers(subject, group, hits, lost)
        text = text or subject.verdict(**({} if fair or not hits else {"patience": HOPELESS}))
        if not hits:
            what = "passed, not reached" if not text else "wrong"
        elif text and not fair:
            what = UNFAIR
        else:
            what = "wrong" if text else "passed"
        self.note(what, group, strace, text)
        strace.discard()
        return what

    @staticmethod
    def strangers(subject, group, hits, lost):
        """The lost clients, except those that the call was for; "" if there are none."""
        for line in hits:
            case = next(case for case in group if f"{case.call}(" in line)
            if TABLE[case.call].takes_client(line):
                name = subject.service_of(line) or "broken"
                subject.forgiven[name] += 1
                lost[name] = lost.get(name, 0) - 1
        strangers = {name: number for name, number in lost.items() if number > 0}
        return f"clients lost: {strangers}" if strangers else ""


class Starting(InjectedCase):
    def test_at_its_start(self):
        """A call fails while superd starts: it says what failed and exits with 1, or continues and serves
        everything."""
        began = time.monotonic()
        strace = self.strace()
        subject = Subject(self, prefix=strace.prefix(), leaks=False).start()
        skip, counts = strace.before_main(), strace.counts()
        self.known(counts - skip, "at its start")
        subject.daemon.stop()
        for case in self.some(self.cases(counts - skip, skip) + self.of_files(strace)):
            self.start_with(case)
        self.conclude("at its start", began)

    @staticmethod
    def of_files(strace):
        """No descriptor for one file that superd opens; for several in a folder, one of them."""
        opened = collections.Counter(path for line in strace.after_main()
                                     if (path := "".join(re.findall(r'^openat\([^"]*"(.+?)"', line))))
        chosen = {os.path.dirname(path): path for path in opened if "conf.d/" in path}
        return [Case("openat", "EMFILE", when=number, path=path) for path, count in opened.items()
                for number in range(1, min(count, 3) + 1)
                if ("conf.d/" not in path or path in chosen.values()) and (not ONLY or "openat" in ONLY)]

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
        late = case.path or any(line in hits for line in strace.after_main())
        if not hits or not late or not TABLE[case.call].counts(hits[0]):
            what = "wrong" if text and late and TABLE[case.call].counts(hits[0]) else "not reached"
        else:
            what = "wrong" if text else "passed"
        self.note(what, [case], strace, text)
        strace.discard()
        subject.manager.stop()

    def after_start(self, subject):
        waits = [r["address"] for r in subject.daemon.find(lambda r: r["message"].startswith("waiting for "))]
        try:
            subject.find()
        except AssertionError as error:
            return f"{error} (waited for: {waits})"
        if lost := subject.visit():
            return f"not served: {lost}"
        told = until(lambda: any("READY" in pairs for pairs in subject.manager.said))
        return "" if told else "the manager was not told"

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
        """A call fails while superd stops with clients on it: it ends nevertheless, with status 0, and leaves no
        process behind."""
        began = time.monotonic()
        subject, strace = self.serving()
        subject.daemon.stop()
        strace.detach()
        counts = strace.counts()
        self.known(counts, "while it stops")
        for case in self.some(self.cases(counts)):
            subject, strace = self.serving(case.call, [case])
            text = ""
            try:
                subject.daemon.stop()
            except AssertionError as error:
                text = str(error)
            strace.detach()
            hits = strace.hits()
            fair = hits and TABLE[case.call].counts(hits[0])
            subject.note_fault("".join(hits))
            if not text and len(subject.manager.store) > subject.kept_by_manager:
                text = "the manager was not told to give back sockets"
            self.note("not reached" if not fair else "wrong" if text else "passed", [case], strace, text)
            self.doCleanups()
        self.conclude("while it stops", began)


if __name__ == "__main__":
    unittest.main()
