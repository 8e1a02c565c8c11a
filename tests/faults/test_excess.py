# SPDX-License-Identifier: MIT
"""What a client over a limit, or a denied client, sees; and what is counted for it."""

import contextlib
import datetime
import errno
import os
import socket
import subprocess
import time
import unittest

from faults import FaultCase, figure
from harness.installation import python
from harness.wire import Reader

DENIED, OTHER = "127.0.7.7", "127.0.7.8"
HELD_OF_ONE_SOURCE = 16


class ExcessCase(FaultCase):  # has no tests itself
    def outcome(self, sock, data=b""):
        """What comes, and how it ends: b"" for FIN, the name of the error, or "nothing" in a second."""
        try:
            if data:
                sock.sendall(data)
        except ConnectionResetError:  # reported once, by whichever call comes first
            return b"", "ECONNRESET"
        except BrokenPipeError:
            pass
        text = b""
        try:
            while part := sock.recv(4096):
                text += part
            # A reset that follows the FIN would be an error of the socket by now, or soon.
            with contextlib.suppress(socket.timeout):
                sock.settimeout(0.1)
                sock.recv(1)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return text, errno.errorcode[error] if error else "FIN"
        except socket.timeout:
            return text, "nothing"
        except OSError as error:
            return text, errno.errorcode[error.errno]

    def outcome_of(self, uri, data=b"", **options):
        """The same for a new client, which may be reset before its connect(2) has returned."""
        try:
            return self.outcome(self.client(uri, **options), data)
        except ConnectionResetError:
            return b"", "ECONNRESET"

    def refusals(self, daemon):
        """The service's refusals by reason, without the zeros."""
        state = daemon.status()["fault"]
        return {name.removeprefix("refused_"): int(value) for name, value in state.items()
                if name.startswith("refused_") and int(value) > 0}

    def occupied(self, **keys):
        """A service whose one place for this source, or for all, is taken by a handler that stays."""
        daemon, uri = self.serving("until", "DIR/go", **keys)
        first = self.client(uri)
        self.eventually(lambda: self.count(daemon, "handlers") == 1, "the first is served")
        self.addCleanup(lambda: os.path.isdir(daemon.directory) and daemon.write("go", ""))
        return daemon, uri, first


class PerSource(ExcessCase):
    def test_queue(self):
        """Held: waits for its own source's turn, while others go straight through, and is served."""
        daemon, uri, first = self.occupied(limits={"per_source": 1})
        second = self.client(uri)
        self.eventually(lambda: self.count(daemon, "held") == 1, "the second is held")
        self.client(uri, source=(OTHER, 0))
        self.eventually(lambda: self.count(daemon, "handlers") == 2, "another goes through")
        daemon.write("go", "")
        self.assertEqual(self.outcome(first), (b"answer\n", "FIN"))
        self.assertEqual(self.outcome(second), (b"answer\n", "FIN"))
        self.assertEqual(self.refusals(daemon), {})

    def test_wait_timeout(self):
        """Held for wait_timeout: ended, with FIN, and counted."""
        daemon, uri, _ = self.occupied(limits={"per_source": 1, "wait_timeout": "500ms"})
        began = time.monotonic()
        second = self.client(uri)
        self.assertEqual(self.outcome(second, b"hello\n"), (b"", "FIN"))
        took = time.monotonic() - began
        figure(f"wait_timeout = 500ms: ended after {took:.2f} s")
        self.assertGreater(took, 0.45)
        self.assertEqual(self.refusals(daemon), {"wait_timeout": 1})
        self.assertEqual(self.count(daemon, "held"), 0)
        daemon.wait_for(refusal="wait_timeout", service="fault")

    def test_no_more_than_so_many_are_held(self):
        """Past the number that is held for one source, clients are ended and counted; other sources are held."""
        daemon, uri, first = self.occupied(limits={"per_source": 1, "wait_timeout": "5m"})
        others = [self.client(uri) for _ in range(20)]
        self.eventually(lambda: self.count(daemon, "accepted") == 21, "all are examined")
        held = self.count(daemon, "held")
        self.assertEqual(held, HELD_OF_ONE_SOURCE)
        self.assertEqual(self.refusals(daemon), {"per_source": 20 - held})
        theirs = [self.client(uri, source=(OTHER, 0)) for _ in range(3)]
        self.eventually(lambda: self.count(daemon, "held") == held + 2, "others are held, too")
        daemon.write("go", "")
        ends = [self.outcome(sock) for sock in [first, *others, *theirs]]
        self.assertEqual(ends.count((b"answer\n", "FIN")), 1 + held + 3)
        self.assertEqual(ends.count((b"", "FIN")), 20 - held)
        figure(f"of 20 clients over per_source, {held} are held")

    def test_hang_up(self):
        """A held client that leaves is noticed; one that only has nothing more to say is served."""
        daemon, uri, _ = self.occupied(limits={"per_source": 1, "wait_timeout": "5m"})
        with self.client(uri):
            self.eventually(lambda: self.count(daemon, "held") == 1, "it is held")
        self.eventually(lambda: self.count(daemon, "held") == 0, "it has left")
        self.assertEqual(self.refusals(daemon), {"gone": 1})
        reset = self.client(uri)
        self.eventually(lambda: self.count(daemon, "held") == 1, "it is held")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        reset.close()
        self.eventually(lambda: self.count(daemon, "held") == 0, "it has left")
        self.assertEqual(self.refusals(daemon), {"gone": 2})
        half = self.client(uri)
        half.sendall(b"hello\n")
        half.shutdown(socket.SHUT_WR)
        self.eventually(lambda: self.count(daemon, "held") == 1, "it is held")
        daemon.write("go", "")
        self.assertEqual(Reader(half).line(), b"answer")

    def test_close(self):
        """FIN, and no reset even if the client has sent something."""
        daemon, uri, _ = self.occupied(limits={"per_source": 1, "on_excess": "close"})
        self.assertEqual(self.outcome_of(uri), (b"", "FIN"))
        self.assertEqual(self.outcome(self.client(uri), b"x" * 20000), (b"", "FIN"))
        self.assertEqual(self.refusals(daemon), {"per_source": 2})
        daemon.wait_for(refusal="per_source", service="fault")

    def test_reset(self):
        """ECONNRESET."""
        daemon, uri, _ = self.occupied(limits={"per_source": 1, "on_excess": "reset"})
        self.assertEqual(self.outcome_of(uri), (b"", "ECONNRESET"))
        self.assertEqual(self.refusals(daemon), {"per_source": 1})

    def test_reject(self):
        """The text, whole, then FIN, even if the client has sent something."""
        text = "busy, " * 600 + "come again\n"
        daemon, uri, _ = self.occupied(limits={"per_source": 1, "on_excess": "reject", "reject_text": text})
        self.assertEqual(self.outcome_of(uri), (text.encode(), "FIN"))
        self.assertEqual(self.outcome(self.client(uri), b"x" * 20000), (text.encode(), "FIN"))
        self.assertEqual(self.refusals(daemon), {"per_source": 2})

    def test_prefix(self):
        """With source_prefix_ipv4 = 24 neighbours are one source."""
        daemon, uri = self.serving("until", "DIR/go", limits={"per_source": 1, "source_prefix_ipv4": 24,
                                                              "on_excess": "close"})
        self.client(uri, source=("127.0.7.1", 0))
        self.eventually(lambda: self.count(daemon, "handlers") == 1, "the first is served")
        self.assertEqual(self.outcome(self.client(uri, source=("127.0.7.2", 0))), (b"", "FIN"))
        self.client(uri, source=("127.0.6.1", 0))
        self.eventually(lambda: self.count(daemon, "handlers") == 2, "another network is served")
        daemon.write("go", "")

    def test_users(self):
        """On unix sockets the source is the peer's uid."""
        if os.geteuid() != 0:
            self.skipTest("needs root: clients of two users")
        daemon, uri = self.serving("until", "DIR/go", listen=f"unix://@superd-faults-{os.getpid()}",
                                   limits={"per_source": 1, "on_excess": "reject", "reject_text": "busy\n"})

        def client(uid):
            program = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\n"
                       f"s.connect('\\0superd-faults-{os.getpid()}')\nprint(s.makefile().read(), end='')")
            return subprocess.Popen([python(), "-c", program], user=uid, group=uid, extra_groups=[],
                                    stdout=subprocess.PIPE, text=True)

        def finish(process):
            return process.communicate(timeout=60)[0]
        one = client(64001)
        self.eventually(lambda: self.count(daemon, "handlers") == 1, "the first user is served")
        self.assertEqual(finish(client(64001)), "busy\n")
        two = client(64002)
        self.eventually(lambda: self.count(daemon, "handlers") == 2, "the second user is served")
        daemon.write("go", "")
        self.assertEqual((finish(one), finish(two)), ("answer\n", "answer\n"))
        self.assertEqual(self.refusals(daemon), {"per_source": 1})
        self.assertTrue(uri.startswith("unix://"))


class InstancesFull(ExcessCase):
    def test_queue(self):
        """Clients wait in the backlog."""
        daemon, uri, first = self.occupied(limits={"instances": 1})
        second = self.client(uri)
        self.assertEqual(daemon.status()["fault"]["state"], "full")
        self.assertEqual(self.count(daemon, "accepted"), 1)
        daemon.write("go", "")
        self.assertEqual(self.outcome(first), (b"answer\n", "FIN"))
        self.assertEqual(self.outcome(second), (b"answer\n", "FIN"))

    def turned_away(self, expected, **limits):
        daemon, uri, first = self.occupied(limits={"instances": 1, **limits})
        outcomes = [self.outcome_of(uri, data, timeout=2) for data in (b"", b"x" * 20000)]
        self.assertEqual(outcomes, [expected, expected])
        self.assertEqual(sum(self.refusals(daemon).values()), 2)
        daemon.write("go", "")
        self.assertEqual(self.outcome(first), (b"answer\n", "FIN"))
        self.eventually(lambda: int(daemon.status()["fault"]["handlers"]) == 0, "its place is free")
        self.assertEqual(self.converse(uri), b"answer")

    def test_close(self):
        """Clients are taken and ended with FIN."""
        self.turned_away((b"", "FIN"), on_excess="close")

    def test_reset(self):
        """Clients are taken and reset."""
        self.turned_away((b"", "ECONNRESET"), on_excess="reset")

    def test_reject(self):
        """Clients are accepted, sent a text, and ended with FIN."""
        self.turned_away((b"busy\n", "FIN"), on_excess="reject", reject_text="busy\n")


class Rates(ExcessCase):
    def test_rate(self):
        """A tripped rate pauses the service until the next token: no client is lost, and the rate is as set."""
        daemon, uri = self.serving("wait", "0", limits={"rate": "20/s", "burst": 5})
        figures = self.load(uri, parallel=10, total=30).finish()
        self.all_served(figures, 30)
        took = figures["microseconds"] / 1e6
        figure(f"rate 20/s, burst 5: 30 clients in {took:.2f} s, paused {self.refusals(daemon).get('rate')} times")
        self.assertGreater(took, (30 - 5) / 20 - 0.1)
        self.assertEqual(set(self.refusals(daemon)), {"rate"})

    def test_paused(self):
        """While it waits for its token it says so."""
        daemon, uri = self.serving("wait", "0", limits={"rate": "1/h", "burst": 1})
        self.assertEqual(self.converse(uri), b"answer")
        waiting = self.client(uri)
        self.eventually(lambda: daemon.status()["fault"]["state"] == "paused", "it is paused")
        self.again(daemon, "wait", "0", limits={"rate": "100/s"})
        self.assertEqual(self.outcome(waiting), (b"answer\n", "FIN"))

    def test_per_source_rate(self):
        """Under queue a source past its rate is held until its next token; others go through."""
        daemon, uri = self.serving("wait", "0", limits={"per_source_rate": "10/s", "per_source_burst": 1})
        load = self.load(uri, source=OTHER, parallel=10, total=11)
        self.assertEqual(self.converse(uri), b"answer")
        figures = load.finish()
        self.all_served(figures, 11)
        took = figures["microseconds"] / 1e6
        figure(f"per_source_rate 10/s: 11 clients at once in {took:.2f} s")
        self.assertGreater(took, 0.9)
        self.assertEqual(self.refusals(daemon), {})

    def test_per_source_rate_reset(self):
        """Under reset a source past its rate is reset; others go through."""
        daemon, uri = self.serving("wait", "0", limits={"per_source_rate": "1/h", "on_excess": "reset"})
        self.assertEqual(self.outcome_of(uri), (b"answer\n", "FIN"))
        self.assertEqual(self.outcome_of(uri), (b"", "ECONNRESET"))
        self.assertEqual(self.outcome(self.client(uri, source=(OTHER, 0))), (b"answer\n", "FIN"))
        self.assertEqual(self.refusals(daemon), {"per_source_rate": 1})

    def test_load(self):
        """Above max_load clients wait; without it they are served."""
        if os.getloadavg()[0] < 0.02:
            self.skipTest("nothing has run on this machine: its load is below any limit")
        daemon, uri = self.serving("wait", "0", limits={"max_load": 0.001})
        waiting = [self.client(uri) for _ in range(3)]
        self.assertEqual(daemon.status()["fault"]["state"], "paused")
        self.assertEqual(self.count(daemon, "accepted"), 0)
        self.again(daemon, "wait", "0")
        self.assertEqual([self.outcome(sock) for sock in waiting], [(b"answer\n", "FIN")] * 3)


class Access(ExcessCase):
    def from_denied(self, uri):
        return self.outcome_of(uri, b"x" * 1000, source=(DENIED, 0))

    def dropped(self, uri):
        """A connection attempt from there gets no answer."""
        with socket.socket(socket.AF_INET if "[" not in uri else socket.AF_INET6) as sock:
            sock.bind((DENIED, 0))
            sock.settimeout(0.5)
            _, _, where = uri.partition("://")
            host, _, port = where.rpartition(":")
            with self.assertRaises(socket.timeout):
                sock.connect((host, int(port)))

    def test_close(self):
        """A denied client gets FIN, the rest are served."""
        daemon, uri = self.serving("wait", "0", access={"deny": ["127.0.7.0/24"], "allow": ["127.0.0.0/8", OTHER]})
        self.assertEqual(self.from_denied(uri), (b"", "FIN"))
        self.assertEqual(self.refusals(daemon), {"denied": 1})
        daemon.wait_for(refusal="denied", service="fault")
        self.assertEqual(self.outcome(self.client(uri, source=(OTHER, 0))), (b"answer\n", "FIN"), "longest match")
        self.assertEqual(self.converse(uri), b"answer")

    def test_reset(self):
        """A denied client gets ECONNRESET; and an allow list denies the rest."""
        daemon, uri = self.serving("wait", "0", access={"allow": ["127.0.0.1"], "on_deny": "reset"})
        self.assertEqual(self.from_denied(uri), (b"", "ECONNRESET"))
        self.assertEqual(self.refusals(daemon), {"denied": 1})
        self.assertEqual(self.converse(uri), b"answer")

    def test_drop(self):
        """A denied client gets nothing at all, and superd does not see it; a reload lets it in."""
        daemon, uri = self.serving("wait", "0", access={"deny": [DENIED], "on_deny": "drop"})
        self.dropped(uri)
        self.assertEqual(self.converse(uri), b"answer")
        self.assertEqual((self.refusals(daemon), self.count(daemon, "accepted")), ({}, 1))
        self.again(daemon, "wait", "0")
        self.assertEqual(self.outcome(self.client(uri, source=(DENIED, 0))), (b"answer\n", "FIN"))

    def test_times(self):
        """Outside `times` clients are refused for that reason; a reload with other times lets them in."""
        now = datetime.datetime.now()
        day = (now + datetime.timedelta(days=3)).strftime("%a")
        closed = {"times": [f"{day} 10:00-10:01"]}
        daemon, uri = self.serving("wait", "0", access=closed)
        self.assertEqual(self.outcome(self.client(uri), b"hello\n"), (b"", "FIN"))
        self.assertEqual(self.refusals(daemon), {"time": 1})
        daemon.wait_for(refusal="time", service="fault")
        self.again(daemon, "wait", "0", access={**closed, "on_deny": "reset"})
        self.assertEqual(self.outcome_of(uri), (b"", "ECONNRESET"))
        self.again(daemon, "wait", "0", access={**closed, "on_deny": "drop"})
        self.dropped(uri)
        self.assertEqual(self.refusals(daemon), {"time": 2})
        self.again(daemon, "wait", "0", access={"times": ["Mon-Sun 00:00-24:00"]})
        self.assertEqual(self.converse(uri), b"answer")

    def test_pool(self):
        """Workers that accept for themselves never see a denied client."""
        daemon = self.superd({"fault": dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                                            exec=["superd-echo"], access={"deny": [DENIED], "on_deny": "drop"})})
        uri = daemon.address("fault")
        self.dropped(uri)
        self.assertEqual(self.converse(uri), b"hello")
        with self.client(uri, source=(OTHER, 0)) as sock:
            sock.sendall(b"hello\n")
            self.assertEqual(Reader(sock).line(), b"hello")
        daemon.service("fault", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen", exec=["superd-echo"],
                       access={"allow": [DENIED], "on_deny": "drop"})
        daemon.reload()
        with self.client(uri, source=(DENIED, 0)) as sock:
            sock.sendall(b"hello\n")
            self.assertEqual(Reader(sock).line(), b"hello")

    def test_datagrams(self):
        """The owner of a datagram socket never sees a denied sender's."""
        for model, handler in (("iterative", ["datagrams"]), ("fork", ["wait", "0"])):
            with self.subTest(model):
                daemon, uri = self.serving(*handler, listen="udp://127.0.0.1:0", model=model,
                                           access={"deny": [DENIED], "on_deny": "drop"})
                denied = self.client(uri, source=(DENIED, 0), timeout=0.5)
                denied.send(b"hello\n")
                self.assertEqual(self.converse(uri), b"answer")
                with self.assertRaises(socket.timeout):
                    denied.recv(100)
                self.again(daemon, *handler, listen="udp://127.0.0.1:0", model=model,
                           access={"deny": [OTHER], "on_deny": "drop"})
                denied.settimeout(30)
                denied.send(b"hello\n")
                self.assertEqual(denied.recv(100), b"answer\n")


if __name__ == "__main__":
    unittest.main()
