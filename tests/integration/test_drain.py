# SPDX-License-Identifier: MIT
"""[shutdown] drain: superd says that it is not ready, and serves on for a while before it stops."""

import json
import os
import signal
import socket
import subprocess
import time

from control import SUPERCTL, Control
from harness import Reader, definition, handler

TCP = "tcp://127.0.0.1:0"
LONG = '[shutdown]\ndrain = "1h"\n'


class Drain(Control):
    def echo(self, config, **options):
        return self.superd({"echo": dict(listen=TCP, model="fork", exec=["cat"])}, config=config, **options)

    def told(self, daemon):
        return daemon.wait_for(message="draining: not ready any more, clients are served for another")

    def test_it_serves_on(self):
        """After TERM new clients are served; status and metrics say that superd drains; it refuses to reload and to upgrade
        itself, and a second TERM does not wait."""
        daemon = self.echo(LONG)
        held = self.client(daemon.address("echo"))
        daemon.process.send_signal(signal.SIGTERM)
        self.told(daemon)
        self.assertEqual(self.converse(daemon.address("echo")), b"hello")
        state = self.ask(daemon, "status", shape="status")
        self.assertEqual((state["superd"]["draining"], state["superd"]["stopping"]), (True, False))
        self.assertIn(", draining", self.superctl(daemon, "status")[0].splitlines()[0])
        self.assertIn("\nsuperd_draining 1\n", self.superctl(daemon, "metrics")[0])
        self.assertIn("superd is draining", self.superctl(daemon, "reload", status=1)[1])
        self.assertIn("superd is draining", self.superctl(daemon, "upgrade", status=1)[1])
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.assertTrue(daemon.find(lambda r: r["message"].startswith("stopping at once")))
        self.assertEqual(held.recv(1), b"")

    def test_its_time_ends(self):
        """After that time handlers are asked to leave, and superd ends with 0; INT does the same as TERM."""
        daemon = self.echo('[shutdown]\ndrain = "700ms"\n')
        held = self.client(daemon.address("echo"))
        held.sendall(b"x\n")
        self.assertEqual(Reader(held).line(), b"x")
        begin = time.monotonic()
        daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)
        self.assertGreaterEqual(time.monotonic() - begin, 0.69)
        self.assertEqual(held.recv(1), b"")
        self.assertTrue(daemon.find(lambda r: r["message"].startswith("stopping: ")))

    def test_a_reload_changes_it(self):
        """The value is that of the last reload; without one superd stops at once. One in force passes an upgrade."""
        daemon = self.echo("")
        daemon.write("superd.toml", LONG)
        daemon.reload()
        self.superctl(daemon, "upgrade")
        daemon.wait_for(message="upgraded to")
        daemon.process.send_signal(signal.SIGTERM)
        self.told(daemon)
        # stop does not wait for what is left of it.
        self.superctl(daemon, "stop")
        self.assertEqual(daemon.wait(), 0)
        self.assertFalse(daemon.find(lambda r: r["message"].startswith("stopping at once")))

    def test_drain_all(self):
        """superctl drain --all does what TERM does and returns once superd has gone; twice is as good as once."""
        daemon = self.echo(LONG)
        waits = subprocess.Popen([SUPERCTL, "--control", daemon.control, "drain", "--all"], text=True,
                                 env=daemon.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(waits.stdout.close)
        self.addCleanup(waits.wait)
        self.told(daemon)
        said = self.ask(daemon, "drain", "--all", "--no-wait", shape="drain --all")
        self.assertEqual((said["pid"], said["seconds"]), (daemon.pid, 3600))
        self.assertEqual(self.converse(daemon.address("echo")), b"hello")
        self.assertIsNone(waits.poll())
        self.superctl(daemon, "stop")
        self.assertEqual(daemon.wait(), 0)
        self.assertEqual(waits.wait(30), 0)
        self.assertEqual(waits.stdout.read(), f"superd (pid {daemon.pid}) has stopped\n")
        self.assertFalse(daemon.find(lambda r: r["message"].startswith("stopping at once")))

    def test_a_signal_after_a_command(self):
        """The first signal after superctl drain --all waits for the same end; the second ends superd."""
        daemon = self.echo(LONG)
        self.superctl(daemon, "drain", "--all", "--no-wait")
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ask(daemon, "status", shape="status")["superd"]["draining"], True)
        self.assertEqual(self.converse(daemon.address("echo")), b"hello")
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)

    def test_words(self):
        """drain takes a name or --all; over the socket, "all" is true and alone."""
        daemon = self.echo("")
        self.superctl(daemon, "drain", status=2)
        self.superctl(daemon, "drain", "--all", "echo", status=2)
        for members in ({"all": False}, {"all": True, "service": "echo"}):
            client = self.raw(daemon)
            client.sendall(json.dumps({"version": 1, "verb": "drain", **members}).encode() + b"\n")
            self.assertIn("all", json.loads(Reader(client).line())["error"])
        self.assertEqual(self.ask(daemon, "status", shape="status")["superd"]["draining"], False)

    def test_the_manager_is_told(self):
        """The manager hears STOPPING=1, how long it takes, and never READY=1 again."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        name = f"superd-drain-{os.getpid()}-{id(self)}"
        manager.bind("\0" + name)
        manager.settimeout(30)
        daemon = self.echo('[shutdown]\ndrain = "1s"\n', environment={"NOTIFY_SOCKET": "@" + name})
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        said = []
        while not said or "STATUS=Stopping" not in said[-1]:
            said.append(manager.recv(65536).decode())
        first = next(i for i, text in enumerate(said) if "STOPPING=1" in text)
        self.assertIn("STATUS=Draining: serves on for 1s\nEXTEND_TIMEOUT_USEC=91000000", said[first])
        self.assertFalse([text for text in said[first:] if "READY=1" in text])

    def test_values_are_checked(self):
        """What is not a duration, and other keys, are errors."""
        daemon = self.prepare(config='[shutdown]\ndrain = 30\ndrian = "30s"\n')
        daemon.service("echo", definition(listen=TCP, model="fork", exec=[handler("superd-echo")]))
        status, said = daemon.check()
        self.assertEqual(status, 1)
        self.assertIn("superd.toml:2:9: error: shutdown.drain 30 has no unit", said)
        self.assertIn('superd.toml:3:1: error: unknown key "shutdown.drian" (did you mean "drain"?)', said)


class DrainAsUser(Drain):
    as_user = "nobody"
