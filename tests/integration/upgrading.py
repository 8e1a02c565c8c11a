# SPDX-License-Identifier: MIT
"""Upgrading a daemon, and a session that continues meanwhile, as tests use them."""

import os
import signal
import subprocess

from harness import Reader, SuperdCase, installation


class Session:
    """A client of cat that sends something now and then."""

    def __init__(self, sock):
        self.sock = sock
        self.reader = Reader(sock)

    def goes_on(self, case, word):
        self.sock.sendall(word + b"\n")
        case.assertEqual(self.reader.line(), word)


class UpgradeCase(SuperdCase):  # has no tests itself
    SUPERCTL = os.path.join(os.path.dirname(os.environ["SUPERD_BINARY"]), "..", "bin", "superctl")

    def prepare(self, **options):
        """A daemon with its own programs, so that they can be replaced."""
        return installation().of_its_own(super().prepare(**options))

    def replace(self, daemon, text):
        """Puts another program in superd's place; bytes, or None for nothing. Returns what undoes that."""
        binary = daemon.installation.superd
        kept = binary + ".kept"
        os.rename(binary, kept)
        if text is not None:
            with open(binary, "wb") as file:
                file.write(text)
            os.chmod(binary, 0o755)
        return lambda: os.rename(kept, binary)

    def upgrade(self, daemon):
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        record = daemon.wait_for(lambda r: r["message"].startswith(("upgraded", "upgrade refused", "no upgrade")),
                                 since=since)
        self.assertTrue(record["message"].startswith("upgraded"), record)
        return record

    def refused(self, daemon, why):
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        record = daemon.wait_for(lambda r: r["message"].startswith(("upgraded", "upgrade refused")), since=since)
        self.assertIn("everything stays as it was", record["message"])
        self.assertRegex(record["message"], why)

    def superctl(self, daemon, *arguments, status=0):
        done = subprocess.run([self.SUPERCTL, "--control", daemon.control, *arguments], text=True, capture_output=True,
                              check=False, timeout=60, env=daemon.environment)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr
