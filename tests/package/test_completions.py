# SPDX-License-Identifier: MIT
"""The shells' completions: complete compared with the programs' own help, and quiet without a daemon."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import SuperdCase
from test_manual import SUPERCTL, SUPERD, options

# Its answer in JSON; only service names count, whatever a description says.
LIST = (r'{"ok":true,"services":[{"description":"a \"name\":\"trap\"","name":"echo"},{"name":"echo-udp"},'
        r'{"name":"time"}],"version":1}')
COMPLETIONS = pathlib.Path(__file__).parents[2] / "contrib" / "completions"


class Completions(SuperdCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="superd-completions-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.environment = os.environ | {"PATH": f"{self.folder}:/usr/bin:/bin", "HOME": folder.name}

    def superctl(self, script):
        """What answers for superctl."""
        path = self.folder / "superctl"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def run_shell(self, *command):
        done = subprocess.run(command, env=self.environment, cwd=self.folder, text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def bash(self, line):
        """What bash offers for the last word of a line."""
        words = line.split(" ")
        script = r'''source "$1"; compopt() { :; }; COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)); _"$2"
                     [[ ${#COMPREPLY[@]} -eq 0 ]] || printf '%s\n' "${COMPREPLY[@]}" '''
        return self.run_shell("bash", "-c", script, "bash", COMPLETIONS / f"{words[0]}.bash", *words)

    def fish(self, line):
        source = COMPLETIONS / f"{line.split(' ')[0]}.fish"
        offered = self.run_shell("fish", "--no-config", "-c", f"source {source}; complete -C '{line}'")
        return [word.split("\t")[0] for word in offered]

    def check_names(self, candidates):
        self.superctl(f"[ \"$*\" = '--json list' ] && echo '{LIST}' || exit 1")
        for verb in ("status", "pause", "resume", "drain", "kill", "explain"):
            self.assertEqual(set(candidates(f"superctl {verb} ")), {"echo", "echo-udp", "time"}, verb)
        self.assertEqual(set(candidates("superctl status ec")), {"echo", "echo-udp"})
        self.superctl("""[ "$*" = "--json recipe" ] && echo '{"recipes":[{"name":"git-daemon"},{"name":"rsync"}]}'""")
        self.assertEqual(set(candidates("superctl recipe ")), {"git-daemon", "rsync"})
        self.superctl("""[ "$*" = "--control /run/x --json list" ] && echo '{"services":[{"name":"other"}]}'""")
        self.assertEqual(candidates("superctl --control /run/x status "), ["other"])

    def check_words(self, candidates):
        common, verbs = options(SUPERCTL)
        self.assertLessEqual(verbs, set(candidates("superctl ")))
        self.assertLessEqual(common, set(candidates("superctl --")))
        for verb in verbs:
            self.assertLessEqual(options(SUPERCTL, verb)[0], set(candidates(f"superctl {verb} --")), verb)
        self.assertLessEqual(options(SUPERD)[0], set(candidates("superd --")))
        self.assertEqual(candidates("superd --log-level d"), ["debug"])

    def test_bash_offers_every_verb_and_option(self):
        self.check_words(self.bash)
        (self.folder / "my.d").mkdir()
        self.assertEqual(self.bash("superctl check --conf-dir m"), ["my.d"])
        self.assertEqual(self.bash("superctl import "), ["inetd", "xinetd", "systemd", "stunnel", "command"])

    def test_bash_offers_the_names_of_services(self):
        self.check_names(self.bash)

    def test_bash_runs_nothing_that_is_called_like_a_service(self):
        for name in ("$(touch${IFS}ran)", "`touch${IFS}ran`", "*"):
            self.superctl(f"""echo '{{"services":[{{"name":"{name}"}}]}}'""")
            self.assertEqual(self.bash("superctl status "), [])
        self.assertEqual(sorted(os.listdir(self.folder)), ["superctl"])

    def test_without_a_daemon_there_is_no_name_and_no_word_of_it(self):
        self.superctl("echo 'superctl: no daemon' >&2; exit 1")
        self.assertEqual(self.bash("superctl status "), [])
        if shutil.which("fish"):
            self.assertEqual(self.fish("superctl status "), [])

    def test_bash_offers_the_names_of_a_real_daemon_s_services(self):
        if "list" not in options(SUPERCTL)[1]:
            self.skipTest("superctl has no verb list yet")
        daemon = self.prepare()
        control = daemon.path("control.sock")
        daemon.arguments += ["--control", control]
        for name in ("hello", "tea.time"):
            daemon.service(name, listen="tcp://127.0.0.1:0", model="fork", exec=["true"])
        daemon.start()
        (self.folder / "superctl").symlink_to(SUPERCTL)
        self.assertEqual(set(self.bash(f"superctl --control {control} drain ")), {"hello", "tea.time"})

    def test_fish_offers_every_verb_option_and_service(self):
        if not shutil.which("fish"):
            self.skipTest("needs the package fish")
        self.check_words(self.fish)
        self.check_names(self.fish)

    def test_zsh_offers_every_verb_option_and_service(self):
        if not shutil.which("zsh"):
            self.skipTest("needs the package zsh")
        self.check_words(self.zsh)
        self.check_names(self.zsh)

    def zsh(self, line):
        """zsh's additions to its list of matches, seen by our own compadd in a shell on its own terminal."""
        return self.run_shell("zsh", "-f", pathlib.Path(__file__).with_name("complete.zsh"), str(COMPLETIONS), line)
