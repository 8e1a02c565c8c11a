# SPDX-License-Identifier: MIT
"""python3 -m harness MODULE.CLASS...: unittest that shows the daemons' logs of failed tests, and exits with 77 if all
tests are skipped."""

import sys
import unittest


class Result(unittest.TextTestResult):
    def _show(self, test):
        for daemon in getattr(test, "daemons", []):
            self.stream.writeln(f"--- log of superd in {daemon.directory}")
            self.stream.writeln(daemon.transcript().encode("utf-8", "backslashreplace").decode())
            self.stream.writeln("---")

    def addError(self, test, err):
        super().addError(test, err)
        self._show(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._show(test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._show(test)


def main():
    suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    if not result.wasSuccessful():
        return 1
    if result.testsRun == 0 or result.testsRun == len(result.skipped):
        return 77
    return 0


sys.exit(main())
