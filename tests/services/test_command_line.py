# SPDX-License-Identifier: MIT
"""What the handlers take on their command line and refuse."""

import os
import subprocess
import unittest

from harness import LIBEXEC, HandlerTest

SERVICES = ("echo", "discard", "daytime", "time", "chargen")


class CommandLine(HandlerTest):
    def run_with(self, service, *arguments, env=None):
        return subprocess.run([os.path.join(LIBEXEC, "superd-" + service), *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=20)

    def test_help_and_version(self):
        for service in SERVICES:
            with self.subTest(service):
                told = self.run_with(service, "--help")
                self.assertEqual((told.returncode, told.stderr), (0, ""))
                self.assertIn(f"RFC 86", told.stdout)
                for option in ("--threads", "--idle", "--timeout", "--min-port"):
                    self.assertIn(option, told.stdout)
                told = self.run_with(service, "--version")
                self.assertEqual((told.returncode, told.stderr), (0, ""))
                self.assertRegex(told.stdout, rf"^superd-{service} \(superd\) \d+\.\d+")

    def test_wrong_usage_exits_2_and_says_why(self):
        for arguments, why in (
                (["--threads", "0"], "--threads is '0', must be a number from 1 to"),
                (["--threads", "many"], "--threads is 'many'"),
                (["--threads", "2x"], "--threads is '2x'"),
                (["--idle=-1"], "--idle is '-1'"),
                (["--timeout", "99999999999"], "--timeout is '99999999999'"),
                (["--min-port", "80"], "--min-port is '80', must be a number from 1024 to 65535"),
                (["--frok"], "unrecognized option '--frok'"),
                (["--threads"], "requires an argument"),
                (["operand"], "unexpected argument 'operand'")):
            with self.subTest(arguments):
                told = self.run_with("echo", *arguments)
                self.assertEqual((told.returncode, told.stdout), (2, ""))
                self.assertIn(why, told.stderr)
                self.assertIn("--help", told.stderr)

    def test_environment_that_is_no_number_exits_2(self):
        for name in ("SUPERD_STATUS_FD", "SUPERD_MAX_REQUESTS"):
            told = self.run_with("echo", env={name: "x"})
            self.assertEqual(told.returncode, 2)
            self.assertIn(f"{name} is 'x'", told.stderr)


if __name__ == "__main__":
    unittest.main()
