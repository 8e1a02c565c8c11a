# SPDX-License-Identifier: MIT
"""superctl security: what handlers could do, by the daemon's word and by systemd-analyze's."""

import json
import os
import re
import shutil
import subprocess

from control import Control
from harness.daemon import PATIENCE

TCP = "tcp://127.0.0.1:0"
STRICT = {"preset": "strict"}


class Security(Control):
    def daemon(self):
        return self.superd({"plain": dict(listen=TCP, model="fork", exec=["/bin/cat"]),
                            "tight": dict(listen=TCP, model="fork", exec=["/bin/cat"], sandbox=STRICT)})

    def test_all_and_one(self):
        """Services are rated in a table, and one of them line by line, the worst first, with what mends each line."""
        daemon = self.daemon()
        rated = {s["name"]: s for s in self.ask(daemon, "security", shape="security")["services"]}
        self.assertEqual({name: s["preset"] for name, s in rated.items()}, {"plain": "base", "tight": "strict"})
        self.assertLess(rated["tight"]["exposure"], rated["plain"]["exposure"])
        self.assertRegex(self.superctl(daemon, "security")[0], r"(?m)^plain +\d\.\d +[A-Z]+ +base +-$")
        lines = self.ask(daemon, "security", "plain", shape="security NAME")["services"][0]["lines"]
        for line in lines:
            self.assertEqual(bool(line["mend"]), line["exposure"] > 0, line)
        text = self.superctl(daemon, "security", "plain")[0]
        self.assertRegex(text, r"(?m)^ *0\.\d +PrivateNetwork= .*sandbox\.private_network = true$")
        self.assertRegex(text, r"plain: preset base, exposure \d\.\d of 10\.0, [A-Z]+$")
        added = [float(n) for n in re.findall(r"(?m)^ *(\d\.\d) ", text)]
        self.assertEqual(added, sorted(added, reverse=True))
        answer = self.ask(daemon, "security", "plian", shape="error", status=1)
        self.assertEqual(answer["error"], 'no service "plian" (did you mean "plain"?)')

    def test_left_out(self):
        """What this machine does not provide is the same in the log, in status and in security."""
        daemon = self.daemon()
        one = self.ask(daemon, "security", "tight", shape="security NAME")["services"][0]
        self.assertEqual(self.service_status(daemon, "tight")["sandbox"],
                         {"preset": "strict", "left_out": one["left_out"]})
        told = daemon.find(lambda record: "is left out for" in record["message"])
        self.assertEqual(len(told), len(one["left_out"]), told)
        text = self.superctl(daemon, "security", "tight")[0]
        for left in one["left_out"]:
            self.assertIn(f"{left['key']} is left out on this machine: {left['why']}\n", text)

    def test_offline(self):
        """Without a daemon the definitions on disk are rated; errors are those of check."""
        daemon = self.daemon()
        answer = self.ask(daemon, "security", "--offline", "--conf-dir", daemon.path("conf.d"), shape="security")
        self.assertEqual([s["name"] for s in answer["services"]], ["plain", "tight"])
        daemon.service("plain", listen=TCP, model="frok", exec=["/bin/cat"])
        answer = self.ask(daemon, "security", "--offline", "--conf-dir", daemon.path("conf.d"), shape="errors", status=1)
        self.assertIn("frok", answer["errors"][0]["message"])

    def test_systemd_agrees(self):
        """systemd-analyze rates the unit of a strict service 2.0 or better, and that of any service much as superd."""
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not here")
        daemon = self.daemon()
        for name, best in (("tight", 2.0), ("plain", 10.0)):
            service = self.ask(daemon, "security", name, shape="security NAME")["services"][0]
            if name == "tight" and service["left_out"]:
                self.skipTest(f"this machine provides only a part: {service['left_out']}")
            unit = daemon.path(f"{name}.service")
            with open(unit, "w", encoding="utf-8") as file:
                file.write(self.superctl(daemon, "security", name, "--unit")[0])
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit], text=True,
                                  timeout=PATIENCE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                                  env={**os.environ, "LC_ALL": "C.UTF-8"})
            found = re.search(r"Overall exposure level for .*: (\d+\.\d)", done.stdout)
            self.assertIsNotNone(found, done.stdout + done.stderr)
            theirs = float(found[1])
            self.assertLessEqual(theirs, best)
            self.assertAlmostEqual(theirs, service["exposure"], delta=0.6)
            self.assertNotRegex(done.stderr, r"Unknown key|Failed to parse|ignoring", done.stderr)


class Portable(Control):
    def test_check(self):
        """check --portable passes over what another machine may have, and nothing else."""
        daemon = self.superd({"a": dict(listen=TCP, model="fork", exec=["/bin/cat"])})
        folder = ["--conf-dir", daemon.path("conf.d")]
        daemon.service("a", listen=TCP, model="fork", exec=["/no/such/handler"])
        self.superctl(daemon, "check", *folder, status=1)
        self.assertEqual(self.superctl(daemon, "check", *folder, "--portable")[0],
                         "no errors but those of this machine\n")
        self.assertIsNone(self.ask(daemon, "check", *folder, "--portable", shape="check")["services"])
        daemon.service("a", listen=TCP, model="frok", exec=["/no/such/handler"])
        answer = self.ask(daemon, "check", *folder, "--portable", shape="errors", status=1)
        self.assertEqual(len(answer["errors"]), 1)
        self.assertIn("frok", json.dumps(answer))
