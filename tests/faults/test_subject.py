# SPDX-License-Identifier: MIT
"""The probe of the other fault tests: it mistakes no slow process for a leak, and names real leaks."""

import socket

from everything import Control
from harness import SuperdCase
from subject import Sockets, measure

# Closes its pair, and takes its time to leave, as one under a sanitizer does.
SLOW = """#!/usr/bin/python3 -IS
import os, time
os.close(int(os.environ["SUPERD_STATUS_FD"]))
open({path!r}, "w").close()
time.sleep(600)
"""


class Probe(SuperdCase):
    def test_a_worker_that_has_closed_its_pair(self):
        """A worker that has closed its pair and still runs does not count as a missing socket."""
        daemon = self.prepare()
        control = Control(daemon.control)
        keys = dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                    prefork={"min_spare": 1, "max_spare": 1}, stop_timeout="100ms")
        with_pair = daemon.script("with", "#!/bin/sh\nexec sleep 600\n")
        daemon.service("pool", exec=[with_pair], **keys)
        daemon.start()
        self.eventually(lambda: len(control.processes()) == 1, "a worker is there")
        before = measure(control, daemon.pid)
        self.eventually(lambda: Sockets(daemon.pid).pairs == 1, "and its pair")
        closed = daemon.shared("shared") + "/closed"
        daemon.script("with", SLOW.format(path=closed))
        control.ask("kill", target="pool", signal="KILL")
        self.eventually(lambda: Sockets(daemon.pid).pairs == 0 and len(control.processes()) == 1, "its pair is closed")
        self.assertEqual(measure(control, daemon.pid), before)

    def test_its_own_connection(self):
        """The connection by which it asks counts each time, and not as chance has it."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        control = Control(daemon.control)
        first = measure(control, daemon.pid)
        for _ in range(50):
            control.services()
            self.assertEqual(measure(control, daemon.pid), first)

    def test_a_socket_has_a_name(self):
        """A socket's name shows what it is."""
        daemon = self.superd({"tcp": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
                              "unix": dict(listen="unix://@superd-probe", model="fork", exec=["cat"])})
        names = Sockets(daemon.pid).others
        port = daemon.address("tcp").rsplit(":", 1)[1]
        self.assertIn(f"tcp 127.0.0.1:{port} listens", names)
        self.assertIn("unix stream @superd-probe", names)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.control)
            self.eventually(lambda: names.count(f"unix stream {daemon.control}") + 1 ==
                            Sockets(daemon.pid).others.count(f"unix stream {daemon.control}"), "the connection")
