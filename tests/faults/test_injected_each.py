# SPDX-License-Identifier: MIT
"""Each service separately: two of its clients, one after the other and side by side, so that superd makes the same
calls in the same order each time, and each place in it that makes a call can be hit."""

import collections
import contextlib
import re
import socket
import time

import everything
from harness.wire import Reader, connect, uri_parts
from injected_case import ALL, InjectedCase
from injection import LINE, Case, until
from subject import CLIENT_PATIENCE, Subject
from syscalls import TABLE

TELLING = ("held", "datagram")  # if not all are run
OFTEN = ("EINTR", "EAGAIN")  # temporary errors, tried wherever a call may fail with them


def shape(line):
    """A call without the parts that differ from run to run."""
    line = re.sub(r'"(\\.|[^"\\])*"\.*', '""', line.split(" = ")[0])
    line = re.sub(r"<[^()]*?>(?=[,)\]} ]|$)", "<>", line)
    return re.sub(r"0x[0-9a-f]+|\d+(?=<)|\d{4,}", "N", line)


class Pair:
    """Two clients of one service, the second there before the first has left; each has sent everything when it has
    asked."""

    def __init__(self, subject, name):
        self.subject, self.name, self.uri = subject, name, subject.uris[name]

    def go(self):
        """Who was not served as the service is meant."""
        ends = collections.Counter()
        if uri_parts(self.uri)[0] in ("udp", "unix-dgram"):
            for word in (b"first", b"second"):
                ends[everything.exchange(self.uri, word, CLIENT_PATIENCE, self.came)] += 1
        else:
            with connect(self.uri, timeout=CLIENT_PATIENCE) as first:
                self.came()
                ends[self.answer(first, b"first")] += 1
                second = connect(self.uri, timeout=CLIENT_PATIENCE)
                self.came()
                with second:
                    self.send(second, b"second")
                    with contextlib.suppress(OSError):  # of one that has been turned away already
                        second.shutdown(socket.SHUT_WR)
                    if self.name in ("held", "iterative", "delayed"):
                        first.close()
                    ends[self.read(second, b"second")] += 1
        self.subject.ends[self.name] += ends
        fine = {"broken": ("closed",), "turned-away": ("served", "refused")}.get(self.name, ("served",))
        return {end: number for end, number in ends.items() if end not in fine}

    def came(self):
        self.subject.came[self.name] += 1

    @staticmethod
    def send(sock, word):
        try:
            sock.sendall(word + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, sock, word):
        self.send(sock, word)
        return self.read(sock, word)

    def read(self, sock, word):
        try:
            line = sock.recv(4096) if self.uri.startswith("unix-seqpacket") else Reader(sock).line() + b"\n"
        except ConnectionResetError:
            return "closed"
        except OSError as error:
            return repr(error)
        if line == word + b"\n":
            return "served"
        return "refused" if line == everything.REFUSED else "closed" if line.strip() == b"" else f"answer {line!r}"


class Each(InjectedCase):
    def subject(self):
        subject = Subject(self, exact=True, leaks=False).start()
        subject.settle()
        return subject

    def trace(self, subject, name):
        strace = self.strace().attach(subject.daemon.pid)
        lost = Pair(subject, name).go()
        quiet = until(lambda: not subject.unrest(), pause=0.02)
        strace.detach()
        self.assertEqual((lost, quiet), ({}, True), name)
        return strace.lines()

    def cases_of(self, lines):
        """The first of each kind of call, with its possible errors."""
        seen, numbers, found = set(), collections.Counter(), []
        for line in lines:
            if not (match := LINE.match(line)) or "resumed" in line.split("(")[0]:
                continue
            call = match.group(1)
            numbers[call] += 1
            faults = TABLE.get(call)
            if faults is None or shape(line) in seen or not faults.counts(line) or not self.fits(call):
                continue
            seen.add(shape(line))
            found += [Case(call, errno, numbers[call]) for number, errno in enumerate(faults.errnos)
                      if number == 0 or errno in OFTEN]
        return found

    def test_each_service(self):
        """A call of superd for one of two clients fails: both are served as usual, except the one that the call was
        for, and everything is counted correctly."""
        began = time.monotonic()
        subject = self.subject()
        for name in subject.names if ALL else TELLING:
            for case in self.some(self.cases_of(self.trace(subject, name)), of=4):
                if self.run_case(subject, name, case) == "wrong":
                    self.end(subject)
                    subject = self.subject()
            self.assertEqual(subject.verdict(), "", name)
        self.conclude("for each service", began)

    @staticmethod
    def end(subject):
        """What went wrong has been noted."""
        subject.daemon.process.kill()
        with contextlib.suppress(AssertionError):
            subject.daemon.stop()

    def run_case(self, subject, name, case):
        strace, since = self.strace(case.call, [case]).attach(subject.daemon.pid), subject.daemon.mark()
        lost = Pair(subject, name).go()
        until(lambda: not subject.unrest(), patience=3 if strace.hits() else 0, pause=0.02)  # what comes at the end
        strace.detach()
        text = ""
        hits = strace.hits()
        for line in hits:
            subject.note_fault(line)
            if TABLE[case.call].takes_client(line) and lost:
                subject.forgiven[name] += 1
                lost = {}
        if lost:
            text = f"clients of {name}: {lost}"
        elif not until(lambda: not subject.unrest(), pause=0.02):
            text = subject.unrest()
        for record in subject.daemon.find(lambda r: "Bad file descriptor" in r["message"], since):
            text = text or f"not the reason: {record['message']}"
        fair = hits and TABLE[case.call].counts(hits[0])
        what = "wrong" if text and fair else "passed" if fair else "not reached"
        self.note(what, [case], strace, text and f"{name}: {text}")
        strace.discard()
        return "wrong" if text else what


# Answers with nothing, then with a word, and stays.
ANSWERS = """#!/usr/bin/python3 -IS
import signal, socket
out = socket.socket(fileno=1)
out.send(b"")
out.send(b"after")
signal.pause()
"""


class Replies(InjectedCase):
    def test_an_empty_reply_that_may_be_the_end(self):
        """superd cannot ask whether an empty reply of a datagram's handler was the end: later replies are sent on."""
        daemon = self.prepare()
        daemon.service("answers", listen="udp://127.0.0.1:0", model="fork", exec=[daemon.script("answers", ANSWERS)])
        daemon.start()

        def served(*cases):
            strace = self.strace("poll", cases).attach(daemon.pid)
            client = self.client(daemon.address("answers"))
            client.send(b"a datagram")
            while client.recv(100) != b"after":
                pass
            strace.detach()
            return strace

        asked = [line for line in served().lines() if line.startswith("poll(")]
        number = next(number for number, line in enumerate(asked, 1) if "POLLRDHUP" in line)
        hits = served(Case("poll", "ENOMEM", number)).hits()
        self.assertRegex("".join(hits), "POLLRDHUP")
