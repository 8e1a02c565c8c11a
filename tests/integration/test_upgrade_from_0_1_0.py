# SPDX-License-Identifier: MIT
"""Upgrade in place from the release before: what 0.1.0 hands over goes on, with clients all the time."""

import json
import os
import socket
import threading

from harness import Reader, connect, installation
from harness.installation import python
from upgrading import Session, UpgradeCase

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURE = os.path.join(HERE, "..", "unit", "handover", "0.1.0.json")
WORKER = os.path.abspath(os.path.join(HERE, "..", "..", "contrib", "examples", "worker.py"))


class Load:
    """Clients of a service, one after the other, who each are to be served."""

    def __init__(self, address, threads=2):
        self.address, self.served, self.lost = address, 0, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.over.is_set():
            try:
                with connect(self.address) as sock:
                    sock.sendall(b"load\n")
                    if Reader(sock).line() != b"load":
                        raise OSError("another answer")
                self.served += 1
            except (OSError, AssertionError) as error:
                self.lost.append(repr(error))

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class From010(UpgradeCase):
    def setUp(self):
        super().setUp()
        self.sockets, self.accepted = {}, []

    def listen(self, name, kind, blocking):
        sock = socket.socket(socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen(4096)
        sock.setblocking(blocking)
        self.sockets[name] = sock

    def address(self, name):
        return f"tcp://127.0.0.1:{self.sockets[name].getsockname()[1]}"

    def taken(self, name):
        """A client, and its connection as superd has it."""
        client = self.client(self.address(name))
        self.sockets[name].setblocking(True)
        connection = self.sockets[name].accept()[0]
        self.sockets[name].setblocking(False)
        self.accepted.append(connection)
        return client, connection.fileno()

    def definitions(self, daemon, worker):
        tcp, udp = "tcp://127.0.0.1:0", "udp://127.0.0.1:0"
        daemon.service("fork", listen=tcp, model="fork", exec=["cat"],
                       limits={"instances": 20, "per_source": 2, "wait_timeout": "1m"})
        daemon.service("iterative", listen=udp, model="iterative", exec=["/bin/sleep", "600"])
        daemon.service("datagram", listen=udp, model="fork", exec=["/bin/sh", "-c", "sleep 600; cat"])
        daemon.service("delayed", listen=tcp, model="delayed", exec=["cat"], delayed={"delay": "1m"})
        daemon.service("parked", listen=tcp, model="prefork", exec=["cat"], prefork={"min_spare": 1, "max_spare": 2})
        daemon.service("workers", listen=tcp, model="prefork", handoff="listen", exec=[python(), worker],
                       prefork={"min_spare": 1, "max_spare": 2})
        daemon.service("waits", listen="tcp://192.0.2.1:7", model="fork", exec=["cat"])

    def test_everything_goes_on(self):
        """Sessions, held clients, parked processes, workers, a late datagram and counts of 0.1.0 go on, and no client
        who comes meanwhile is lost; the next upgrade hands over to this superd itself."""
        for name in ("fork", "delayed", "parked"):
            self.listen(name, socket.SOCK_STREAM, False)
        self.listen("workers", socket.SOCK_STREAM, True)
        self.listen("datagram", socket.SOCK_DGRAM, False)
        self.listen("iterative", socket.SOCK_DGRAM, True)
        connections, sessions = {}, []
        for name, share in (("fork", 2), ("delayed", 1), ("parked", 1)):
            pairs = [self.taken(name) for _ in range(share)]
            sessions += [Session(client) for client, _ in pairs]
            connections[name] = [number for _, number in pairs]
        held, number = self.taken("fork")
        connections["held"] = [number]
        busy = self.client(self.address("workers"))
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sender.close)
        sender.bind(("127.0.0.1", 0))
        sender.settimeout(60)

        daemon = self.prepare()
        plan, go = daemon.path("plan.json"), daemon.path("go")
        daemon.prefix = [python(), os.path.join(HERE, "replay_0_1_0.py"), FIXTURE, plan]
        daemon.arguments = ["--control", daemon.control]
        with open(WORKER, encoding="utf-8") as file:
            worker = daemon.script("worker.py", file.read())
        self.definitions(daemon, worker)
        with open(plan, "w", encoding="utf-8") as file:
            json.dump({"sockets": {name: sock.fileno() for name, sock in self.sockets.items()},
                       "connections": connections, "sender": sender.getsockname()[1], "control": daemon.control,
                       "pid_file": daemon.path("pid"), "folder": daemon.directory, "worker": worker, "go": go,
                       "python": python(), "starter": os.path.join(installation().libexec, "superd-exec")}, file)
        daemon.inherited = [sock.fileno() for sock in self.sockets.values()] + sum(connections.values(), [])
        load = Load(self.address("parked"))
        self.addCleanup(load.end)
        daemon.start(wait=False)
        for connection in self.accepted:
            connection.close()
        record = daemon.wait_for(lambda r: r["message"].startswith("upgraded"))
        self.assertIn("7 services on 7 addresses, 9 processes kept", record["message"])

        for session in sessions:
            session.goes_on(self, b"still there")
        reader = Reader(busy)
        busy.sendall(b"worker\n")
        self.assertEqual(reader.line(), b"hello worker")
        with open(go, "wb"):
            pass
        self.assertEqual(sender.recvfrom(100), (b"late\n", self.sockets["datagram"].getsockname()))
        status = daemon.status()
        self.assertEqual(status["fork"]["held"], 1)
        self.assertEqual([status[name]["handlers"] for name in ("fork", "delayed", "iterative")], [2, 1, 1])
        self.assertEqual(status["waits"]["state"], "waiting")
        self.assertEqual(status["fork"]["started"], 2)
        sessions[0].sock.close()  # of fork: its source has a place again
        held.sendall(b"at last\n")
        self.assertEqual(Reader(held).line(), b"at last")
        other = Session(self.client(self.address("delayed")))
        sessions[2].sock.close()  # its handler is the young one
        other.goes_on(self, b"after it")
        more = self.client(self.address("workers"))
        more.sendall(b"more\n")
        self.assertEqual(Reader(more).line(), b"hello more")

        self.upgrade(daemon)
        daemon.reload()
        self.upgrade(daemon)
        for session in (sessions[1], sessions[3], other):
            session.goes_on(self, b"and on")
        busy.sendall(b"again\n")
        self.assertEqual(reader.line(), b"hello again")
        served = load.served
        self.eventually(lambda: load.served > served + 10, "clients are served")
        load.end()
        self.assertEqual(load.lost, [])
