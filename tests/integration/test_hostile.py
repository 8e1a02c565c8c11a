# SPDX-License-Identifier: MIT
"""Handlers, and users who own what superd works with, attack it: it serves all others and stops in time."""

import os
import pwd
import signal
import socket
import stat
import time
import unittest

from harness import Reader, SuperdCase, connect, exchange
from harness import process
from harness.installation import python
from harness.loopback import own_loopback

# It shares the listening socket's file description with superd, and so its flags. Without O_NONBLOCK, a process that
# was told of a client which another has taken meanwhile waits in accept(2).
THIEF = """import os, signal, socket, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket(fileno=3)

def steal():
    while True:
        try:
            client, _ = listener.accept()
            client.sendall(b"stolen\\n")
            client.close()
        except OSError:
            pass

threading.Thread(target=steal, daemon=True).start()
while True:
    os.set_blocking(3, True)
"""

NOISE = """#!/bin/sh
setsid sh -c 'yes >&2' </dev/null >/dev/null &
echo $!
"""


def take_status(daemon, timeout):
    """Asks superd to end; its status and how long that took."""
    begin = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    return daemon.wait(timeout), time.monotonic() - begin


class FailingHandlers(SuperdCase):
    """Handlers that fail as soon as they start: by their clients' doing, or whoever comes."""

    def slowed(self, daemon):
        return daemon.find(lambda r: r["message"].startswith("handlers fail as soon as they start"))

    def test_one_client_does_not_slow_a_service(self):
        """Sixty connections of one source whose handlers fail at once, as a reset makes them, do not slow the service;
        of nineteen other sources too, they do."""
        daemon = self.superd({"web": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["false"])})
        failures = lambda: int(daemon.status()["web"]["failures"])
        for number in range(79):
            source = "127.0.3.1" if number < 60 else f"127.0.4.{number}"
            self.assertEqual(self.slowed(daemon), [])
            with connect(daemon.address("web"), source=(source, 0)) as client:
                self.assertEqual(client.recv(1), b"")
            self.eventually(lambda: failures() == number + 1, "its handler has failed")  # pylint: disable=cell-var-from-loop
        daemon.wait_for(message="handlers fail as soon as they start")


class StoppedProcesses(SuperdCase):
    """The user of a parked process may stop it; it then sees neither its pair closing nor a signal."""

    def stopped_pool(self):
        daemon = self.superd({
            "cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
            "pool": dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"], stop_timeout="1s",
                         prefork={"min_spare": 3, "max_spare": 3}),
        })
        parked = self.eventually(lambda: len(daemon.children()) == 3 and
                                 all(process.executable(child.pid) == "superd-exec" for child in daemon.children()) and
                                 [child.pid for child in daemon.children()], "three parked")
        for pid in parked:
            os.kill(pid, signal.SIGSTOP)
            self.eventually(lambda pid=pid: process.Process(pid).state == "T", "stopped")
        return daemon

    def test_superd_stops(self):
        """Stopped parked processes do not keep superd from ending within stop_timeout."""
        status, took = take_status(self.stopped_pool(), 15)
        self.assertEqual(status, 0)
        self.assertLess(took, 5)

    def test_a_removed_service_leaves_none(self):
        """Nor does one outlive its service by more than stop_timeout when a reload removes that."""
        daemon = self.stopped_pool()
        daemon.remove("pool")
        daemon.reload()
        self.eventually(lambda: not daemon.children(), "parked processes gone", timeout=10)
        self.assertEqual(self.converse(daemon.address("cat")), b"hello")


class StoppedProcessesAsUser(StoppedProcesses):
    as_user = "nobody"


class OldWorkers(SuperdCase):
    def test_one_that_takes_the_clients(self):
        """A worker that stays after a reload, makes its listening socket blocking again and again and takes the
        clients of the new definition cannot hold superd up: others are served throughout, and it stops."""
        daemon = self.prepare()
        script = daemon.write("thief.py", THIEF)
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon.service("it", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen", stop_timeout="1s",
                       exec=[python(), script], prefork={"min_spare": 1})
        daemon.start()
        cat, it = daemon.address("cat"), daemon.address("it")
        self.assertEqual(exchange(it), b"stolen\n")
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], stop_timeout="1s")
        daemon.reload()
        stolen = 0
        for _ in range(300):
            with self.client(it) as client:
                # While that client is on its way, and after the process that had it is done.
                for _ in range(2):
                    with self.client(cat, timeout=10) as other:
                        other.sendall(b"hello\n")
                        self.assertEqual(Reader(other).line(), b"hello")
                client.shutdown(socket.SHUT_WR)
                stolen += Reader(client).rest() == b"stolen\n"
        self.assertGreater(stolen, 0, "the thief was at work")
        status, took = take_status(daemon, 15)
        self.assertEqual(status, 0)
        self.assertLess(took, 8)


class Paths(SuperdCase):
    @unittest.skipUnless(os.geteuid() == 0, "what superd may change as root is at stake")
    def test_a_path_replaced_by_a_link(self):
        """The owner of a folder replaces a unix path by a symbolic link: the link's target keeps its mode and owner
        when a reload changes those of the path."""
        nobody = pwd.getpwnam("nobody")
        for name, keys in (("mode", {"mode": "0666"}), ("owner", {"user": "nobody", "group": "mail"})):
            with self.subTest(name):
                daemon = self.prepare()
                folder = daemon.shared("theirs")
                os.chown(folder, nobody.pw_uid, nobody.pw_gid)
                path = os.path.join(folder, "cat.sock")
                secret = daemon.write("secret", "precious", 0o600)
                daemon.service("cat", listen=f"unix://{path}", model="fork", exec=["cat"], socket={"mode": "0600"})
                daemon.service("other", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
                daemon.start()
                self.assertEqual(self.converse(f"unix://{path}"), b"hello")
                os.unlink(path)
                os.symlink(secret, path)
                os.lchown(path, nobody.pw_uid, nobody.pw_gid)
                daemon.service("cat", listen=f"unix://{path}", model="fork", exec=["cat"], socket=keys)
                since = daemon.mark()
                daemon.process.send_signal(signal.SIGHUP)
                daemon.wait_for(lambda r: r["message"].startswith(("reloaded", "reload refused")), since=since)
                state = os.stat(secret)
                self.assertEqual((stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid), (0o600, 0, 0))
                self.assertEqual(self.converse(daemon.address("other")), b"hello")
                daemon.stop()
                self.assertTrue(os.path.islink(path))


class LeftBehind(SuperdCase):
    """A handler leaves behind a process that fills the error stream for ever."""

    def noisy(self):
        """A daemon and its addresses: a service that has left such a process behind, and another one."""
        # Nobody else could read that log: it would be the pace of the reader that is tested.
        daemon = self.prepare(prefix=["/bin/sh", "-c", 'exec "$@" 2>/dev/null', "sh"])
        script = daemon.script("noise", NOISE)
        noise, cat = (f"tcp://{own_loopback()}:{port}" for port in (7860, 7861))
        daemon.service("noise", listen=noise, model="fork", exec=[script])
        daemon.service("cat", listen=cat, model="fork", exec=["cat"])
        daemon.start(wait=False)
        self.eventually(lambda: not self.refused(cat), "ready")

        def said():  # it may be the other one that listens first
            try:
                return exchange(noise)
            except ConnectionRefusedError:
                return None
        leader = int(self.eventually(said, "ready"))
        self.addCleanup(self.end_session, leader)
        self.eventually(lambda: any(p.session == leader and p.name == "yes" for p in process.processes()), "noise")
        return daemon, noise, cat

    @staticmethod
    def refused(uri):
        try:
            connect(uri).close()
            return False
        except ConnectionRefusedError:
            return True

    def serves(self, uri):
        for _ in range(20):
            with connect(uri, timeout=10) as client:
                client.sendall(b"hello\n")
                self.assertEqual(Reader(client).line(), b"hello")

    def test_superd_serves_others_and_lets_the_service_go(self):
        """Meanwhile superd serves others, drops the service in a reload, serves others after it, and stops."""
        daemon, noise, cat = self.noisy()
        self.serves(cat)
        daemon.remove("noise")
        daemon.process.send_signal(signal.SIGHUP)
        self.eventually(lambda: self.refused(noise), "the service is gone")
        self.serves(cat)
        status, took = take_status(daemon, 20)
        self.assertEqual(status, 0)
        self.assertLess(took, 10)

    def test_superd_stops(self):
        """superd stops with that service in force."""
        daemon, _, _ = self.noisy()
        status, took = take_status(daemon, 20)
        self.assertEqual(status, 0)
        self.assertLess(took, 10)

    @staticmethod
    def end_session(leader):
        for stray in process.processes():
            if stray.session == leader:
                try:
                    os.kill(stray.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


class LeftBehindAsUser(LeftBehind):
    as_user = "nobody"
