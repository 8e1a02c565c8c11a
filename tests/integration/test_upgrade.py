# SPDX-License-Identifier: MIT
"""Upgrade in place: another superd goes on in the same process and nobody notices."""

import json
import os
import select
import socket
import subprocess
import time

from harness import Reader, exchange
from upgrading import Session, UpgradeCase


class Upgrades(UpgradeCase):
    def test_limits_hold(self):
        """instances, per_source, rate, a pause and max_lifetime hold across upgrades, and a client held for its
        source's turn is served after one."""
        daemon = self.superd({
            "few": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], limits={"instances": 2}),
            "each": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], limits={"per_source": 1,
                                                                                         "wait_timeout": "1m"}),
            "rated": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                          limits={"rate": "1/d", "burst": 1}),
            "paused": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
            "aged": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], max_lifetime="1s"),
        })
        full = [self.client(daemon.address("few")) for _ in range(3)]
        own, held = self.client(daemon.address("each")), self.client(daemon.address("each"))
        rated = [self.client(daemon.address("rated")) for _ in range(2)]
        born = time.monotonic()
        aged = self.client(daemon.address("aged"))
        self.superctl(daemon, "pause", "paused")
        waits = self.client(daemon.address("paused"))
        self.eventually(lambda: daemon.status()["each"]["held"] == 1, "a client is held")
        for _ in range(3):
            self.upgrade(daemon)
        status = daemon.status()
        self.assertEqual([status[name]["handlers"] for name in ("few", "each", "rated", "paused")], [2, 1, 1, 0])
        self.assertEqual(status["each"]["held"], 1)
        self.assertEqual(status["paused"]["state"], "paused")
        self.assertEqual(status["rated"]["state"], "paused")
        for sock in (full[2], held, rated[1], waits):
            sock.sendall(b"x\n")
        full[0].close()
        own.close()
        self.superctl(daemon, "resume", "paused")
        for sock in (full[2], held, waits):
            self.assertEqual(Reader(sock).line(), b"x")
        self.assertEqual(daemon.status()["rated"]["accepted"], 1)
        for _ in range(200):  # an age that began anew each time would not be reached
            if select.select([aged], [], [], 0)[0]:
                break
            self.upgrade(daemon)
        aged.setblocking(False)
        self.assertEqual(aged.recv(1), b"")
        self.assertGreaterEqual(time.monotonic() - born, 1)

    def test_former_definitions(self):
        """Handlers of a changed and of a removed service go on under the definition they began with, over an upgrade;
        the definitions in force are kept, whatever the files say, until the next reload."""
        daemon = self.superd({"changed": dict(listen="tcp://127.0.0.1:0", model="iterative", exec=["cat"]),
                              "removed": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        changed, removed = (Session(self.client(daemon.address(name))) for name in ("changed", "removed"))
        for session in (changed, removed):
            session.goes_on(self, b"before")
        daemon.service("changed", listen="tcp://127.0.0.1:0", model="fork", exec=["sh", "-c", "echo new"])
        daemon.remove("removed")
        daemon.reload()
        daemon.service("changed", "this is no definition")
        self.upgrade(daemon)
        for session in (changed, removed):
            session.goes_on(self, b"after")
        self.assertEqual(exchange(daemon.address("changed")), b"new\n")
        daemon.reload(refused=True)
        removed.sock.close()
        daemon.service("changed", listen="tcp://127.0.0.1:0", model="fork", exec=["sh", "-c", "echo newer"])
        daemon.reload()
        self.assertEqual(exchange(daemon.address("changed")), b"newer\n")
        changed.sock.close()

    def test_sockets_stay(self):
        """A socket that the service manager passed, one that no service has named yet, and the file of a unix socket
        outlive upgrades; the file goes when superd does."""
        passed = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for sock in passed:
            self.addCleanup(sock.close)
        address = [f"tcp://127.0.0.1:{sock.getsockname()[1]}" for sock in passed]
        hello = dict(model="fork", exec=["sh", "-c", "echo hello"])
        daemon = self.prepare(sockets=[("now", passed[0]), ("later", passed[1])])
        path = daemon.path("socket")
        daemon.service("now", listen="systemd:now", **hello)
        daemon.service("file", listen="unix://" + path, **hello)
        daemon.start()
        inode = os.stat(path).st_ino
        for _ in range(2):
            self.upgrade(daemon)
        for uri in (address[0], "unix://" + path):
            self.assertEqual(exchange(uri), b"hello\n")
        self.assertEqual(os.stat(path).st_ino, inode)
        daemon.service("later", listen="systemd:later", **hello)
        daemon.reload()
        self.assertEqual(exchange(address[1]), b"hello\n")
        daemon.stop()
        self.assertFalse(os.path.exists(path))

    def test_counters_go_on(self):
        """Every counter, gauge and histogram of superctl metrics is after an upgrade what it was before, but for the
        one that counts upgrades; one that was refused is counted as such."""
        cat = dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon = self.superd({"cat": cat, "bad": cat | {"exec": ["sh", "-c", "exit 1"]},
                              "denied": cat | {"access": {"deny": ["127.0.0.1"]}}})
        session = Session(self.client(daemon.address("cat")))
        session.goes_on(self, b"there")
        for name in ("cat", "bad", "denied"):
            exchange(daemon.address(name))
        daemon.reload()
        daemon.service("new", "no definition")
        daemon.reload(refused=True)
        undo = self.replace(daemon, None)
        self.refused(daemon, "No such file")
        undo()

        def samples():
            found = self.superctl(daemon, "metrics").splitlines()
            return dict(line.rsplit(" ", 1) for line in found if not line.startswith("#"))

        self.eventually(lambda: samples()["superd_child_processes"] == "1", "handlers have ended")
        before = samples()
        for name, count in {'superd_upgrades_total{result="refused"}': "1", 'superd_reloads_total{result="done"}': "1",
                            'superd_reloads_total{result="refused"}': "1", 'superd_exits_total{service="bad",'
                            'kind="failed"}': "1", 'superd_refused_total{service="denied",reason="denied"}': "1",
                            'superd_handler_seconds_count{service="cat"}': "1"}.items():
            self.assertEqual(before[name], count, name)
        for _ in range(2):
            self.upgrade(daemon)
        self.assertEqual(samples(), before | {'superd_upgrades_total{result="done"}': "2"})
        session.goes_on(self, b"still there")

    def test_superctl(self):
        """superctl upgrade returns once the next superd answers; counts of superd itself stay, and so does its
        control socket."""
        daemon = self.superd({"echo": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        daemon.reload()
        before = json.loads(self.superctl(daemon, "--json", "status"))["superd"]
        inode = os.stat(daemon.control).st_ino
        self.assertIn(f"superd (pid {daemon.pid}) is ", self.superctl(daemon, "upgrade"))
        status = json.loads(self.superctl(daemon, "--json", "status"))["superd"]
        self.assertEqual((status["pid"], status["started"], status["reloads"]["done"], status["upgrades"]["done"]),
                         (daemon.pid, before["started"], 1, 1))
        self.assertEqual(status["open_descriptors"], before["open_descriptors"])
        self.assertEqual(os.stat(daemon.control).st_ino, inode)
        self.replace(daemon, None)
        self.assertRegex(self.superctl(daemon, "upgrade", status=1), "refused.*No such file")


class Refusals(UpgradeCase):
    def test_bad_programs(self):
        """A program that is missing, is text, crashes, fails, or says yes without having read the state: refused
        with the reason, and nobody is lost."""
        daemon = self.superd({"echo": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        session = Session(self.client(daemon.address("echo")))
        bad = [
            (None, "No such file"),
            (b"just text\n", "Exec format error"),
            (b"#!/bin/sh\nkill -SEGV $$\n", "killed by SIGSEGV"),
            (b"#!/bin/sh\necho out of luck >&2\nexit 3\n", "status 3: out of luck"),
            (b"#!/bin/sh\necho superd can take over \"$@\"\n", "does not take the state over"),
        ]
        for text, why in bad:
            with self.subTest(why):
                undo = self.replace(daemon, text)
                self.refused(daemon, why)
                undo()
                session.goes_on(self, b"there")
        self.upgrade(daemon)
        session.goes_on(self, b"there")
        self.assertEqual(daemon.status()["echo"]["handlers"], 1)

    def test_other_version(self):
        """A state of another version, older or newer, is refused by name of both, and the program that was to take it
        over has done nothing."""
        daemon = self.superd({"echo": dict(listen="unix://" + self.prepare().path("s"), model="fork", exec=["cat"])})
        for version in (b"0", b"2", b"900"):
            done = self.offer(daemon, b'{"state":[],"superd":%s}' % version)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"state of version {version.decode()}, superd .* reads version \d")
        self.assertIn("not the state of a superd", self.offer(daemon, b"\x00\xff").stderr)
        self.assertIn("cannot be read", self.offer(daemon, b'{"state":[1],"superd":1}').stderr)
        self.assertIn("not sealed", self.offer(daemon, b'{"state":[],"superd":1}', seals=0).stderr)

    def offer(self, daemon, text, seals=0xf):
        import fcntl  # pylint: disable=import-outside-toplevel
        state = os.memfd_create("state", os.MFD_ALLOW_SEALING)
        try:
            os.write(state, text)
            if seals:
                fcntl.fcntl(state, 1033, seals)  # F_ADD_SEALS
            return subprocess.run(daemon.command("--take-over", str(state), "--prove"), pass_fds=[state], text=True,
                                  capture_output=True, timeout=60, env=daemon.environment, check=False)
        finally:
            os.close(state)
