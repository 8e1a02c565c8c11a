# SPDX-License-Identifier: MIT
"""[log] usage: what each connection has used, in the log, in status and in the metrics."""

import concurrent.futures
import os
import shutil
import socket
import struct
import threading
import time

from control import Control
from harness import Reader, connect
from upgrading import Session, UpgradeCase

TCP = "tcp://127.0.0.1:0"
# The client's first line says how many bytes it wants, and when: "after" it has ended, or "before", by a handler that
# ends its side first. "linger": so many that they do not arrive, with SO_LINGER, and the handler exits.
TRANSFER = r"""#!/usr/bin/perl
use Socket;
my ($line, $all) = ("", 0);
while (sysread(STDIN, my $byte, 1)) { last if $byte eq "\n"; $line .= $byte; $all++; }
my ($bytes, $when) = split / /, $line;
sub answer { my $left = $bytes; while ($left > 0) { my $n = syswrite(STDOUT, "x" x ($left < 65536 ? $left : 65536)); exit 1 unless $n; $left -= $n; } }
sub read_all { while (sysread(STDIN, my $part, 65536)) {} }
if ($when eq "after") { read_all(); answer(); }
if ($when eq "before") { answer(); shutdown(STDOUT, 1); read_all(); }
if ($when eq "linger") {
    setsockopt(STDOUT, SOL_SOCKET, SO_LINGER, pack("ii", 1, 30)) or die;
    use IO::Handle; STDOUT->blocking(0);
    while (syswrite(STDOUT, "x" x 65536)) {}
}
"""


class UsageCase(Control):  # has no tests itself
    def setUp(self):
        super().setUp()
        if not shutil.which("perl"):
            self.skipTest("needs perl")

    def transfers(self, **keys):
        daemon = self.prepare()
        script = daemon.script("transfer", TRANSFER)
        daemon.service("web", **{"listen": TCP, "model": "fork", "exec": [script], "limits": {"instances": 500},
                                 "log": {"usage": True, "connections": "all"}, **keys})
        return daemon.start()

    def lines(self, daemon, service="web"):
        """The lines of all ended connections."""
        return daemon.find(lambda r: "ended after" in r["message"] and r.get("service") == service)

    def line(self, daemon, sock_name, service="web"):
        """The line of the ended connection from that address."""
        return daemon.wait_for(lambda r: "ended after" in r["message"], service=service,
                               peer=f"{sock_name[0]}:{sock_name[1]}")

    def transfer(self, uri, wanted, body, when):
        """Sends and receives so many bytes, each to its end; the address it came from."""
        with connect(uri) as client:
            name = client.getsockname()
            line = f"{wanted} {when}\n".encode()
            if when == "before":
                client.sendall(line)
                got = len(Reader(client).rest())
                client.sendall(b"b" * body)
            else:
                sender = threading.Thread(target=lambda: (client.sendall(line + b"b" * body),
                                                          client.shutdown(socket.SHUT_WR)))
                sender.start()
                got = len(Reader(client).rest())
                sender.join()
            self.assertEqual(got, wanted)
        return name, len(line) + body


class Usage(UsageCase):
    def test_bytes(self):
        """1,000 transfers of odd sizes, each way and with either side ending first: the bytes are those that were
        sent, in each line and in the sum."""
        daemon = self.transfers()
        uri = daemon.address("web")

        def one(number):
            wanted, body = number * 37 % 1009 * (1 + number % 5 * 150), number * 53 % 997 * (1 + number % 7 * 90)
            name, sent = self.transfer(uri, wanted, body, ("after", "before")[number % 2])
            return name, sent, wanted

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            done = list(pool.map(one, range(1000)))
        # The kernel may give an address out again, so an address can have several lines.
        told = self.eventually(lambda: len(lines := self.lines(daemon)) >= len(done) and lines, "a line of each")
        self.assertEqual(sorted((line["peer"], line["bytes_in"], line["bytes_out"]) for line in told),
                         sorted((f"{name[0]}:{name[1]}", sent, wanted) for name, sent, wanted in done))
        for line in told:
            self.assertIn(f"{line['bytes_in']} bytes in, {line['bytes_out']} byte", line["message"])
        usage = self.service_status(daemon, "web")["usage"]
        self.assertEqual(usage["bytes_in"], sum(sent for _, sent, _ in done))
        self.assertEqual(usage["bytes_out"], sum(wanted for *_, wanted in done))
        metrics, _ = self.superctl(daemon, "metrics")
        self.assertIn(f'superd_received_bytes_total{{service="web"}} {usage["bytes_in"]}\n', metrics)
        self.assertIn(f'superd_sent_bytes_total{{service="web"}} {usage["bytes_out"]}\n', metrics)

    def test_reset(self):
        """Where the client resets the connection, no more bytes are told than were sent."""
        daemon = self.transfers()
        for number in range(40):
            with connect(daemon.address("web")) as client:
                name = client.getsockname()
                line = f"{number * 1000} {('after', 'before')[number % 2]}\n".encode() + b"b" * number * 77
                client.sendall(line)
                if number % 4 == 1:
                    client.recv(1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            told = self.line(daemon, name)
            self.assertLessEqual(told["bytes_in"], len(line))
            self.assertLessEqual(told["bytes_out"], number * 1000)

    def test_models(self):
        """Every way in which a handler gets its client has the same figures."""
        for model, prefork in (("fork", {}), ("iterative", {}), ("delayed", {}), ("prefork", {}),
                               ("prefork", {"warm": "start"}), ("prefork", {"warm": "clone"})):
            with self.subTest(model=model, prefork=prefork):
                daemon = self.transfers(model=model, **({"prefork": prefork} if prefork else {}))
                if prefork.get("warm") == "clone":
                    self.eventually(lambda: self.service_status(daemon, "web")["warm"]["in_force"] == "clone" and
                                    self.service_status(daemon, "web")["spare"] > 0, "a template and copies")
                for when in ("after", "before"):
                    name, sent = self.transfer(daemon.address("web"), 12345, 678, when)
                    line = self.line(daemon, name)
                    self.assertEqual((line["bytes_in"], line["bytes_out"]), (sent, 12345))
                    self.assertGreater(line["rtt_usec"], 0)
                    self.assertEqual(line["retransmits"], 0)
                    self.assertIn("cpu_user_usec", line)
                daemon.stop()

    def test_processor_and_memory(self):
        """Processor time and peak memory are the handler's, and of the children that it has waited for; a peak below
        what superd itself has is told as such."""
        daemon = self.prepare()
        work = daemon.script("work", "#!/bin/sh\nread -r what\ncase $what in\n"
                             "child) perl -e 'my $x = \"a\" x (200 << 20); 1 while (times)[0] < 0.3' ;;\nesac\n")
        daemon.service("web", listen=TCP, model="fork", exec=[work], log={"usage": True, "connections": "all"})
        daemon.start()
        lines = []
        for word in (b"child\n", b"nothing\n"):
            with connect(daemon.address("web")) as client:
                client.sendall(word)
                name = client.getsockname()
                Reader(client).rest()
            lines.append(self.line(daemon, name))
        self.assertGreaterEqual(lines[0]["cpu_user_usec"], 250_000)
        self.assertGreaterEqual(lines[0]["memory_peak"], 200 << 20)
        self.assertLess(lines[1]["cpu_user_usec"] + lines[1]["cpu_system_usec"], 250_000)
        self.assertLess(lines[1].get("memory_peak", lines[1].get("memory_peak_at_most")), 200 << 20)
        shown, _ = self.superctl(daemon, "status", "web")
        self.assertRegex(shown, r"usage +CPU .* user, .* system; \d\d\dM of memory at most; ")
        usage = self.service_status(daemon, "web")["usage"]
        self.assertEqual(usage["memory_peak"], lines[0]["memory_peak"])

    def test_failures_only(self):
        """The figures are on the lines that log.connections lets through; the sums have all."""
        daemon = self.transfers(log={"usage": True})
        name, sent = self.transfer(daemon.address("web"), 10, 20, "after")
        self.eventually(lambda: self.service_status(daemon, "web")["exits"]["ok"] == 1, "the handler's end")
        self.assertEqual(self.service_status(daemon, "web")["usage"]["bytes_in"], sent)
        self.assertEqual(daemon.find(lambda r: "ended after" in r["message"]), [])
        self.assertTrue(name)

    def test_datagrams(self):
        """A handler of a datagram has processor time and memory, and no connection."""
        daemon = self.superd({"web": dict(listen="udp://127.0.0.1:0", model="fork", exec=["cat"],
                                          log={"usage": True, "connections": "all"})})
        with connect(daemon.address("web")) as client:
            client.send(b"x")
            self.assertEqual(client.recv(10), b"x")
            line = self.line(daemon, client.getsockname())
        self.assertIn("cpu_user_usec", line)
        self.assertNotIn("bytes_in", line)

    def test_off(self):
        """Without usage nothing is kept open and nothing is told."""
        daemon = self.transfers(log={"connections": "all"})
        name, _ = self.transfer(daemon.address("web"), 10, 20, "after")
        self.assertNotIn("cpu_user_usec", self.line(daemon, name))
        self.assertIsNone(self.service_status(daemon, "web")["usage"])


class UsageHostile(UsageCase):
    def open_descriptors(self, daemon):
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    def test_lingering(self):
        """Handlers that leave unsent data behind, on sockets that are to linger for 30 s, hold up nobody."""
        daemon = self.transfers()
        name, _ = self.transfer(daemon.address("web"), 1, 1, "after")
        self.line(daemon, name)
        before = self.open_descriptors(daemon)
        deaf = []
        for _ in range(20):
            client = self.client(daemon.address("web"))
            client.sendall(b"1 linger\n")
            deaf.append(client)
        begun = time.monotonic()
        for client in deaf:
            self.assertGreater(self.line(daemon, client.getsockname())["bytes_out"], 1000)
        for _ in range(5):
            self.transfer(daemon.address("web"), 100, 100, "after")
        self.assertLess(time.monotonic() - begun, 15)  # one that lingered would take 30 s
        self.eventually(lambda: self.open_descriptors(daemon) <= before, "the copies are closed")
        for client in deaf:  # and what was written arrives
            self.assertGreater(len(Reader(client).rest()), 1000)

    def test_few_descriptors(self):
        """Where descriptors are scarce there is no copy of a connection: clients are served all the same, and their
        lines have no bytes."""
        daemon = self.prepare()
        daemon.service("web", listen=TCP, model="fork", exec=["cat"], limits={"instances": 300},
                       log={"usage": True, "connections": "all"})
        daemon.start()
        daemon.soft_limit("nofile", 200)
        sessions = [Session(self.client(daemon.address("web"))) for _ in range(150)]
        for session in sessions:
            session.goes_on(self, b"here")
        names = [session.sock.getsockname() for session in sessions]
        for session in sessions:
            session.sock.close()
        lines = [self.line(daemon, name) for name in names]
        told = [line for line in lines if "bytes_in" in line]
        self.assertGreater(len(told), 5)
        self.assertLess(len(told), 30)
        self.assertEqual({line["bytes_in"] for line in told}, {5})
        self.assertTrue(all("cpu_user_usec" in line for line in lines))
        self.assertEqual([r for r in daemon.records if r["level"] in ("warning", "error")], [])

    def test_handler_closes_early(self):
        """A handler's close reaches its client when the handler ends, its shutdown at once."""
        daemon = self.prepare()
        script = daemon.script("closes", "#!/bin/sh\nread -r what\nif [ $what = shut ]; then perl -e "
                               "'shutdown(STDIN, 1)'; fi\nexec 0<&- 1>&-\nread -r x <>fifo\n")
        fifo = daemon.path("fifo")
        os.mkfifo(fifo, 0o666)
        os.chmod(fifo, 0o666)
        daemon.service("web", listen=TCP, model="fork", exec=[script], working_directory=daemon.directory,
                       log={"usage": True})
        daemon.start()
        shut, closed = self.client(daemon.address("web")), self.client(daemon.address("web"))
        shut.sendall(b"shut\n")
        closed.sendall(b"close\n")
        self.assertEqual(shut.recv(1), b"")
        closed.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            closed.recv(1)
        closed.settimeout(30)
        self.superctl(daemon, "kill", "web", "KILL")
        self.assertEqual(closed.recv(1), b"")


class UsageUpgrade(UsageCase, UpgradeCase):
    superctl = Control.superctl

    def test_upgrade(self):
        """The bytes of a connection that goes on over upgrades are told whole."""
        daemon = self.prepare()
        daemon.service("web", listen=TCP, model="fork", exec=["cat"], log={"usage": True, "connections": "all"})
        daemon.start()
        session = Session(self.client(daemon.address("web")))
        session.goes_on(self, b"before")
        self.upgrade(daemon)
        session.goes_on(self, b"between")
        self.upgrade(daemon)
        session.goes_on(self, b"after")
        name = session.sock.getsockname()
        session.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(session.reader.rest(), b"")
        line = self.line(daemon, name)
        self.assertEqual((line["bytes_in"], line["bytes_out"]), (21, 21))
        usage = self.service_status(daemon, "web")["usage"]
        self.upgrade(daemon)
        self.assertEqual(self.service_status(daemon, "web")["usage"], usage)
