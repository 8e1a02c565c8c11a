# SPDX-License-Identifier: MIT
"""The Debian package: its content, and its life in a fresh root, from installation to purge."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest

from harness import TestCase, connect, process, root
from harness.root import ENVIRONMENT, FOLDER, NO_PACKAGE, PACKAGE, SYMBOLS, field
from harness.wire import Reader


ROOT = pathlib.Path(__file__).parents[2]


@unittest.skipUnless(PACKAGE, NO_PACKAGE)
class Contents(TestCase):
    def test_everything_is_in_its_place_and_root_s(self):
        listing = subprocess.check_output(["dpkg-deb", "--contents", PACKAGE], text=True)
        files = {path: mode for mode, path in re.findall(r"^(\S+ \S+) .* \./(\S*?)/?$", listing, re.MULTILINE)}
        for path in ["etc/superd/conf.d", "etc/superd/superd.toml", "usr/lib/systemd/system/superd.service",
                     "usr/bin/superctl", "usr/lib/systemd/user/superd.service", "usr/libexec/superd/superd-echo",
                     "usr/libexec/superd/superd-exec", "usr/libexec/superd/superd-hold",
                     "usr/libexec/superd/superd-launch", "usr/libexec/superd/superd-tls",
                     "usr/libexec/superd/superd-warm", "usr/sbin/superd",
                     "usr/share/bash-completion/completions/superctl", "usr/share/doc/superd/changelog.gz",
                     "usr/share/doc/superd/CHANGELOG.md.gz", "usr/share/doc/superd/copyright",
                     "usr/share/doc/superd/examples/hardening.conf",
                     "usr/share/fish/vendor_completions.d/superctl.fish",
                     "usr/share/man/man1/superctl.1.gz", "usr/share/man/man5/superd.toml.5.gz",
                     "usr/share/man/man7/superd-worker.7.gz", "usr/share/man/man8/superd.8.gz",
                     "usr/libexec/superd/superd-proxy", "usr/share/man/man8/superd-proxy.8.gz",
                     "usr/libexec/superd/superd-status", "usr/share/man/man8/superd-status.8.gz",
                     "usr/share/superd/conf.d/echo.toml", "usr/share/superd/recipes/rsync.toml",
                     "usr/share/zsh/vendor-completions/_superctl"]:
            self.assertIn(path, files)
        self.assertEqual([path for path, mode in files.items()
                          if not mode.endswith(" root/root") or "w" in (mode[5], mode[8])], [])
        self.assertEqual([path for path in files if path.startswith("etc/superd/conf.d/")], [], "opens a service")
        for name in "superd-exec", "superd-launch", "superd-tls", "superd-warm":
            self.assertTrue(files["usr/libexec/superd/" + name].startswith("-rwx--x--x"), "a parked process is dumpable")

    def test_it_depends_on_the_libraries_that_it_is_linked_with(self):
        self.assertRegex(field("Depends"), r"libc6 \(.*libsystemd0 \(")


@unittest.skipUnless(PACKAGE, NO_PACKAGE)
class Quality(TestCase):
    def test_lintian_finds_no_error_and_nothing_to_warn_about(self):
        if not shutil.which("lintian"):
            self.skipTest("needs the package lintian")
        done = subprocess.run(["lintian", "--fail-on", "error,warning", PACKAGE, SYMBOLS], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT)
        self.assertEqual((done.returncode, re.findall(r"^[EW]: .*", done.stdout, re.MULTILINE)), (0, []), done.stdout)

    def test_there_are_symbols_for_each_program(self):
        listing = subprocess.check_output(["dpkg-deb", "--contents", SYMBOLS], text=True)
        self.assertEqual(field("Depends", SYMBOLS), f"superd (= {field('Version')})")
        with tempfile.TemporaryDirectory(prefix="superd-symbols-") as folder:
            subprocess.run(["dpkg-deb", "--extract", PACKAGE, folder], check=True)
            programs = [path for path in pathlib.Path(folder, "usr").rglob("*")
                        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF"]
            self.assertGreater(len(programs), 10)
            for program in programs:
                notes = subprocess.check_output(["readelf", "--wide", "--notes", "--sections", program], text=True)
                self.assertNotIn(".debug_info", notes, program)
                identity = re.search(r"Build ID: (\w\w)(\w+)", notes)
                self.assertIn(f"/.build-id/{identity[1]}/{identity[2]}.debug", listing, program)

    def test_the_version_comes_from_one_place(self):
        superd = subprocess.check_output([FOLDER / "sbin/superd", "--version"], text=True)
        self.assertEqual(superd.split()[-1], field("Version"))
        self.assertIn(f"VERSION {field('Version')} ", (ROOT / "CMakeLists.txt").read_text())
        repeated = subprocess.run(["grep", "-rnF", "--include=*.toml", "--include=*.in", "--include=*.service",
                                   "--include=CMakeLists.txt", field("Version"), ROOT / "superd", ROOT / "services",
                                   ROOT / "contrib", ROOT / "conf.d"], text=True, check=False, stdout=subprocess.PIPE)
        self.assertEqual(repeated.stdout, "", "it is written down again")

    def test_packed_again_elsewhere_at_another_time_and_under_another_umask_it_is_the_same(self):
        """tests/package/reproducible shows the same of what is compiled."""
        with tempfile.TemporaryDirectory(prefix="superd-again-") as folder:
            environment = os.environ | {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "HOME": folder}
            environment.pop("SOURCE_DATE_EPOCH", None)
            done = subprocess.run(["sh", "-c", 'umask 077; exec cpack -G DEB --config "$1" -B "$2"', "sh",
                                   FOLDER / "CPackConfig.cmake", folder], text=True, check=False, cwd=FOLDER,
                                  env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)
            for package in (PACKAGE, SYMBOLS):
                self.assertEqual(hashlib.sha256(pathlib.Path(folder, package.name).read_bytes()).hexdigest(),
                                 hashlib.sha256(package.read_bytes()).hexdigest(), package.name)


def snapshot(tree):
    """Everything that is there: paths and kinds. Not what dpkg and apt write at any change."""
    passing = re.compile(r"var/lib/dpkg/(status|available|diversions|statoverride|lock|triggers/).*|var/log/.*|proc/.*")
    found = {}
    for folder, folders, files in os.walk(tree):
        for name in folders + files:
            path = os.path.join(folder, name)
            short = os.path.relpath(path, tree)
            if passing.fullmatch(short):
                continue
            status = os.lstat(path)
            content = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
            found[short] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


# The user superd-tls stays, as Debian's users do.
ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid")


@unittest.skipUnless(PACKAGE, NO_PACKAGE)
class FreshRoot(TestCase):
    def setUp(self):
        self.log = None
        archive = root.archive()
        folder = tempfile.mkdtemp(prefix="superd-root-")
        self.addCleanup(shutil.rmtree, folder)
        self.root = pathlib.Path(folder, "root")
        self.root.mkdir()
        root.run("tar", "--extract", "--file", archive, "--directory", self.root)

    def inside(self, *command):
        done = subprocess.run(["chroot", self.root, *command], text=True, check=False, env=ENVIRONMENT,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def dpkg(self, *words):
        """dpkg acts on the root from inside; the package comes by a copy that does not stay."""
        if words[0] == "--install":
            shutil.copy(PACKAGE, self.root / "superd.deb")
            words += ("/superd.deb",)
        else:
            words += ("superd",)
        said = self.inside("dpkg", *words)
        (self.root / "superd.deb").unlink(missing_ok=True)
        return said

    def records(self, message):
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [record for record in found if record["message"].startswith(message)]

    def start(self):
        """superd in the root, with its own processes and /proc."""
        self.log = self.root.parent / "log"
        with open(self.log, "wb") as log:
            self.superd = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc",
                 "chroot", self.root, "/usr/sbin/superd", "--log-format", "json"],
                env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(self.superd.wait)
        self.addCleanup(self.superd.kill)
        self.eventually(lambda: self.records("ready") or self.superd.poll() is not None, "superd is ready")
        self.assertIsNone(self.superd.poll(), self.log.read_text())

    def signal(self, number):
        (child,) = process.children(self.superd.pid)
        os.kill(child.pid, number)

    def reload(self):
        """By superctl if it knows how; the signal is the other way."""
        if re.search(r"^  reload ", self.inside("superctl", "--help"), re.MULTILINE):
            self.inside("superctl", "reload")
        else:
            self.signal(signal.SIGHUP)
        self.eventually(lambda: self.records("reload"), "the reload is done")
        self.assertTrue(self.records("reloaded"), self.log.read_text())

    def address(self, service):
        (record,) = [record for record in self.records("listening on") if record["service"] == service]
        return record["address"]

    def changes(self, before):
        """What is not as it was."""
        after = snapshot(self.root)
        return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}

    def test_it_is_installed_serves_and_goes_without_a_trace_but_for_edited_files(self):
        before = snapshot(self.root)
        settings = self.root / "etc/superd/superd.toml"
        definitions = self.root / "etc/superd/conf.d"
        enabled = "etc/systemd/system/multi-user.target.wants/superd.service"

        self.dpkg("--install")
        # /lib is a link; which of the two is named depends on deb-systemd-helper's version.
        self.assertRegex(os.readlink(self.root / enabled), r"\A(/usr)?/lib/systemd/system/superd\.service\Z")
        self.inside("superctl", "check")
        self.start()
        self.assertEqual(self.records("listening on"), [], "a service that nobody asked for")

        (definitions / "hello.toml").write_text('listen = "tcp://127.0.0.1:0"\nmodel = "fork"\n'
                                                'exec = ["sh", "-c", "echo hello $TCPREMOTEIP"]\n')
        shipped = (self.root / "usr/share/superd/conf.d/echo-pool.toml").read_text()
        (definitions / "echo.toml").write_text(re.sub(r":7\d\d\d\b", ":0", shipped))
        self.reload()
        with connect(self.address("hello")) as client:
            self.assertEqual(Reader(client).line(), b"hello 127.0.0.1")
        with connect(self.address("echo")) as client:
            client.sendall(b"again\n")
            self.assertEqual(Reader(client).line(), b"again")
        self.signal(signal.SIGTERM)
        self.assertEqual(self.superd.wait(60), 0, self.log.read_text())

        # Edited files stay through everything: a newer package, removal, an installation after that.
        settings.write_text(settings.read_text() + "# edited\n")
        self.dpkg("--install")
        self.assertTrue(settings.read_text().endswith("# edited\n"))
        mine = {"etc/superd", "etc/superd/conf.d", "etc/superd/conf.d/hello.toml", "etc/superd/conf.d/echo.toml"}
        self.dpkg("--remove")
        left = {path for path in self.changes(before) if not path.startswith(("etc/systemd/", "var/lib/", "run/", *ACCOUNTS))}
        self.assertEqual(left, mine | {"etc/superd/superd.toml"})
        self.dpkg("--install")
        self.assertTrue(settings.read_text().endswith("# edited\n"))

        self.dpkg("--purge")
        self.assertEqual({path for path in self.changes(before) if not path.startswith(ACCOUNTS)}, mine)

        # If there are no definitions, nothing is left.
        for file in definitions.iterdir():
            file.unlink()
        self.dpkg("--install")
        self.dpkg("--purge")
        self.assertEqual({path for path in self.changes(before) if not path.startswith(ACCOUNTS)}, set())
