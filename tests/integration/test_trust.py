# SPDX-License-Identifier: MIT
"""Definitions are trusted only if nobody but root and superd's own user could have changed them, or the way there.
tests/unit/conf/trust.cc goes through the cases; this tests the programs."""

import os
import shutil
import subprocess
import unittest

from control import Control
from harness import SuperdCase
from harness.daemon import PATIENCE, process_group

CAT = dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])


class Trust(SuperdCase):
    def test_a_reload_by_way_of_a_folder_that_others_may_write_is_refused_and_superd_goes_on(self):
        """The error names the folder, wherever on the way it is, and disappears once the folder's mode is right."""
        daemon = self.superd({"good": CAT})
        uri = daemon.address("good")
        for folder, mode in ((daemon.conf_dir, 0o775), (daemon.directory, 0o1777)):
            with self.subTest(folder):
                since = daemon.mark()
                os.chmod(folder, mode)
                daemon.service("good", listen="tcp://127.0.0.1:0", model="fork", exec=["true"])
                daemon.reload(refused=True)
                daemon.wait_for(lambda r: r["message"].startswith(f"{folder}: error: ") and
                                f"may be written by users other than its owner (mode {mode:04o})" in r["message"],
                                since=since)
                self.assertEqual(self.converse(uri), b"hello")
                os.chmod(folder, 0o755)
                daemon.service("good", **CAT)
                daemon.reload()

    def test_what_is_refused_is_refused_by_check_and_at_the_start_as_well(self):
        """superd --check and a start end with 1 and name the same folder."""
        daemon = self.prepare()
        daemon.service("good", **CAT)
        self.assertEqual(daemon.check()[0], 0)
        os.chmod(daemon.directory, 0o1757)
        for status, output in (daemon.check(), daemon.run("--log-format", "text")):
            self.assertEqual(status, 1)
            self.assertIn(f"{daemon.directory}: error: on the way to {daemon.config}: may be written by users other", output)


class TrustAsUser(Trust):
    as_user = "nobody"


@unittest.skipUnless(os.geteuid() == 0, "only root may give files to others and run superd as another user")
class TrustOfUsers(Control):
    def check(self, daemon, user):
        identity = {"user": user, "group": process_group(user), "extra_groups": []}
        done = subprocess.run(daemon.command("--check"), env=daemon.environment, timeout=PATIENCE, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              **identity)
        return done.returncode, done.stdout

    def test_an_ordinary_user_checks_root_s_definitions_and_drafts_of_his_own_but_no_others(self):
        """Files are checked on behalf of the user who runs the program: root's are sound for everyone, a user's only
        for that user."""
        daemon = self.prepare()
        file = daemon.service("good", **CAT)
        self.assertEqual(self.check(daemon, "nobody"), (0, "1 service, no errors\n"))
        shutil.chown(file, "nobody")
        shutil.chown(daemon.conf_dir, "nobody")
        self.assertEqual(self.check(daemon, "nobody"), (0, "1 service, no errors\n"))
        for user, whom in (("root", "superd is root: chown root"),
                           ("daemon", "superd trusts only root and its own user: chown root, or superd's own user")):
            status, output = self.check(daemon, user)
            self.assertEqual(status, 1)
            self.assertIn(f'{daemon.conf_dir}: error: belongs to user "nobody", but {whom}\n', output)
            self.assertIn(f'{file}: error: belongs to user "nobody", but {whom}\n', output)

    def test_superctl_says_the_same_without_a_daemon(self):
        """check and plan --offline judge as superd does."""
        daemon = self.prepare()
        daemon.service("good", **CAT)
        words = {"check": ["check", "--config", daemon.config, "--conf-dir", daemon.conf_dir],
                 "plan": ["plan", "--config", daemon.config, "--offline", daemon.conf_dir, daemon.conf_dir]}
        for verb in words.values():
            self.superctl(daemon, *verb)
        shutil.chown(daemon.path("conf.d/good.toml"), "nobody")
        for name, verb in words.items():
            with self.subTest(name):
                self.assertIn('good.toml: error: belongs to user "nobody", but superd is root: chown root\n',
                              self.superctl(daemon, *verb, status=1)[1])
