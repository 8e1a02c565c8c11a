# SPDX-License-Identifier: MIT
"""What the tests that make system calls fail share."""

import collections
import math
import os
import time

from faults import SANITIZED, figure
from harness import SuperdCase
from injection import Case, Strace, available
from syscalls import TABLE

ALL = os.environ.get("SUPERD_FAULTS_INJECTED") == "all"
ONLY = os.environ.get("SUPERD_FAULTS_CALLS", "").split()  # of a sweep: only these calls
WHEN = (1, 2, 10) if ALL else (1,)


class InjectedCase(SuperdCase):  # has no tests itself
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
    def some(cases, of=2):
        """One in this many of them, if each takes long and not all are run."""
        return cases if ALL else cases[::of]

    @staticmethod
    def fits(call):
        """Should it be made to fail, and may it in this build?"""
        return (not ONLY or call in ONLY) and (not SANITIZED or TABLE[call].sanitized)

    @staticmethod
    def cases(counts, skip=None, when=WHEN, every=ALL, parts=()):
        """Every case of the calls in a trace, as far as they came often enough to be hit; without `every`, only the
        first errno for each call. `parts`: besides `when`, the calls after these fractions of all."""
        found = []
        for call in sorted(counts):
            faults = TABLE[call]
            if not InjectedCase.fits(call):
                continue
            wanted = [*(faults.errnos if every else faults.errnos[:1]), *(["delay"] if every and faults.delay else [])]
            found += [Case(call, fault, number, (skip or {}).get(call, 0))
                      for fault in wanted
                      for number in sorted({*when, *(math.ceil(counts[call] * part) for part in parts)})
                      if number <= counts[call]]
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
