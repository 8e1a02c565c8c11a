# SPDX-License-Identifier: MIT
"""Upgrade in place: another superd goes on in the same process and nobody notices."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

from harness import Reader, SuperdCase, exchange, installation

UPGRADES = int(os.environ.get("SUPERD_TEST_UPGRADES", "30"))  # for more, set it: each takes at least 100 ms
PAUSE = 0.1

# A worker that accepts for itself, says so, and leaves between two clients when it is told to.
WORKER = """#!/usr/bin/python3 -IS
import os, select, socket
status = socket.socket(fileno=int(os.environ["SUPERD_STATUS_FD"]))
listener = socket.socket(fileno=0)
listener.setblocking(False)
status.send(b"idle\\n")
while True:
    ready = select.select([listener, status], [], [])[0]
    if status in ready:
        break
    try:
        client, _ = listener.accept()
    except BlockingIOError:
        continue
    status.send(b"busy\\n")
    client.setblocking(True)
    client.sendall(b"hello\\n")
    client.close()
    status.send(b"idle\\n")
"""


class Session:
    """A client of cat, who says something now and then."""

    def __init__(self, sock):
        self.sock = sock
        self.reader = Reader(sock)

    def goes_on(self, case, word):
        self.sock.sendall(word + b"\n")
        case.assertEqual(self.reader.line(), word)


class UpgradeCase(SuperdCase):  # no tests of its own
    def prepare(self, **options):
        """A daemon whose programs are its own, so that they can be replaced."""
        daemon = super().prepare(**options)
        programs = daemon.path("programs")
        shutil.copytree(installation().directory, programs, copy_function=os.link)
        daemon.installation = SimpleNamespace(superd=os.path.join(programs, "sbin", "superd"))
        return daemon

    def replace(self, daemon, text):
        """Puts another program where superd was; bytes, or None for nothing. What undoes that."""
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
        program = os.path.join(os.path.dirname(os.environ["SUPERD_BINARY"]), "..", "bin", "superctl")
        done = subprocess.run([program, "--control", daemon.control, *arguments], text=True, capture_output=True,
                              check=False, timeout=60, env=daemon.environment)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr


class Upgrades(UpgradeCase):
    def test_nobody_notices(self):
        """Upgrades one after the other while clients come to every model: each client has its answer, a session that
        spans them all goes on, workers and parked processes are the same, and every client is counted."""
        hello = ["sh", "-c", "echo hello"]
        tcp = "tcp://127.0.0.1:0"
        daemon = self.prepare()
        worker = daemon.script("worker", WORKER)
        services = {
            "fork": dict(model="fork", exec=hello),
            "parked": dict(model="prefork", exec=hello, prefork={"min_spare": 2, "max_spare": 4}),
            "workers": dict(model="prefork", handoff="listen", exec=[worker], prefork={"min_spare": 2}),
            "one": dict(model="iterative", exec=hello),
            "late": dict(model="delayed", exec=hello),
            "unix": dict(model="fork", exec=hello, listen="unix://" + daemon.path("unix.sock")),
            "session": dict(model="fork", exec=["cat"]),
        }
        for name, keys in services.items():
            daemon.service(name, **{"listen": tcp, **keys})
        daemon.service("datagram", listen="udp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon.start()
        address = {name: daemon.address(name) for name in [*services, "datagram"]}
        workers = self.eventually(
            lambda: (found := [c.pid for c in daemon.children() if c.name == "worker"]) and len(found) >= 2 and found,
            "workers are there")
        session = Session(self.client(address["session"]))
        served, wrong = {name: 0 for name in address}, []
        over = threading.Event()

        def visit(name):
            while not over.is_set():
                try:
                    answer = self.ask(name, address[name])
                except OSError as error:
                    answer = error
                served[name] += 1
                if answer != b"hello\n":
                    wrong.append((name, answer))

        visitors = [threading.Thread(target=visit, args=(name,)) for name in address if name != "session"]
        for visitor in visitors:
            visitor.start()
        try:
            for number in range(UPGRADES):
                begun = time.monotonic()
                self.upgrade(daemon)
                session.goes_on(self, b"%d" % number)
                time.sleep(max(0.0, PAUSE - (time.monotonic() - begun)))
        finally:
            over.set()
            for visitor in visitors:
                visitor.join()
        self.assertEqual(wrong, [])
        self.assertTrue(all(count > 0 for name, count in served.items() if name != "session"), served)
        self.assertTrue(set(workers) & {child.pid for child in daemon.children()}, "workers have been kept")
        session.sock.close()
        self.eventually(lambda: all(r["handlers"] == 0 for n, r in daemon.status().items() if n != "workers"),
                        "every handler's end is noticed")
        for name, record in daemon.status().items():
            if name != "session":
                self.assertEqual(record["accepted"], served[name], name)
            self.assertEqual(record["failures"], 0, record)

    def ask(self, name, uri):
        if name != "datagram":
            return exchange(uri)
        host, port = uri.removeprefix("udp://").rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(30)
            sock.connect((host, int(port)))
            sock.send(b"hello\n")
            return sock.recv(100)

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
            "aged": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], max_lifetime="4s"),
        })
        full = [self.client(daemon.address("few")) for _ in range(3)]
        own, held = self.client(daemon.address("each")), self.client(daemon.address("each"))
        rated = [self.client(daemon.address("rated")) for _ in range(2)]
        aged = self.client(daemon.address("aged"))
        born = time.monotonic()
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
        self.assertEqual(aged.recv(1), b"")
        self.assertGreater(time.monotonic() - born, 3.5)
        self.assertEqual(daemon.status()["rated"]["accepted"], 1)

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
