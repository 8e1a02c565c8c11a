# SPDX-License-Identifier: MIT
"""Upgrade in place: another superd continues in the same process and no client notices."""

import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

from harness import Reader, connect, exchange, process
from upgrading import Session, UpgradeCase


class Upgrades(UpgradeCase):
    def test_limits_hold(self):
        """instances, per_source, rate, a pause, a drain and max_lifetime hold across upgrades, and a client held for
        its source's turn is served after one."""
        daemon = self.superd({
            "few": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], limits={"instances": 2}),
            "each": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], limits={"per_source": 1,
                                                                                         "wait_timeout": "1m"}),
            "rated": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                          limits={"rate": "1/d", "burst": 1}),
            "paused": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
            "drained": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
            "aged": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], max_lifetime="1s"),
        })
        full = [self.client(daemon.address("few")) for _ in range(3)]
        own, held = self.client(daemon.address("each")), self.client(daemon.address("each"))
        rated = [self.client(daemon.address("rated")) for _ in range(2)]
        born = time.monotonic()
        aged = self.client(daemon.address("aged"))
        leaving = Session(self.client(daemon.address("drained")))
        leaving.goes_on(self, b"there")
        self.superctl(daemon, "pause", "paused")
        self.superctl(daemon, "drain", "drained", "--no-wait")
        waits, stays_out = self.client(daemon.address("paused")), self.client(daemon.address("drained"))
        self.eventually(lambda: daemon.status()["each"]["held"] == 1, "a client is held")
        for _ in range(3):
            self.upgrade(daemon)
        status = daemon.status()
        self.assertEqual([status[name]["handlers"] for name in ("few", "each", "rated", "paused", "drained")],
                         [2, 1, 1, 0, 1])
        self.assertEqual(status["each"]["held"], 1)
        self.assertEqual(status["paused"]["state"], "paused")
        self.assertEqual(status["rated"]["state"], "paused")
        self.assertEqual(status["drained"]["state"], "draining")
        leaving.goes_on(self, b"still there")
        for sock in (full[2], held, rated[1], waits, stays_out):
            sock.sendall(b"x\n")
        full[0].close()
        own.close()
        self.superctl(daemon, "resume", "paused")
        self.superctl(daemon, "resume", "drained")
        for sock in (full[2], held, waits, stays_out):
            self.assertEqual(Reader(sock).line(), b"x")
        self.assertEqual(daemon.status()["rated"]["accepted"], 1)
        for _ in range(200):  # an age that restarted each time would not be reached
            if select.select([aged], [], [], 0)[0]:
                break
            self.upgrade(daemon)
        aged.setblocking(False)
        self.assertEqual(aged.recv(1), b"")
        self.assertGreaterEqual(time.monotonic() - born, 1)

    def test_handlers_that_have_closed_their_sockets(self):
        """Handlers of datagrams and of a session that have answered and closed everything, but not ended: an upgrade
        knows them, and counts their ends."""
        closes = ["sh", "-c", "dd bs=64k count=1 >/dev/null 2>&1; echo answer; exec <&- >&-; until [ -e \"$0\" ]; do sleep 0.05; done"]
        udp = dict(listen="udp://127.0.0.1:0", model="fork")
        daemon = self.prepare()
        closes.append(daemon.path("go"))
        daemon.service("one", exec=closes, **udp)
        daemon.service("session", exec=closes, **udp, datagram={"session": "peer"})
        daemon.start()
        for name in "one", "session":
            with connect(daemon.address(name)) as sock:
                sock.send(b"hello\n")
                self.assertEqual(sock.recv(100), b"answer\n")
        closed = self.eventually(lambda: [child for child in daemon.children() if child.name == "sh" and not
                                          {"0", "1"} & set(os.listdir(f"/proc/{child.pid}/fd"))], "both have closed")
        for _ in range(2):
            self.upgrade(daemon)
        daemon.write("go", "")
        self.eventually(lambda: all(service["handlers"] == 0 for service in daemon.status().values()), "they have ended")
        self.assertEqual([daemon.status()[name]["accepted"] for name in ("one", "session")], [1, 1], closed)

    def test_former_definitions(self):
        """Handlers of a changed and of a removed service continue under the definition that they began with, over an
        upgrade; the definitions in force are kept, whatever the files say, until the next reload."""
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
        """After an upgrade, every counter, gauge and histogram of superctl metrics is as before, except the one that
        counts upgrades; a refused upgrade is counted as such."""
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
        before = daemon.ask("status")["superd"]
        inode = os.stat(daemon.control).st_ino
        self.assertIn(f"superd (pid {daemon.pid}) is ", self.superctl(daemon, "upgrade"))
        status = daemon.ask("status")["superd"]
        self.assertEqual((status["pid"], status["started"], status["reloads"]["done"], status["upgrades"]["done"]),
                         (daemon.pid, before["started"], 1, 1))
        self.assertEqual(status["open_descriptors"], before["open_descriptors"])
        self.assertEqual(os.stat(daemon.control).st_ino, inode)
        self.replace(daemon, None)
        self.assertRegex(self.superctl(daemon, "upgrade", status=1), "refused.*No such file")


    def test_superctl_drain(self):
        """superctl drain waits for the last handler over upgrades."""
        daemon = self.superd({"echo": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        session = Session(self.client(daemon.address("echo")))
        session.goes_on(self, b"before")
        drain = subprocess.Popen([self.SUPERCTL, "--control", daemon.control, "drain", "echo"], text=True,
                                 env=daemon.environment, stdout=subprocess.PIPE)
        self.addCleanup(drain.communicate)
        self.addCleanup(drain.kill)
        self.assertEqual(drain.stdout.readline(), "echo: draining, 1 handler to finish\n")
        for _ in range(5):
            self.upgrade(daemon)
        session.goes_on(self, b"after")
        self.assertIsNone(drain.poll())
        session.sock.close()
        self.assertEqual(drain.stdout.read(), "echo: drained; clients wait until it is resumed\n")
        self.assertEqual(drain.wait(), 0)

    def test_superctl_asks_again(self):
        """If a connection is cut without an answer, as by an upgrade, superctl asks again, except for what must not be
        done twice."""
        daemon = self.prepare()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(daemon.control)
            listener.listen()
            asked = []

            def cut_twice():
                for number in range(3):
                    sock, _ = listener.accept()
                    with sock:
                        asked.append(Reader(sock).line())
                        if number == 2:
                            sock.sendall(b'{"version": 1, "ok": true, "services": []}\n')

            def cut_once():
                with listener.accept()[0] as sock:
                    Reader(sock).line()

            thread = threading.Thread(target=cut_twice)
            thread.start()
            self.superctl(daemon, "list")
            thread.join()
            self.assertEqual((len(asked), len(set(asked))), (3, 1))
            for verb in (["kill", "echo"], ["stop"], ["upgrade"]):
                thread = threading.Thread(target=cut_once)
                thread.start()
                self.assertIn("without an answer", self.superctl(daemon, *verb, status=1))
                thread.join()


class Backoffs(UpgradeCase):
    def test_an_address_is_tried_again_in_its_time(self):
        """superd keeps trying to get a taken address while upgrades follow each other faster than the pause between
        two tries; once the address is free, superd gets it."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        uri = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        daemon = self.superd({"late": dict(listen=uri, model="fork", exec=["sh", "-c", "echo hello"])})
        tries = lambda: len(daemon.find(lambda record: record["message"].startswith("still waiting for")))
        for _ in range(300):
            if tries() >= 3:
                break
            self.upgrade(daemon)
        self.assertGreaterEqual(tries(), 3)
        taken.close()
        self.assertEqual(daemon.address("late"), uri)
        self.assertEqual(exchange(uri), b"hello\n")

    def test_handlers_that_fail(self):
        """A service that is slowed down because its handlers fail as they start stays so, tries again in due time, and
        is reported once; when a handler works again, that is also reported once."""
        daemon = self.prepare()
        interpreter = daemon.path("interpreter")
        os.symlink("/bin/sh", interpreter)
        daemon.service("bad", listen="tcp://127.0.0.1:0", model="iterative",  # tries them one by one
                       exec=[daemon.script("handler", f"#!{interpreter}\necho hello\n")])
        daemon.start()
        os.unlink(interpreter)
        uri = daemon.address("bad")
        failed = lambda: int(daemon.status()["bad"]["spawn_failures"])
        said = lambda text: len(daemon.find(lambda record: record["message"].startswith(text)))
        while failed() < 8:  # the pause has doubled until it does no more
            self.assertEqual(exchange(uri), b"")
        waiting, began = [self.client(uri) for _ in range(8)], time.monotonic()
        for _ in range(300):
            if failed() >= 10:
                break
            self.upgrade(daemon)
        self.assertGreaterEqual(failed(), 10, "nobody's turn has come")
        self.assertLess(failed(), 9 + (time.monotonic() - began) / 0.4, "the pause has not been kept")
        waiting.append(self.client(uri))
        os.symlink("/bin/sh", interpreter)
        self.assertIn(b"hello\n", [Reader(client).rest() for client in waiting])
        daemon.wait_for(message="handlers start again")
        self.upgrade(daemon)
        self.assertEqual(exchange(uri), b"hello\n")
        self.assertEqual((said("handlers fail as soon as they start"), said("handlers start again")), (1, 1))

    def test_refusals_are_logged_no_more_often(self):
        """Of many refusals, five have their own line, also over an upgrade; the rest are summed up after ten
        seconds."""
        daemon = self.superd({"shut": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                                           access={"deny": ["127.0.0.1"]})})
        uri = daemon.address("shut")
        began = time.monotonic()
        for first in (True, False):
            for _ in range(6):
                with self.client(uri) as client:
                    self.assertEqual(client.recv(1), b"")
            if first:
                self.upgrade(daemon)
        if time.monotonic() - began > 9:
            self.skipTest("an upgrade takes so long here that the ten seconds are over")
        daemon.wait_for(message="7 more refused: denied")
        self.assertEqual(len(daemon.find(lambda record: record["message"].endswith(": refused: denied"))), 5)


class Refusals(UpgradeCase):
    def test_bad_programs(self):
        """A program that is missing, is text, crashes, fails, or says yes without having read the state: refused with
        the reason, and no client is lost."""
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
        self.assertIn("\nthe last upgrade was refused: ", self.superctl(daemon, "status"))
        self.upgrade(daemon)
        self.assertNotIn("was refused", self.superctl(daemon, "status"))
        session.goes_on(self, b"there")
        self.assertEqual(daemon.status()["echo"]["handlers"], 1)

    def test_a_program_that_hangs(self):
        """A program that starts and never answers, with its own child: refused after a time limit, with both ended;
        clients are served and operators answered meanwhile and afterwards, a second upgrade must wait, and what proves
        the upgrade is no handler to operators."""
        daemon = self.superd({"echo": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        session = Session(self.client(daemon.address("echo")))
        session.goes_on(self, b"before")
        undo = self.replace(daemon, b"#!/bin/sh\necho superd can take over\nsleep 1001 &\nexec sleep 1002\n")
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        hung = self.eventually(lambda: len(found := {p.pid for p in process.processes() if process.words(p.pid) in
                                                     (["sleep", "1001"], ["sleep", "1002"])}) == 2 and found,
                               "it hangs")
        for _ in range(20):
            session.goes_on(self, b"meanwhile")
            self.assertEqual(exchange(daemon.address("echo"), b"hello"), b"hello")
        superd = daemon.ask("status")["superd"]
        self.assertTrue(superd["upgrades"]["under_way"])
        prover = next(pid for pid in hung if process.words(pid) == ["sleep", "1002"])
        self.assertIn("not one of superd's handlers", self.superctl(daemon, "kill", str(prover), status=1))
        self.assertTrue(process.alive(prover))
        self.eventually(lambda: daemon.ask("status")["superd"]["processes"] == 1,
                        "only the session's handler is counted, not what proves the upgrade")
        self.assertIn("under way already", self.superctl(daemon, "upgrade", status=1))
        record = daemon.wait_for(message="upgrade refused, everything stays as it was", since=since)
        self.assertIn("superd: it has not proved within 10s that it can take over", record["message"])
        self.eventually(lambda: not any(process.alive(pid) for pid in hung), "what it has started has ended")
        undo()
        self.upgrade(daemon)
        session.goes_on(self, b"afterwards")
        self.assertEqual(exchange(daemon.address("echo"), b"hello"), b"hello")

    def test_other_version(self):
        """A state of another version, older or newer, is refused with both versions, and the program that was to take
        it over has done nothing."""
        daemon = self.superd({"echo": dict(listen="unix://" + self.prepare().path("s"), model="fork", exec=["cat"])})
        for version in (b"0", b"1", b"900"):
            done = self.offer(daemon, b'{"state":[],"superd":%s}' % version)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"state of version {version.decode()}, superd .* reads version \d")
        own = re.search(r"reads version (\d+)", done.stderr).group(1).encode()
        self.assertIn("not the state of a superd", self.offer(daemon, b"\x00\xff").stderr)
        self.assertIn("cannot be read", self.offer(daemon, b'{"state":[1],"superd":%s}' % own).stderr)
        self.assertIn("not sealed", self.offer(daemon, b'{"state":[],"superd":%s}' % own, seals=0).stderr)

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
