# SPDX-License-Identifier: MIT
"""A new socket takes the place of one that handlers accept from by themselves: whoever waits in the queue of the old one
is served, and whoever comes meanwhile too."""

import os
import signal
import socket
import unittest

from control import Control
from harness import connect
from harness.installation import python

WAITING = 12

# One client at a time: a line of its own is sent back, "attack" spoils the listening socket first and ends the process.
WORKER = r"""
import os, socket, sys
listener = socket.socket(fileno=os.dup(0))
while True:
    client = listener.accept()[0]
    data = client.recv(1000)
    if data == b"shutdown\n":
        listener.shutdown(socket.SHUT_RDWR)
        os._exit(0)
    if data == b"lock\n":
        listener.setsockopt(1, 44, 1)  # SO_LOCK_FILTER
        os._exit(0)
    client.sendall(data)
    client.close()
    if "once" in sys.argv:
        os._exit(0)
"""

TIGHT = {"limits": {"instances": 1}, "prefork": {"min_spare": 1, "max_spare": 1}}


class Replaced(Control):
    def define(self, daemon, scheme, **keys):
        script = daemon.write("worker.py", WORKER)
        listen = f"{scheme}://{daemon.path('sock')}" if scheme.startswith("unix") else f"{scheme}:0"
        keys = {"model": "prefork", "handoff": "listen", "exec": [python(), script]} | keys
        daemon.service("pool", listen=listen, **keys)

    def start(self, scheme, **keys):
        daemon = self.prepare()
        self.define(daemon, scheme, **keys)
        return daemon.start()

    def dial(self, uri, line=b""):
        """A client that has come, and has said what it wants."""
        client = connect(uri, timeout=10)
        self.addCleanup(client.close)
        if line:
            client.sendall(line)
            client.shutdown(socket.SHUT_WR)
        return client

    def answers(self, clients):
        """How many are served."""
        served = 0
        for client in clients:
            try:
                served += client.recv(100) == b"hello\n"
            except OSError:
                pass
        return served

    def crowd(self, uri):
        return [self.dial(uri, b"hello\n") for _ in range(WAITING)]

    def replaced(self, daemon):
        daemon.wait_for(lambda r: "a new one has taken its place" in r["message"])

    def processes(self, daemon):
        return self.ask(daemon, "status", "pool", shape="status NAME")["processes"]

    def is_itself_again(self, daemon):
        """Nothing is left of the change: one socket, the pool at its size, an upgrade is possible."""
        self.eventually(lambda: daemon.status()["pool"]["state"] in ("listening", "full"), "it listens")
        self.eventually(lambda: not any(one["former"] for one in self.processes(daemon)), "nobody is left")
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_for(lambda r: r["message"].startswith("upgraded"), since=since)
        self.assertEqual(self.answers([self.dial(daemon.address("pool"), b"hello\n")]), 1)
        self.assertEqual(daemon.status()["pool"]["sockets_mended"], 1)

    def removed(self, scheme, meanwhile=lambda daemon: None, **keys):
        """The path goes while a client keeps the only worker, and others wait behind it."""
        daemon = self.start(scheme, **keys)
        uri = daemon.address("pool")
        first = self.dial(uri)
        self.eventually(lambda: daemon.children(), "a worker is there")
        waiting = self.crowd(uri)
        os.unlink(daemon.path("sock"))
        self.replaced(daemon)
        later = self.crowd(uri)
        meanwhile(daemon)
        first.sendall(b"hello\n")
        first.shutdown(socket.SHUT_WR)
        self.assertEqual((self.answers(waiting), self.answers([first]), self.answers(later)), (WAITING, 1, WAITING))
        self.is_itself_again(daemon)

    def test_workers_that_report(self):
        """A path is removed: workers who would leave between two clients when they are told to stay until all of those
        who wait on the old socket are served."""
        self.removed("unix", exec=["superd-echo"], **TIGHT)

    def test_workers_that_do_not(self):
        """The same of workers that say nothing, on sequenced packets."""
        self.removed("unix-seqpacket", **TIGHT)

    def test_owners_for_one_client_each(self):
        """iterative: each client gets an owner of its own, those on the old socket first."""
        daemon = self.start("unix", model="iterative", exec=[python(), "-c", WORKER, "once"])
        uri = daemon.address("pool")
        first = self.dial(uri)
        self.eventually(lambda: daemon.children(), "an owner is there")
        waiting = self.crowd(uri)
        os.unlink(daemon.path("sock"))
        self.replaced(daemon)
        later = self.crowd(uri)
        first.sendall(b"hello\n")
        self.assertEqual((self.answers(waiting), self.answers(later)), (WAITING, WAITING))
        self.is_itself_again(daemon)

    def test_a_reload_meanwhile(self):
        """Another definition comes into force while they wait."""
        def reload(daemon):
            self.define(daemon, "unix", **TIGHT, description="another")
            daemon.reload()
        self.removed("unix", reload, **TIGHT)

    def test_an_upgrade_meanwhile(self):
        """An upgrade waits until they are served."""
        def upgrade(daemon):
            daemon.process.send_signal(signal.SIGUSR2)
            daemon.wait_for(lambda r: "must prove" in r["message"])
        self.removed("unix", upgrade, **TIGHT)

    def spoilt(self, attack, scheme, **keys):
        """The only worker spoils the socket and ends, with clients behind the one that has it do so."""
        daemon = self.start(scheme, **keys)
        uri = daemon.address("pool")
        attacker = self.dial(uri)
        self.eventually(lambda: daemon.children(), "a worker is there")
        waiting = self.crowd(uri)
        attacker.sendall(attack)
        self.replaced(daemon)
        later = self.crowd(uri)
        self.assertEqual((self.answers(waiting), self.answers(later)), (WAITING, WAITING))
        self.is_itself_again(daemon)

    def test_shut_down_by_a_worker(self):
        """The only worker there may be shuts the socket down and ends: another one serves those who wait on it before
        the new socket gets its own."""
        self.spoilt(b"shutdown\n", "unix", **TIGHT)

    def test_shut_down_by_an_owner(self):
        """iterative: the same."""
        self.spoilt(b"shutdown\n", "unix", model="iterative")

    def test_locked_by_a_worker(self):
        """A TCP socket whose filter is locked."""
        self.spoilt(b"lock\n", "tcp://127.0.0.1", **TIGHT)

    def test_removed_time_and_again(self):
        """A path that goes as soon as it is there: nothing of the sockets before stays."""
        daemon = self.start("unix", exec=["superd-echo"], prefork={"min_spare": 2, "max_spare": 2})
        uri = daemon.address("pool")
        for _ in range(4):
            waiting = self.crowd(uri)
            since = daemon.mark()
            os.unlink(daemon.path("sock"))
            daemon.wait_for(lambda r: "a new one has taken its place" in r["message"], since=since)
            self.assertEqual(self.answers(waiting), WAITING)
        self.eventually(lambda: [one["former"] for one in self.processes(daemon)] == [False, False],
                        "the pool is what it was")

        def sockets():
            links = [os.readlink(f"/proc/{daemon.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{daemon.pid}/fd")]
            with open("/proc/net/unix", encoding="ascii") as file:
                return [line for line in file if daemon.path("sock") in line and
                        f"socket:[{line.split()[6]}]" in links and int(line.split()[3], 16) & 0x10000]
        self.eventually(lambda: len(sockets()) == 1, "one socket")

    def test_never_served(self):
        """Nobody serves those on the old socket: they have stop_timeout, it is told, and the new one is served."""
        daemon = self.start("unix", stop_timeout="1s", limits={"instances": 2},
                            prefork={"min_spare": 1, "max_spare": 1, "grow_after": "20s"})
        uri = daemon.address("pool")
        self.dial(uri)  # keeps the worker
        waiting = self.dial(uri, b"hello\n")
        os.unlink(daemon.path("sock"))
        self.replaced(daemon)
        self.assertEqual(self.answers([self.dial(uri, b"hello\n")]), 1)
        daemon.wait_for(lambda r: "a client waited on the replaced socket" in r["message"])
        waiting.settimeout(0.5)
        self.assertEqual(self.answers([waiting]), 0)

    def test_a_stop_does_not_wait(self):
        """superd ends at once although clients wait on the old socket."""
        daemon = self.start("unix", **TIGHT)
        uri = daemon.address("pool")
        self.dial(uri)
        self.dial(uri, b"hello\n")
        os.unlink(daemon.path("sock"))
        self.replaced(daemon)
        daemon.process.terminate()
        self.assertEqual(daemon.wait(8), 0)


class ReplacedAsUser(Replaced):
    as_user = "nobody"


if __name__ == "__main__":
    unittest.main()
