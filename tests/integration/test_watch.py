# SPDX-License-Identifier: MIT
"""superd --watch: a reload by itself when files change."""

import os
import shutil
import time

from harness import exchange
from harness.manager import Manager
from securing import TlsCase
from upgrading import UpgradeCase

NO_WATCHES = ["strace", "-o", "/dev/null", "-e", "trace=inotify_add_watch", "-e",
              "inject=inotify_add_watch:error=ENOSPC", "-DDD"]


BROKEN = {"listen": "tcp://127.0.0.1:0", "model": "frok", "exec": ["cat"]}


def says(word):
    """A service that says a word."""
    return {"listen": "tcp://127.0.0.1:0", "model": "fork", "exec": ["echo", word]}


class Watch(UpgradeCase):
    def watching(self, services, **options):
        options.setdefault("arguments", ["--watch"])
        daemon = self.prepare(**options)
        daemon.arguments += ["--control", daemon.control]
        for name, keys in services.items():
            daemon.service(name, **keys)
        return daemon.start()

    def reloads(self, daemon, act, refused=False):
        """Does something, and waits for the reload that comes of it. Returns its record."""
        since = daemon.mark()
        act()
        record = daemon.wait_for(lambda r: r["message"].startswith(("reloaded", "reload refused")), since=since)
        self.assertEqual(record["message"].startswith("reload refused"), refused, record)
        return record

    def said(self, daemon, name="a"):
        return exchange(daemon.addresses(name)[-1]).decode().strip()

    def ends_of_reloads(self, daemon, since):
        return daemon.find(lambda r: r["message"].startswith(("reloaded", "reload refused")), since)

    def test_definitions(self):
        """A definition written, renamed over, added or removed, and a drop-in, are in force without a word."""
        daemon = self.watching({"a": says("1")})
        self.assertEqual(self.said(daemon), "1")

        def rewrite():
            with open(daemon.path("conf.d/a.toml"), "w", encoding="ascii") as file:
                file.write("listen = 'tcp://127.0.0.1:0'\nmodel = 'fork'\n")
                file.flush()
                file.write("exec = ['echo', '2']\n")
        self.reloads(daemon, rewrite)
        self.assertEqual(self.said(daemon), "2")
        self.reloads(daemon, lambda: daemon.service("a", **says("3")))  # by rename(2)
        self.assertEqual(self.said(daemon), "3")

        def drop_in():
            os.mkdir(daemon.path("conf.d/a.toml.d"))
            daemon.write("conf.d/a.toml.d/x.toml", "exec = ['echo', '4']\n")
        self.reloads(daemon, drop_in)
        self.assertEqual(self.said(daemon), "4")
        self.reloads(daemon, lambda: daemon.write("conf.d/a.toml.d/x.toml", "exec = ['echo', '5']\n"))
        self.assertEqual(self.said(daemon), "5")
        self.reloads(daemon, lambda: daemon.service("b", **says("b")))
        self.assertEqual(self.said(daemon, "b"), "b")
        self.reloads(daemon, lambda: daemon.remove("b"))
        daemon.wait_for(message="remove", service="b")
        self.reloads(daemon, lambda: daemon.write("superd.toml", "[defaults.limits]\ninstances = 9\n"))

    def test_a_refusal(self):
        """It is told once, status shows it, and both are over once the file is right."""
        daemon = self.watching({"a": says("1")})
        since = daemon.mark()
        self.reloads(daemon, lambda: daemon.service("a", **BROKEN), refused=True)
        daemon.write("conf.d/a.toml~", "an editor's")
        time.sleep(1.5)  # thrice what a reload waits for
        self.assertEqual(len(self.ends_of_reloads(daemon, since)), 1)
        self.assertEqual(self.said(daemon), "1")
        self.assertRegex(self.superctl(daemon, "status"), "the last reload was refused: .*a.toml:2:9: error: model")
        self.reloads(daemon, lambda: daemon.service("a", **says("2")))
        self.assertEqual(self.said(daemon), "2")
        self.assertNotIn("refused:", self.superctl(daemon, "status"))

    def test_a_config_map(self):
        """A folder of links whose ..data is swapped, as a kubelet does it, changes all at once."""
        daemon = self.prepare(arguments=["--watch"])

        def version(number):
            os.mkdir(daemon.path(f"conf.d/..{number}"))
            daemon.service("a", **says(number))
            os.rename(daemon.path("conf.d/a.toml"), daemon.path(f"conf.d/..{number}/a.toml"))

        def swap(number):
            os.symlink(f"..{number}", daemon.path("conf.d/..data_tmp"))
            os.rename(daemon.path("conf.d/..data_tmp"), daemon.path("conf.d/..data"))
        version("1")
        swap("1")
        os.symlink("..data/a.toml", daemon.path("conf.d/a.toml"))
        daemon.start()
        self.assertEqual(self.said(daemon), "1")
        os.unlink(daemon.path("conf.d/a.toml"))
        version("2")
        os.symlink("..data/a.toml", daemon.path("conf.d/a.toml"))

        def both():
            swap("2")
            shutil.rmtree(daemon.path("conf.d/..1"))
        self.reloads(daemon, both)
        self.eventually(lambda: self.said(daemon) == "2", "the new version")

    def test_the_folder_goes_and_comes_back(self):
        """Without it the services stay, and with it they are read again."""
        daemon = self.watching({"a": says("1")})
        self.reloads(daemon, lambda: os.rename(daemon.conf_dir, daemon.path("aside")), refused=True)
        self.assertEqual(self.said(daemon), "1")

        def back():
            os.mkdir(daemon.path("new"), 0o755)
            daemon.write("new/a.toml", "listen = 'tcp://127.0.0.1:0'\nmodel = 'fork'\nexec = ['echo', '2']\n")
            os.rename(daemon.path("new"), daemon.conf_dir)
        self.reloads(daemon, back)
        self.assertEqual(self.said(daemon), "2")

    def test_files_that_are_never_quiet(self):
        """A file that is written all the time is loaded within 5 s and a little, and not each time."""
        daemon = self.watching({"a": says("1")})
        since, begun, writes = daemon.mark(), time.monotonic(), 0
        while not self.ends_of_reloads(daemon, since):
            writes += 1
            daemon.service("a", **says("1"), description=str(writes))
            time.sleep(0.05)
            self.assertLess(time.monotonic() - begun, 25)
        self.assertGreater(writes, 10)
        self.assertLessEqual(len(self.ends_of_reloads(daemon, since)), 2)

    def test_by_superd_toml(self):
        """watch = true begins with the reload that reads it, and ends with one that does not."""
        daemon = self.watching({"a": says("1")}, arguments=[])
        daemon.write("superd.toml", "watch = true\n")
        daemon.reload()
        self.reloads(daemon, lambda: daemon.service("a", **says("2")))
        self.assertEqual(self.said(daemon), "2")
        self.reloads(daemon, lambda: daemon.write("superd.toml", ""))
        since = daemon.mark()
        daemon.service("a", **says("3"))
        time.sleep(1)
        self.assertEqual(self.ends_of_reloads(daemon, since), [])
        daemon.write("superd.toml", "watch = 1\n")
        daemon.reload(refused=True)

    def test_upgrade(self):
        """A successor goes on watching, knows what has been refused, and loads what has changed meanwhile."""
        daemon = self.watching({"a": says("1")}, config="watch = true\n", arguments=[])
        self.reloads(daemon, lambda: daemon.service("a", **BROKEN), refused=True)
        since = daemon.mark()
        self.upgrade(daemon)
        time.sleep(1)
        self.assertEqual(self.ends_of_reloads(daemon, since), [])
        self.assertIn("the last reload was refused: ", self.superctl(daemon, "status"))
        self.reloads(daemon, lambda: daemon.service("a", **says("2")))

        def change_and_upgrade():
            daemon.service("a", **says("3"))
            self.upgrade(daemon)
        since = daemon.mark()
        change_and_upgrade()
        daemon.wait_for(message="reloaded", since=since)
        self.assertEqual(self.said(daemon), "3")

    def test_the_manager_is_told(self):
        """As of any reload: RELOADING=1, then READY=1 with what came of it."""
        manager = Manager()
        self.addCleanup(manager.stop)
        daemon = self.watching({"a": says("1")}, environment=manager.environment)
        before = len(manager.said)
        self.reloads(daemon, lambda: daemon.service("a", **BROKEN), refused=True)
        self.eventually(lambda: any("refused" in m.get("STATUS", "") and "READY" in m for m in manager.said[before:]),
                        "what came of it")
        self.assertTrue(any("RELOADING" in m and "MONOTONIC_USEC" in m for m in manager.said[before:]))

    def test_without_inotify(self):
        """Where there is no room for a watch it says so, once, and looks every 5 s."""
        if shutil.which("strace") is None:
            self.skipTest("strace is not here: package strace")
        daemon = self.watching({"a": says("1")}, prefix=NO_WATCHES, environment={"ASAN_OPTIONS": "detect_leaks=0"})
        told = daemon.wait_for(message="watch: inotify does not tell of ")
        self.assertIn("max_user_watches", told["message"])
        self.reloads(daemon, lambda: daemon.service("a", **says("2")))
        self.assertEqual(self.said(daemon), "2")
        self.assertEqual(len(daemon.find(lambda r: r["message"].startswith("watch: "))), 1)


class WatchedCertificate(TlsCase):
    def test_a_certificate_changes(self):
        """A renewed certificate is served without a word; the session that is there goes on."""
        daemon = self.prepare(arguments=["--watch"])

        def put(pair):
            for file, target in zip(pair, ("cert.pem", "cert.key")):
                with open(file, "rb") as source:
                    daemon.write(target, source.read(), 0o600)
        put(self.pair)
        self.define(daemon, {"pair": (daemon.path("cert.pem"), daemon.path("cert.key"))})
        daemon.start()
        before = self.secure(daemon)
        self.says(before, b"before")
        since = daemon.mark()
        put(self.authority.issue("renewed", ["localhost", "renewed.example"]))
        daemon.wait_for(message="reloaded", since=since)
        names = self.secure(daemon).getpeercert()["subjectAltName"]
        self.assertIn(("DNS", "renewed.example"), names)
        self.says(before, b"after")
