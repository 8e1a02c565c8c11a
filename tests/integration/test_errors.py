# SPDX-License-Identifier: MIT
"""What is wrong in definition files: every error named at its place, at load and on reload, and nothing changed."""

import os
import re
import subprocess

from harness import SuperdCase
from harness.daemon import PATIENCE
from harness.loopback import own_loopback

ERROR = re.compile(r"^(?:.*/)?([^/\n]+):(\d+):(\d+): error: (.+)$", re.MULTILINE)

# § marks the place of each error and is removed.
THIRTY = {
    "types": """listen = §42
model = §7
exec = §"cat"
""",
    "unknown": """listen = "tcp://127.0.0.1:7101"
model = "fork"
exec = ["cat"]
§colour = "red"
  §instances = 5
§stdin = "x"
""",
    "range": """listen = "tcp://127.0.0.1:7102"
model = "prefork"
exec = ["cat"]
nice = §99

[limits]
instances = §0

[prefork]
min_spare =    §-2
""",
    "durations": """listen = "tcp://127.0.0.1:7103"
model = "delayed"
exec = ["cat"]
stop_timeout = §10
max_lifetime = §"5"
[delayed]
delay = §"fast"
""",
    "words": """listen = "tcp://127.0.0.1:7104"
model = §"frok"
exec = ["cat"]
handoff = §"both"
stderr = §'nowhere'
""",
    "addresses": """listen = [
    §"tcp://localhost:80",
    "tcp://127.0.0.1:7105", §"tcp://127.0.0.1:99999",
    §"http://127.0.0.1:7106",
]
model = "fork"
exec = ["cat"]
""",
    "names": """listen = "tcp://127.0.0.1:7107"
model = "fork"
exec = ["cat"]
user = §"no-such-user"
group = §"no-such-group"
stop_signal = §"NOPE"
""",
    "handler": """listen = "tcp://127.0.0.1:7108"
model = "fork"
exec = [§"no-such-handler", "x"]
working_directory = §"relative/path"
umask = §"999"
""",
    "lists": """listen = "tcp://127.0.0.1:7109"
model = "fork"
exec = ["cat", §5]
environment = { B = "öäü €", A = §3 }
pass_environment = ["B", §true]
""",
    "tables": """listen = "tcp://127.0.0.1:7110"
model = "fork"
exec = ["cat"]
[rlimits]
nofile = §"many"
§nofiles = 5
[log]
connections = §"some"
""",
}


def marked(text):
    """The text without its marks, and the (line, column) of each."""
    places = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        while "§" in line:
            places.append((number, line.index("§") + 1))
            line = line.replace("§", "", 1)
        lines[number - 1] = line
    return "\n".join(lines), places


class Check(SuperdCase):
    def test_thirty_errors_in_one_run(self):
        """Ten files with three errors each: thirty errors in one run of --check, each at its line and column."""
        daemon = self.prepare()
        expected = []
        for name, text in THIRTY.items():
            plain, places = marked(text)
            self.assertEqual(len(places), 3, name)
            daemon.service(name, plain)
            expected.extend((f"{name}.toml", line, column) for line, column in places)
        status, output = daemon.check()
        self.assertEqual(status, 1)
        found = [(match[1], int(match[2]), int(match[3])) for match in ERROR.finditer(output)]
        self.assertEqual(sorted(found), sorted(expected), output)
        self.assertEqual(len(found), 30)

    def test_the_caret(self):
        """An error shows the line, with carets under exactly the wrong part."""
        daemon = self.prepare()
        daemon.service("echo", 'listen = "tcp://127.0.0.1:7007"\nexec = ["cat"]\nmodel = "frok"\n')
        status, output = daemon.check()
        self.assertEqual(status, 1)
        self.assertIn('conf.d/echo.toml:3:9: error: model "frok" is not one of fork, prefork, iterative, delayed '
                      '(did you mean "fork"?)\n'
                      '    3 | model = "frok"\n'
                      '      |         ^^^^^^\n', output)

    def test_valid(self):
        """--check of valid files, of disabled ones and of none at all exits with 0 and listens on nothing."""
        daemon = self.prepare()
        self.assertEqual(daemon.check()[0], 0)
        daemon.service("cat", listen=f"tcp://{own_loopback()}:7800", model="fork", exec=["cat"])
        daemon.service("off", listen=f"tcp://{own_loopback()}:7801", model="fork", exec=["cat"], enabled=False)
        self.assertEqual(daemon.check()[0], 0)
        daemon.start()
        self.assertEqual(daemon.check()[0], 0)  # next to a running one

    def test_disabled_files_are_checked(self):
        """A file with enabled = false is still checked."""
        daemon = self.prepare()
        daemon.service("off", listen="tcp://127.0.0.1:0", model="frok", exec=["cat"], enabled=False)
        self.assertEqual(daemon.check()[0], 1)

    def test_skipped_files(self):
        """Hidden files, backups and names that do not end in .toml are skipped."""
        daemon = self.prepare()
        for name in (".hidden.toml", "a.toml~", "a.toml.bak", "a.toml.dpkg-new", "a.toml.rpmsave", "README"):
            daemon.write("conf.d/" + name, "not toml [")
        status, output = daemon.check()
        self.assertEqual(status, 0, output)

    def test_a_service_name_that_is_none(self):
        """A file whose stem is not a valid service name is an error that says so."""
        daemon = self.prepare()
        daemon.service("-dash", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        status, output = daemon.check()
        self.assertEqual(status, 1)
        self.assertIn("-dash", output)

    def test_errors_in_superd_toml_and_drop_ins(self):
        """Errors in superd.toml and in a drop-in carry the name of that file."""
        daemon = self.prepare(config='[defaults]\nnice = "high"\n')
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        os.mkdir(daemon.path("conf.d/cat.toml.d"))
        daemon.write("conf.d/cat.toml.d/10-local.toml", "umask = 99\n")
        status, output = daemon.check()
        self.assertEqual(status, 1)
        self.assertRegex(output, r"superd\.toml:2:8: error: ")
        self.assertRegex(output, r"10-local\.toml:1:9: error: ")

    def test_hostile_text_is_escaped(self):
        """Control characters in a file do not reach the terminal raw."""
        daemon = self.prepare()
        daemon.service("bad", 'listen = "tcp://127.0.0.1:0"\nexec = ["cat"]\nmodel = "\\u001b[31mred\\u0007"\n')
        status, output = daemon.check()
        self.assertEqual(status, 1)
        self.assertNotIn("\x1b", output)
        self.assertNotIn("\x07", output)


GOOD = 'listen = "tcp://127.0.0.1:0"\nmodel = "fork"\nexec = ["cat"]\n'


def with_line(line):
    return lambda daemon: daemon.service("bad", GOOD + line + "\n")


def instead(key, line):
    text = "".join(line + "\n" if old.startswith(key) else old + "\n" for old in GOOD.splitlines())
    return lambda daemon: daemon.service("bad", text)


def not_executable(daemon):
    path = daemon.write("not-executable", "#!/bin/sh\n", 0o644)
    daemon.service("bad", listen="tcp://127.0.0.1:0", model="fork", exec=[path])


def duplicate(daemon):
    for name in ("bad", "worse"):
        daemon.service(name, listen=f"tcp://{own_loopback()}:7810", model="fork", exec=["cat"])


def wildcard_duplicate(daemon):
    for name, host in (("bad", "[::1]"), ("worse", "[0:0:0:0:0:0:0:1]")):
        daemon.service(name, listen=f"tcp://{host}:47810", model="fork", exec=["cat"])


def directory(daemon):
    os.mkdir(daemon.path("conf.d/x.toml"))


def large(daemon):
    daemon.service("bad", GOOD + "# filler\n" * (10 * 1024 * 1024 // 9))


def no_conf_dir(daemon):
    os.rename(daemon.conf_dir, daemon.conf_dir + ".away")


def world_writable(daemon):
    daemon.write("conf.d/bad.toml", GOOD, 0o666)

    def test_noexec(self):
        """A handler, or its interpreter, on a file system that is mounted with noexec is an error at load time."""
        if os.geteuid() != 0:
            self.skipTest("needs root to mount")
        daemon = self.prepare()
        folder = daemon.shared("mounted")
        daemon.service("a", listen="tcp://127.0.0.1:0", model="fork", exec=[folder + "/handler"])
        script = f"""mount -t tmpfs -o noexec,mode=755 none {folder} && cp /bin/true {folder}/handler &&
            exec {' '.join(daemon.command('--check'))}"""
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE,
                              env=daemon.environment, check=False)
        if "unshare" in done.stderr or "mount:" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'exec "{folder}/handler" is on a file system that is mounted with noexec', done.stderr)


class BadInput(SuperdCase):
    """Each row: a change to conf.d, and the text that the error must contain."""

    CASES = {
        "unknown key": (with_line("colour = 1"), r"bad\.toml:4:1: error: .*colour"),
        "wrong type": (with_line('nice = "seven"'), r"bad\.toml:4:8: error: "),
        "value out of range": (with_line("nice = 40"), r"bad\.toml:4:8: error: .*40"),
        "missing unit": (with_line("stop_timeout = 10"), r"bad\.toml:4:16: error: .*(unit|\"10s\")"),
        "missing unit in a string": (with_line('stop_timeout = "10"'), r"bad\.toml:4:16: error: .*(unit|\"10s\")"),
        "required key missing": (instead("exec", ""), r"bad\.toml.* error: .*exec"),
        "duplicate address": (duplicate, r"error: .*7810"),
        "duplicate address, spelt otherwise": (wildcard_duplicate, r"error: .*47810"),
        "duplicate key": (with_line('model = "fork"'), r"bad\.toml:4:\d+: error: .*model"),
        "no such user": (with_line('user = "no-such-user"'), r"bad\.toml:4:8: error: .*no-such-user"),
        "handler missing": (instead("exec", 'exec = ["/nonexistent/handler"]'),
                            r"bad\.toml:3:9: error: .*/nonexistent/handler"),
        "handler not executable": (not_executable, r"bad\.toml:\d+:\d+: error: .*(executable|Permission denied)"),
        "model and socket type": (lambda daemon: daemon.service("bad", GOOD.replace("tcp", "udp")
                                                                .replace("fork", "delayed")),
                                  r"bad\.toml:\d+:\d+: error: .*(delayed|datagram)"),
        "two socket types": (instead("listen", 'listen = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]'),
                             r"bad\.toml:1:\d+: error: "),
        "not UTF-8": (lambda daemon: daemon.service("bad", GOOD.encode() + b'description = "\xff\xfe"\n'),
                      r"bad\.toml.* error: .*UTF-8"),
        "a NUL byte": (lambda daemon: daemon.service("bad", GOOD.encode() + b'description = "a\0b"\n'),
                       r"bad\.toml.* error: "),
        "not TOML": (lambda daemon: daemon.service("bad", "listen = [\n"), r"bad\.toml:\d+:\d+: error: "),
        "a directory": (directory, r"x\.toml.* error: .*directory"),
        "10 MiB": (large, r"bad\.toml.* error: .*(large|big|long|size|MiB|bytes)"),
        "conf.d missing": (no_conf_dir, r"conf\.d.*No such file"),
        "a dangling link": (lambda daemon: os.symlink("/nonexistent", daemon.path("conf.d/bad.toml")),
                            r"bad\.toml.* error: .*No such file"),
        "writable by others": (world_writable, r"bad\.toml.* error: .*writ"),
        "a FIFO": (lambda daemon: os.mkfifo(daemon.path("conf.d/bad.toml")), r"bad\.toml.* error: "),
    }

    def cases(self):
        found = dict(self.CASES)
        if not self.root:
            found["another user"] = (with_line('user = "daemon"'), r"bad\.toml:4:8: error: ")
        return found

    def test_at_load(self):
        """Each bad input: --check and a start report it, and exit with 1."""
        for name, (spoil, pattern) in self.cases().items():
            with self.subTest(name):
                daemon = self.prepare()
                daemon.service("good", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
                spoil(daemon)
                status, output = daemon.check()
                self.assertEqual(status, 1, output)
                self.assertRegex(output, pattern)
                status, output = daemon.run("--log-format", "text")
                self.assertEqual(status, 1, output)
                self.assertRegex(output, pattern)

    def test_on_reload(self):
        """Each bad input on reload: the same error is logged, the old definition stays, the next reload is good."""
        daemon = self.superd({"good": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        uri = daemon.address("good")
        for name, (spoil, pattern) in self.cases().items():
            with self.subTest(name):
                since = daemon.mark()
                daemon.service("good", listen="tcp://127.0.0.1:0", model="fork", exec=["true"])
                spoil(daemon)
                daemon.reload(refused=True)
                messages = [r["message"] for r in daemon.find(lambda r: r["level"] in ("error", "err"), since)]
                self.assertTrue(any(re.search(pattern, message) for message in messages), messages)
                self.assertEqual(self.converse(uri), b"hello")
                if os.path.exists(daemon.conf_dir + ".away"):
                    os.rename(daemon.conf_dir + ".away", daemon.conf_dir)
                for entry in os.listdir(daemon.conf_dir):
                    if entry == "x.toml":
                        os.rmdir(os.path.join(daemon.conf_dir, entry))
                    elif entry != "good.toml":
                        os.unlink(os.path.join(daemon.conf_dir, entry))
                daemon.service("good", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
                daemon.reload()


class BadInputAsUser(BadInput):
    as_user = "nobody"


class Program(SuperdCase):
    def test_version(self):
        """--version prints name and version and ends with 0."""
        status, output = self.prepare().run("--version")
        self.assertEqual(status, 0)
        self.assertRegex(output, r"^superd \d+\.\d+\.\d+")

    def test_wrong_usage(self):
        """Unknown options, missing values and stray words end with 2."""
        daemon = self.prepare()
        for words in (["--frobnicate"], ["--conf-dir"], ["stray"], ["--log-format", "xml"], ["--log-level", "loud"]):
            with self.subTest(words=words):
                done = subprocess.run([daemon.installation.superd, *words], env=daemon.environment, timeout=30,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      check=False)
                self.assertEqual(done.returncode, 2, done.stdout)

    def test_help(self):
        """--help shows the options and exits with 0."""
        status, output = self.prepare().run("--help")
        self.assertEqual(status, 0)
        for option in ("--config", "--conf-dir", "--log-format", "--log-level", "--check", "--daemon",
                       "--pid-file"):
            self.assertIn(option, output)

    def test_conf_dir_alone_is_enough(self):
        """--conf-dir without any other file or option is enough to run."""
        daemon = self.prepare()
        daemon.service("cat", listen=f"tcp://{own_loopback()}:7820", model="fork", exec=["cat"])
        process = subprocess.Popen([daemon.installation.superd, "--conf-dir", daemon.conf_dir],
                                   env={**daemon.environment, "XDG_RUNTIME_DIR": daemon.directory},
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.eventually(lambda: self.answers(f"tcp://{own_loopback()}:7820"), "serving")
        finally:
            process.terminate()
            self.assertEqual(process.wait(30), 0)

    def answers(self, uri):
        try:
            return self.converse(uri) == b"hello"
        except OSError:
            return False

    def test_daemon_and_pid_file(self):
        """--daemon --pid-file: the command returns 0 once it serves, the file holds the daemon's pid, TERM ends it
        and removes the file."""
        daemon = self.prepare()
        uri = f"tcp://{own_loopback()}:7821"
        daemon.service("cat", listen=uri, model="fork", exec=["cat"])
        pid_file = daemon.path("superd.pid")
        with open(daemon.path("output"), "wb") as output:
            done = subprocess.run(daemon.command("--daemon", "--pid-file",
                                                 pid_file), env=daemon.environment, stdin=subprocess.DEVNULL,
                                  stdout=output, stderr=output, timeout=60, check=False)
        self.assertEqual(done.returncode, 0)
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        try:
            self.assertEqual(self.converse(uri), b"hello")
            self.assertNotEqual(os.getsid(pid), os.getsid(0))
        finally:
            os.kill(pid, 15)
        ended, status = os.waitpid(pid, 0)  # it has become a child of this process, the subreaper
        self.assertEqual((ended, os.waitstatus_to_exitcode(status)), (pid, 0))
        self.assertFalse(os.path.exists(pid_file))

    def test_daemon_reports_a_bad_configuration(self):
        """--daemon with an error in the configuration ends with 1 and says so before it detaches."""
        daemon = self.prepare()
        daemon.service("bad", "listen = [\n")
        status, output = daemon.run("--daemon", "--pid-file", daemon.path("superd.pid"))
        self.assertEqual(status, 1)
        self.assertIn("bad.toml", output)
        self.assertFalse(os.path.exists(daemon.path("superd.pid")))
