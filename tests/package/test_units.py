# SPDX-License-Identifier: MIT
"""The systemd units: systemd finds nothing wrong with them, and their words are superd's own."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import TestCase

SYSTEMD = pathlib.Path(__file__).parents[2] / "contrib" / "systemd"
SUPERD = os.environ["SUPERD_BINARY"]
SUPERCTL = os.environ["SUPERD_SUPERCTL"]


class Units(TestCase):
    def setUp(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("needs systemd-analyze")
        folder = tempfile.TemporaryDirectory(prefix="superd-units-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def put(self, source, name=None):
        """A unit as it is installed, but with this build's superd, and without pages that are not installed."""
        text = source.read_text().replace("ExecStart=superd", f"ExecStart={SUPERD}")
        text = text.replace("ExecReload=superctl", f"ExecReload={SUPERCTL}")
        target = self.folder / (name or source.name)
        target.parent.mkdir(exist_ok=True)
        target.write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
        return target

    def verify(self, *units, user=False):
        environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{self.folder}:", "XDG_RUNTIME_DIR": str(self.folder)}
        manager = ["--user"] if user else []
        done = subprocess.run(["systemd-analyze", *manager, "--man=no", "verify", *units], text=True, check=False,
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, [line for line in done.stdout.splitlines() if "superd" in line]

    def test_systemd_finds_nothing_wrong_with_the_service_alone_tightened_and_beside_its_socket(self):
        service = self.put(SYSTEMD / "superd.service")
        self.assertEqual(self.verify(service), (0, []))
        self.put(SYSTEMD / "examples" / "hardening.conf", "superd.service.d/hardening.conf")
        socket = self.put(SYSTEMD / "examples" / "superd.socket")
        self.assertEqual(self.verify(service, socket), (0, []))
        with open(service, "a", encoding="utf-8") as file:
            file.write("[Service]\nKillMode=sometimes\n")
        self.assertIn("sometimes", " ".join(self.verify(service)[1]), "a wrong word is not reported")

    def test_systemd_finds_nothing_wrong_with_the_drop_in_for_another_user(self):
        service = self.put(SYSTEMD / "superd.service")
        drop_in = self.put(SYSTEMD / "examples" / "unprivileged.conf", "superd.service.d/unprivileged.conf")
        drop_in.write_text(drop_in.read_text().replace("User=superd", "User=daemon"))
        self.assertEqual(self.verify(service), (0, []))

    def test_systemd_finds_nothing_wrong_with_the_user_s_service(self):
        self.assertEqual(self.verify(self.put(SYSTEMD / "user" / "superd.service"), user=True), (0, []))

    def test_the_manager_can_pass_all_that_it_stores(self):
        """systemd gives a service its limits before its sockets; with fewer descriptors it could not start it again."""
        for unit in (SYSTEMD / "superd.service", SYSTEMD / "user" / "superd.service"):
            found = dict(re.findall(r"(?m)^(FileDescriptorStoreMax|LimitNOFILE)=(\d+)", unit.read_text()))
            self.assertGreater(int(found["LimitNOFILE"]), int(found["FileDescriptorStoreMax"]) + 1000, unit.name)

    def rating(self, threshold=100):
        """systemd-analyze's exit status and lines for the service with its drop-ins."""
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--json=short",
                               f"--threshold={threshold}", self.folder / "superd.service"], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=os.environ | {"SYSTEMD_UNIT_PATH": f"{self.folder}:"})
        if done.returncode != 0 and not done.stdout.startswith("["):
            self.skipTest(f"this systemd-analyze rates no units by file: {done.stderr.strip()}")
        return done.returncode, json.loads(done.stdout)

    def test_each_line_that_the_service_leaves_open_has_a_comment_that_says_why(self):
        self.put(SYSTEMD / "superd.service")
        _, lines = self.rating()
        said = " ".join(line[1:] for line in (SYSTEMD / "superd.service").read_text().splitlines()
                        if line.startswith("#"))
        directives = {word for line in lines if line["exposure"] is not None
                      for word in re.findall(r"(\w+)=", line["name"])}
        self.assertGreater(len(directives), 20)
        self.assertEqual(sorted(word for word in directives if not re.search(rf"\b{word}\b[^.]*: ", said)), [])

    def test_the_example_of_a_drop_in_is_rated_3_5_or_better(self):
        self.put(SYSTEMD / "superd.service")
        self.put(SYSTEMD / "examples" / "hardening.conf", "superd.service.d/hardening.conf")
        status, lines = self.rating(35)
        self.assertEqual(status, 0, [line["name"] for line in lines if line["exposure"] is not None])
        (self.folder / "superd.service.d/hardening.conf").unlink()
        self.assertNotEqual(self.rating(35)[0], 0, "the service alone is rated so as well: nothing is shown")

    def test_each_line_of_the_drop_in_has_a_comment(self):
        """Above it, or above the group of lines that it belongs to."""
        before = ""
        for line in (SYSTEMD / "examples" / "hardening.conf").read_text().split("[Service]\n")[1].splitlines():
            self.assertTrue(line.startswith("#") or before, line)
            before = line

    def test_the_services_start_superd_with_options_that_it_has(self):
        known = subprocess.check_output([SUPERD, "--help"], text=True)
        for unit in SYSTEMD.rglob("superd.service"):
            (command,) = re.findall(r"(?m)^ExecStart=(.*)$", unit.read_text())
            for option in re.findall(r"--[\w-]+", command):
                self.assertIn(f"  {option} ", known)
