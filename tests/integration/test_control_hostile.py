# SPDX-License-Identifier: MIT
"""The control socket under attack and misuse: services continue, and so does the socket."""

import json
import os
import random
import socket

from control import SHAPES, Control
from harness import Reader, process

TCP = "tcp://127.0.0.1:0"


class ControlSocket(Control):
    def setUp(self):
        super().setUp()
        self.daemon = self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"])})

    def still_well(self):
        """It serves, and answers valid requests."""
        self.assertEqual(self.converse(self.daemon.address("cat")), b"hello")
        self.ask(self.daemon, "status", shape="status")

    def answers(self, data):
        """Every answer to these bytes, once nothing more is sent."""
        sock = self.raw(self.daemon)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        lines = Reader(sock).rest().splitlines()
        for line in lines:
            self.assertEqual(json.loads(line)["version"], 1)
        return [json.loads(line) for line in lines]

    def test_garbage(self):
        """An invalid request is refused, and the connection continues with the next one."""
        for line in (b"", b"{", b"[]", b"null", b"GET / HTTP/1.1", b"\xff\xfe\0", b'{"version":1}', b'{"verb":"status"}',
                     b'{"version":2,"verb":"status"}', b'{"version":1,"verb":5}', b'{"version":1,"verb":"nosuch\\u001b[2J"}',
                     b'{"version":1,"verb":"status","service":{}}', b'{"version":1,"verb":"kill","target":""}',
                     b'{"version":1,"verb":"kill","target":"cat","signal":[]}',
                     b'{"version":1,"verb":"explain","service":"cat","client":"\\u0000"}', b"[" * 60000):
            first, second = self.answers(line + b'\n{"version":1,"verb":"status"}\n')
            self.assert_shape(first, SHAPES["error"], "error")
            self.assertNotIn("\x1b", first["error"])
            self.assertTrue(second["ok"])
        random.seed(1)
        for _ in range(200):
            self.answers(random.randbytes(random.randrange(1, 500)).replace(b"\n", b"") + b"\n")
        self.still_well()

    def test_half_messages(self):
        """A request may come in pieces; an incomplete one is never carried out; one that is too long ends the
        connection."""
        sock = self.raw(self.daemon)
        for byte in b'{"version":1,"verb":"list"}\n':
            sock.sendall(bytes([byte]))
        self.assertTrue(json.loads(Reader(sock).line())["ok"])
        self.assertEqual(self.answers(b'{"version":1,"verb":"stop"}'), [])
        long = self.raw(self.daemon)
        try:
            long.sendall(b" " * 1_000_000)
        except OSError:
            pass
        self.assertIn("65536 bytes", json.loads(Reader(long).line())["error"])
        self.still_well()

    def test_pipelined_requests(self):
        """Requests sent at one go are answered one by one and in order, read or not."""
        answers = self.answers(b"".join(b'{"version":1,"verb":"%s"}\n' % verb for verb in [b"list", b"plan"] * 500))
        self.assertEqual([("changes" in answer) for answer in answers], [False, True] * 500)

    def test_thousand_idle_connections(self):
        """1,000 silent connections keep nobody from the control socket, and cost superd few descriptors."""
        idle = []
        self.addCleanup(lambda: [sock.close() for sock in idle])
        for _ in range(1000):
            sock = socket.socket(socket.AF_UNIX)
            idle.append(sock)
            sock.connect(self.daemon.control)  # waits if the backlog is full
        self.still_well()
        self.assertLess(len(os.listdir(f"/proc/{self.daemon.pid}/fd")), 200)

    def test_answers_that_nobody_reads(self):
        """Clients that ask and never read do no harm: the loop does not wait, and what is kept is bounded."""
        before = process.resident(self.daemon.pid)
        for _ in range(70):
            sock = self.raw(self.daemon)
            sock.setblocking(False)
            try:
                while True:
                    sock.send(b'{"version":1,"verb":"metrics"}\n' * 100)
            except BlockingIOError:
                pass
            except OSError:
                pass  # shut out in favour of a later one
        self.still_well()
        # An answer for each of 64 clients, and up to 256 MiB that AddressSanitizer keeps of what was freed. All that was
        # asked for would be gigabytes.
        self.assertLess(process.resident(self.daemon.pid) - before, 300 << 10)

    def test_all_descriptors_taken(self):
        """The control socket answers while clients hold every descriptor that superd may have."""
        held = len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
        self.daemon.service("held", listen=TCP, model="fork", exec=["cat"],
                            limits={"per_source": 1, "wait_timeout": "10m"})
        self.daemon.reload()
        uri = self.daemon.address("held")
        self.daemon.soft_limit("nofile", 150)
        clients = []
        self.addCleanup(lambda: [client.close() for client in clients])
        for index in range(200):
            client = self.client(uri, source=(f"127.0.0.{2 + index % 100}", 0))
            clients.append(client)
        self.ask(self.daemon, "status", shape="status")
        self.ask(self.daemon, "status", "held", shape="status NAME")
        for client in clients:
            client.close()
        self.eventually(lambda: len(os.listdir(f"/proc/{self.daemon.pid}/fd")) <= held + 10, "descriptors come back")
        self.still_well()
