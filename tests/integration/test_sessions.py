# SPDX-License-Identifier: MIT
"""Datagram sessions: one handler for each peer ([datagram] session = "peer")."""

import os
import re
import socket
import time

from control import Control
from harness import connect, process
from harness.installation import python
from harness.loopback import own_loopback
from upgrading import UpgradeCase

# What it says of itself is its pid, and how many datagrams it has had.
PYTHON_CHAT = """import os
count = 0
while True:
    data = os.read(0, 65536)
    if not data:
        os.write(1, b"bye")
        break
    count += 1
    os.write(1, b"%d %d %s" % (os.getpid(), count, data))
"""
SHELL_CHAT = """#!/bin/sh
count=0
while data=$(dd bs=64k count=1 2>/dev/null) && [ -n "$data" ]; do
    count=$((count + 1))
    echo "$$ $count $data"
done
echo bye
"""
TWO_EACH = """import os
for count in 1, 2:
    os.write(1, b"%d %s" % (os.getpid(), os.read(0, 65536)))
"""
VARIABLES = "PROTO UDPLOCALIP UDPLOCALPORT UDPREMOTEIP UDPREMOTEPORT REMOTE_ADDR REMOTE_PORT REMOTE_HOST".split()
SHOWS_VARIABLES = f"""import os
while os.read(0, 65536):
    os.write(1, " ".join(os.environ.get(name, "-") for name in {VARIABLES!r}).encode())
"""
DEAF = """import time
while True:
    time.sleep(100)
"""
FLOODS = """import os
while True:
    os.write(1, b"x" * 1000)
"""


def resident(pid):
    """In KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


class SessionCase(Control):  # has no tests itself
    def prepare(self, **options):
        """AddressSanitizer keeps what is freed, which would look as if superd did."""
        options.setdefault("environment", {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=1"})
        return super().prepare(**options)

    def daemon_with(self, code, *, name="chat", listen="udp://127.0.0.1:0", session_idle="60s", **keys):
        daemon = self.prepare()
        daemon.chat = dict(listen=listen, model="fork", exec=[python(), daemon.write(f"{name}.py", code)],
                           datagram={"session": "peer", "session_idle": session_idle}, **keys)
        if code.startswith("#!"):
            daemon.chat["exec"] = [daemon.script(name, code)]
        daemon.service(name, **daemon.chat)
        return daemon.start()

    def cats(self, **keys):
        """cat answers each datagram by the same, and leaves at an end."""
        keys.setdefault("listen", "udp://127.0.0.1:0")
        keys.setdefault("datagram", {"session": "peer", "session_idle": "60s"})
        return self.superd({"cat": dict(model="fork", exec=["cat"], **keys)})

    def peer(self, uri):
        return self.client(uri, timeout=30)

    def says(self, peer, word):
        """(pid, count, word) of the answer."""
        peer.send(word)
        return self.hears(peer)

    def hears(self, peer):
        pid, count, data = peer.recv(65536).split(b" ", 2)
        return int(pid), int(count), data.rstrip(b"\n")

    def echoes(self, peer, word):
        peer.send(word)
        self.assertEqual(peer.recv(65536), word)

    def sessions(self, daemon, name="cat"):
        return self.service_status(daemon, name)["sessions"]


class Sessions(SessionCase):
    def chat(self, code):
        daemon = self.daemon_with(code)
        peers = [self.peer(daemon.address("chat")) for _ in range(100)]
        for peer in peers:
            peer.send(b"first")
        pids = [self.hears(peer)[0] for peer in peers]
        self.assertEqual(len(set(pids)), 100)
        for count in range(2, 5):
            for number, peer in enumerate(peers):
                peer.send(b"%d of %d" % (count, number))
            for number, peer in enumerate(peers):
                self.assertEqual(self.hears(peer), (pids[number], count, b"%d of %d" % (count, number)))
        self.assertEqual(self.sessions(daemon, "chat")["open"], 100)
        self.assertEqual({child.pid for child in daemon.children()}, set(pids))

    def test_a_chat_of_100_peers_in_python(self):
        """Each of 100 peers over one port has a handler of its own, a Python program of ten lines that reads one
        datagram each time and writes one, and remembers."""
        self.chat(PYTHON_CHAT)

    def test_a_chat_of_100_peers_in_shell(self):
        """The same with a shell script that reads by dd."""
        self.chat(SHELL_CHAT)

    def test_reordered_and_lost_datagrams(self):
        """A handler gets what has come, in the order in which it has come: superd neither waits for what is missing nor
        sorts. Datagrams that come at once stay in order and apart, and none is lost."""
        daemon = self.daemon_with(PYTHON_CHAT)
        peer = self.peer(daemon.address("chat"))
        order = [3, 1, 2, 9, 7, 8, 4]
        for number in order:
            peer.send(b"%d" % number)
        self.assertEqual([int(self.hears(peer)[2]) for _ in order], order)
        many = [b"%d" % number * (1 + number % 40) for number in range(60)]
        for word in many:
            peer.send(word)
        self.assertEqual([self.hears(peer)[2] for _ in many], many)

    def test_the_largest_datagram(self):
        """65,507 bytes arrive and go back whole."""
        daemon = self.cats()
        peer = self.peer(daemon.address("cat"))
        self.echoes(peer, os.urandom(65507))

    def test_the_variables(self):
        """A handler finds the variables of a UDP client, with the address that was asked."""
        daemon = self.daemon_with(SHOWS_VARIABLES, listen="udp://*:0")
        port = daemon.address("chat").rsplit(":", 1)[1]
        peer = self.peer(f"udp://127.0.0.9:{port}")
        peer.send(b"?")
        own = peer.getsockname()
        self.assertEqual(peer.recv(1000).decode().split(), ["UDP", "127.0.0.9", port, own[0], str(own[1]), own[0],
                                                            str(own[1]), own[0]])

    def test_an_idle_session_ends(self):
        """After session_idle the handler reads an end, its last word still reaches the peer, and the peer's next
        datagram begins another session."""
        daemon = self.daemon_with(PYTHON_CHAT, session_idle="400ms")
        peer = self.peer(daemon.address("chat"))
        first, _, _ = self.says(peer, b"hello")
        self.assertEqual(peer.recv(100), b"bye")
        second, count, _ = self.says(peer, b"again")
        self.assertNotEqual(second, first)
        self.assertEqual(count, 1)
        self.assertGreaterEqual(self.sessions(daemon, "chat")["idle"], 1)

    def test_a_session_is_not_idle_while_something_passes(self):
        """A peer that goes on asking keeps its handler for longer than session_idle."""
        daemon = self.daemon_with(PYTHON_CHAT, session_idle="2s")
        peer = self.peer(daemon.address("chat"))
        pid, count, _ = self.says(peer, b"x")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            again, next_count, _ = self.says(peer, b"x")
            self.assertEqual((again, next_count), (pid, count + 1))
            count = next_count
            time.sleep(0.2)

    def test_a_handler_that_ends(self):
        """A handler ends after two datagrams. What the peer has sent beyond them is not lost: it begins the next
        session, in order."""
        daemon = self.daemon_with(TWO_EACH)
        peer = self.peer(daemon.address("chat"))
        for number in range(6):
            peer.send(b"%d" % number)
        answers = [peer.recv(1000).split() for _ in range(6)]
        self.assertEqual([int(word) for _, word in answers], list(range(6)))
        pids = [pid for pid, _ in answers]
        self.assertEqual((pids[0], pids[2], pids[4]), (pids[1], pids[3], pids[5]))
        self.assertEqual(len(set(pids)), 3)
        self.eventually(lambda: self.sessions(daemon, "chat")["open"] == 0, "no session is left")

    def test_a_handler_that_ends_without_reading(self):
        """What a handler has not even begun to read does not start another one for ever: it is dropped, counted and
        told."""
        daemon = self.superd({"cat": dict(listen="udp://127.0.0.1:0", model="fork", exec=["false"],
                                          datagram={"session": "peer"})})
        peer = self.peer(daemon.address("cat"))
        peer.send(b"x")
        self.eventually(lambda: self.sessions(daemon)["dropped"]["unread"] == 1, "it is counted")
        daemon.wait_for(lambda r: "a datagram was dropped: its session ended" in r["message"])
        self.eventually(lambda: not daemon.children(), "the handler ended")
        self.assertEqual(self.service_status(daemon, "cat")["started"], 1)

    def test_empty_datagrams(self):
        """An empty datagram would read as an end: it is dropped and counted, begins no session and ends none."""
        daemon = self.cats()
        peer = self.peer(daemon.address("cat"))
        peer.send(b"")
        self.eventually(lambda: self.sessions(daemon)["dropped"]["empty"] == 1, "it is counted")
        self.assertEqual(daemon.children(), [])
        self.echoes(peer, b"one")
        peer.send(b"")
        self.echoes(peer, b"two")
        self.assertEqual(self.sessions(daemon)["dropped"]["empty"], 2)
        self.assertEqual(self.service_status(daemon, "cat")["started"], 1)

    def test_answers_come_from_the_address_that_was_asked(self):
        """On a wildcard socket, a connected peer hears from 127.0.0.1, 127.0.0.2 and ::1 what it has asked there, and one
        socket that asks two addresses has a session with each."""
        daemon = self.cats(listen="udp://*:0")
        port = int(daemon.address("cat").rsplit(":", 1)[1])
        for host in "127.0.0.1", "127.0.0.2", "[::1]":
            with self.subTest(host):
                self.echoes(self.peer(f"udp://{host}:{port}"), b"hello")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(30)
            for host in "127.0.0.1", "127.0.0.2", "127.0.0.1":
                peer.sendto(host.encode(), (host, port))
                self.assertEqual(peer.recvfrom(100), (host.encode(), (host, port)))
        self.assertEqual(self.sessions(daemon)["open"], 5)

    def test_unix_peers(self):
        """On unix-dgram a peer is whoever has a name. What comes from a socket without one is dropped, counted and
        told."""
        daemon = self.prepare()
        folder = daemon.shared("sockets")
        daemon.service("cat", listen=f"unix-dgram://{folder}/cat", model="fork", exec=["cat"],
                       socket={"mode": "0666"}, datagram={"session": "peer"})
        daemon.start()
        for name in "a", "b":
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.addCleanup(peer.close)
            peer.bind(f"{folder}/{name}")
            os.chmod(f"{folder}/{name}", 0o666)
            peer.settimeout(30)
            for word in b"one", b"two":
                peer.sendto(word, f"{folder}/cat")
                self.assertEqual(peer.recv(100), word)
        self.assertEqual(self.sessions(daemon)["open"], 2)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"x", f"{folder}/cat")
        self.eventually(lambda: self.sessions(daemon)["dropped"]["nameless"] == 1, "it is counted")
        daemon.wait_for(lambda r: r["message"].startswith("a sender without a name: a datagram was dropped"))


class SessionsAsUser(Sessions):
    as_user = "nobody"


class Limits(SessionCase):
    def test_10000_peers_against_a_limit_of_100(self):
        """10,000 senders of one datagram each compete with one another for the places that are left, while 60 peers
        that had sent twice go on, and somebody new gets in. superd's memory does not grow with them."""
        daemon = self.cats(limits={"instances": 100}, socket={"receive_buffer": "4M"})
        uri = daemon.address("cat")
        port = int(uri.rsplit(":", 1)[1])
        established = [self.peer(uri) for _ in range(60)]
        for peer in established:
            self.echoes(peer, b"one")
            self.echoes(peer, b"two")
        served = {child.pid for child in daemon.children()}
        before = resident(daemon.pid)
        for number in range(10_000):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((f"127.77.{number >> 8}.{number & 255}", 0))
                sender.sendto(b"forged", ("127.0.0.1", port))
            if number % 20 == 0:
                self.echoes(established[number // 20 % 60], b"%d" % number)
        new = connect(uri, timeout=1)
        self.addCleanup(new.close)

        def gets_in():
            try:
                self.echoes(new, b"let me in")
            except TimeoutError:
                return False
            return True

        self.eventually(gets_in, "a new peer is served")
        for peer in established:
            self.echoes(peer, b"three")
        now = self.sessions(daemon)
        self.assertLessEqual(now["open"] + now["waiting"], 100)
        self.assertGreater(now["gave_way"], 5000)
        self.assertLess(resident(daemon.pid) - before, 16 << 10)
        self.assertLessEqual(served, {child.pid for child in daemon.children()})

    def test_sessions_that_do_not_give_way(self):
        """While all places are taken by peers that have sent twice, a new one is refused and counted, and explain says
        so."""
        daemon = self.cats(limits={"instances": 2})
        uri = daemon.address("cat")
        peers = [self.peer(uri) for _ in range(2)]
        for peer in peers:
            self.echoes(peer, b"one")
        verdict = self.ask(daemon, "explain", "cat", "127.0.0.1", shape="explain")
        self.assertEqual(verdict["outcome"], "waits")
        self.assertIn("the oldest of the 2 that have sent one datagram only gives way", str(verdict["steps"]))
        for peer in peers:
            self.echoes(peer, b"two")
        third = self.peer(uri)
        third.send(b"x")
        self.eventually(lambda: self.service_status(daemon, "cat")["refused"]["instances"] == 1, "it is refused")
        verdict = self.ask(daemon, "explain", "cat", "127.0.0.1", shape="explain")
        self.assertEqual(verdict["verdict"].split(" (")[0], "refused: session")
        for peer in peers:
            self.echoes(peer, b"three")

    def test_the_oldest_gives_way(self):
        """At the limit the oldest session of one datagram ends, its handler reads an end, and the new peer is served."""
        daemon = self.cats(limits={"instances": 2})
        uri = daemon.address("cat")
        first, second, third = (self.peer(uri) for _ in range(3))
        self.echoes(first, b"a")
        self.echoes(second, b"b")
        old = {child.pid for child in daemon.children()}
        self.echoes(third, b"c")
        self.assertEqual(len(old & {child.pid for child in daemon.children()}), 1)
        self.echoes(second, b"still here")
        self.assertEqual(self.sessions(daemon)["gave_way"], 1)

    def test_limits_by_source(self):
        """The first datagram of a peer is the client that access, per_source and per_source_rate judge."""
        daemon = self.cats(listen="udp://*:0", limits={"per_source": 2}, access={"deny": ["127.0.0.66"]})
        uri = f"udp://127.0.0.1:{daemon.address('cat').rsplit(':', 1)[1]}"
        host = own_loopback()
        peers = [connect(uri, timeout=30, source=(host, 0)) for _ in range(3)]
        for peer in peers:
            self.addCleanup(peer.close)
        for peer in peers[:2]:
            self.echoes(peer, b"one")
        peers[2].send(b"x")
        self.eventually(lambda: self.service_status(daemon, "cat")["refused"]["per_source"] == 1, "it is refused")
        self.echoes(self.peer(uri), b"another source")
        self.echoes(peers[0], b"two")
        denied = connect(uri, timeout=0.5, source=("127.0.0.66", 0))
        self.addCleanup(denied.close)
        denied.send(b"x")
        with self.assertRaises(TimeoutError):
            denied.recv(10)

    def test_a_rate_holds_for_sessions_and_not_for_datagrams(self):
        """With a rate of two sessions an hour, the third peer waits, while the first two go on as often as they like."""
        daemon = self.cats(limits={"rate": "1/h", "burst": 2})
        uri = daemon.address("cat")
        peers = [self.peer(uri) for _ in range(2)]
        for number in range(20):
            for peer in peers:
                self.echoes(peer, b"%d" % number)
        self.peer(uri).send(b"x")
        self.eventually(lambda: self.sessions(daemon)["waiting"] == 1, "the third waits")
        self.echoes(peers[0], b"still")
        self.assertEqual(self.service_status(daemon, "cat")["refused"]["rate"], 1)

    def test_a_handler_that_never_reads(self):
        """What a deaf handler has no room for is dropped, counted and told once; superd keeps a bounded part of it, and
        others are served meanwhile. After session_idle the handler is stopped, and the peer gets another."""
        daemon = self.daemon_with(DEAF, session_idle="2s", stop_timeout="1s")
        daemon.service("cat", listen="udp://127.0.0.1:0", model="fork", exec=["cat"], datagram={"session": "peer"})
        daemon.reload()
        before = resident(daemon.pid)
        peer, other = self.peer(daemon.address("chat")), self.peer(daemon.address("cat"))
        started = time.monotonic()
        for _ in range(5000):
            peer.send(b"x" * 1000)
            if _ % 100 == 0:
                self.echoes(other, b"%d" % _)
        deaf = self.sessions(daemon, "chat")
        if time.monotonic() - started < 2:
            self.assertLessEqual(deaf["queued"], 64)
        self.eventually(lambda: self.sessions(daemon, "chat")["dropped"]["overflow"] > 1000, "datagrams are dropped")
        self.assertLess(resident(daemon.pid) - before, 8 << 10)
        told = daemon.find(lambda r: "a datagram was dropped: its handler does not keep up" in r["message"])
        self.assertEqual(len(told), 1)
        self.eventually(lambda: self.sessions(daemon, "chat")["idle"] >= 1, "its session is idle")
        old = {child.pid for child in daemon.children()}
        peer.send(b"x")
        self.eventually(lambda: {child.pid for child in daemon.children()} - old, "the peer has another handler")
        self.eventually(lambda: self.service_status(daemon, "chat")["exits"]["stopped"] >= 1, "the old one is stopped")

    def test_a_handler_that_floods(self):
        """A handler that writes without end, to a peer that does not read, holds up nobody else."""
        daemon = self.daemon_with(FLOODS)
        daemon.service("cat", listen="udp://127.0.0.1:0", model="fork", exec=["cat"], datagram={"session": "peer"})
        daemon.reload()
        flooded = self.peer(daemon.address("chat"))
        flooded.send(b"go")
        flooded.recv(2000)
        other = self.peer(daemon.address("cat"))
        for number in range(200):
            self.echoes(other, b"%d" % number)
        self.assertGreater(self.service_status(daemon, "chat")["replies"], 200)

    def test_paused(self):
        """While a service is paused, those that have a session go on, and new peers wait."""
        daemon = self.cats()
        uri = daemon.address("cat")
        old, new = self.peer(uri), self.peer(uri)
        self.echoes(old, b"one")
        self.superctl(daemon, "pause", "cat")
        new.send(b"me too")
        self.echoes(old, b"two")
        self.eventually(lambda: self.sessions(daemon)["waiting"] == 1, "the new one waits")
        self.superctl(daemon, "resume", "cat")
        self.assertEqual(new.recv(100), b"me too")

    def test_paused_without_a_session(self):
        """A paused service whose last session has ended leaves new peers in the kernel's queue, as others do."""
        daemon = self.cats(datagram={"session": "peer", "session_idle": "1s"})
        uri = daemon.address("cat")
        self.echoes(self.peer(uri), b"one")
        self.superctl(daemon, "pause", "cat")
        self.eventually(lambda: self.sessions(daemon)["open"] == 0, "the session ends")
        late = self.peer(uri)
        late.send(b"late")
        for _ in range(3):  # each answer comes after what the loop has found ready
            self.assertEqual(self.sessions(daemon)["waiting"], 0)
        self.superctl(daemon, "resume", "cat")
        self.assertEqual(late.recv(100), b"late")


class Shown(SessionCase):
    def test_status_top_and_metrics(self):
        """status, its table of processes, and the metrics tell of sessions and of what was dropped."""
        daemon = self.cats()
        peer = self.peer(daemon.address("cat"))
        self.echoes(peer, b"x")
        peer.send(b"")
        self.eventually(lambda: self.sessions(daemon)["dropped"]["empty"] == 1, "it is counted")
        out, _ = self.superctl(daemon, "status", "cat")
        self.assertRegex(out, r"sessions +1 open, 0 waiting, 1 begun; datagrams dropped: empty 1\n")
        self.assertRegex(out, r"\d+ +session +127\.0\.0\.1:\d+")
        out, _ = self.superctl(daemon, "metrics")
        for line in ('superd_sessions{service="cat",state="open"} 1', 'superd_sessions_begun_total{service="cat"} 1',
                     'superd_datagrams_dropped_total{service="cat",reason="empty"} 1',
                     'superd_sessions_ended_total{service="cat",reason="idle"} 0',
                     'superd_session_datagrams_queued{service="cat"} 0'):
            self.assertIn(line, out)

    def test_a_service_without_sessions(self):
        """It tells of none."""
        daemon = self.superd({"cat": dict(listen="udp://127.0.0.1:0", model="fork", exec=["cat"])})
        self.assertIsNone(self.sessions(daemon))


class SessionsOverReload(SessionCase):
    def test_in_the_middle_of_a_chat(self):
        """A reload that changes the handler leaves running sessions as they are; new peers get the new one."""
        daemon = self.daemon_with(PYTHON_CHAT)
        uri = daemon.address("chat")
        old = self.peer(uri)
        pid, _, _ = self.says(old, b"one")
        daemon.service("chat", **{**daemon.chat, "exec": ["cat"]})
        daemon.reload()
        self.assertEqual(self.says(old, b"two"), (pid, 2, b"two"))
        self.echoes(self.peer(uri), b"new")
        self.assertEqual(self.says(old, b"three"), (pid, 3, b"three"))

    def test_without_sessions_from_now_on(self):
        """Sessions end where the new definition has none: the handlers read an end, and say their last word."""
        daemon = self.daemon_with(PYTHON_CHAT)
        peer = self.peer(daemon.address("chat"))
        self.says(peer, b"one")
        daemon.service("chat", listen="udp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon.reload()
        self.assertEqual(peer.recv(100), b"bye")
        self.echoes(peer, b"two")

    def test_removed(self):
        """So they do with their service, or with its address."""
        for how in "service", "address":
            with self.subTest(how):
                daemon = self.daemon_with(PYTHON_CHAT)
                peer = self.peer(daemon.address("chat"))
                self.says(peer, b"one")
                if how == "service":
                    daemon.remove("chat")
                else:
                    daemon.service("chat", **{**daemon.chat, "listen": f"udp://{own_loopback()}:0"})
                daemon.reload()
                self.assertEqual(peer.recv(100), b"bye")
                self.eventually(lambda: not daemon.children(), "the handler ended")

    def test_removed_and_put_back(self):
        """Handlers of a former definition that have not left yet answer from its address, and do not keep it: what is
        put back is served at once, for single datagrams and for sessions."""
        stays = ("import os, time\nos.write(1, b'old ' + os.read(0, 65536))\n"
                 "while not os.path.exists(%r):\n    time.sleep(0.02)\nos.write(1, b'late')\n")
        for address in own_loopback(), "*":
            for datagram in {}, {"session": "peer"}:
                with self.subTest(f"{address} {datagram}"):
                    host = own_loopback() if address == "*" else address
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                        free.bind((host, 0))
                        port = free.getsockname()[1]
                    daemon = self.prepare()
                    gate = os.path.join(daemon.directory, "gate")
                    keys = dict(listen=f"udp://{address}:{port}", model="fork", stop_timeout="60s")
                    if datagram:
                        keys["datagram"] = datagram
                    daemon.service("it", exec=[python(), daemon.write("stays.py", stays % gate)], **keys)
                    daemon.start()
                    old = self.peer(f"udp://{host}:{port}")
                    old.send(b"one")
                    self.assertEqual(old.recv(100), b"old one")
                    for _ in range(2):
                        daemon.remove("it")
                        daemon.reload()
                        daemon.service("it", exec=["cat"], **keys)
                        daemon.reload()
                        for _ in range(4):
                            self.echoes(self.peer(f"udp://{host}:{port}"), b"new")
                    with open(gate, "wb"):
                        pass
                    self.assertEqual(old.recv(100), b"late")

    def test_another_socket(self):
        """A reload that needs a new socket for the address keeps the session, and new peers are served."""
        for address in own_loopback(), "*":
            with self.subTest(address):
                host = own_loopback() if address == "*" else address
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                    free.bind((host, 0))
                    port = free.getsockname()[1]
                daemon = self.daemon_with(PYTHON_CHAT, listen=f"udp://{address}:{port}")
                old = self.peer(f"udp://{host}:{port}")
                pid = self.says(old, b"one")[0]
                daemon.service("chat", **daemon.chat, socket={"freebind": True})
                daemon.reload()
                self.assertEqual(self.says(old, b"two")[:2], (pid, 2))
                for _ in range(8):
                    self.assertEqual(self.says(self.peer(f"udp://{host}:{port}"), b"one")[1], 1)

    def test_begun_by_a_reload(self):
        """A service that served single datagrams has sessions from a reload on."""
        daemon = self.superd({"cat": dict(listen="udp://127.0.0.1:0", model="fork", exec=["cat"])})
        peer = self.peer(daemon.address("cat"))
        self.echoes(peer, b"one")
        daemon.service("cat", listen="udp://127.0.0.1:0", model="fork", exec=["cat"], datagram={"session": "peer"})
        daemon.reload()
        self.echoes(peer, b"two")
        pids = {child.pid for child in daemon.children()}
        self.echoes(peer, b"three")
        self.assertEqual({child.pid for child in daemon.children()}, pids)


class SessionsOverUpgrade(SessionCase, UpgradeCase):
    def test_in_the_middle_of_a_chat(self):
        """An upgrade keeps each peer's handler, the counts, and who has sent one datagram only."""
        daemon = self.daemon_with(PYTHON_CHAT, limits={"instances": 3})
        uri = daemon.address("chat")
        first, second, third = (self.peer(uri) for _ in range(3))
        before = [self.says(peer, b"one") for peer in (first, second, third)]
        for peer in (first, third):
            self.says(peer, b"two")
        self.upgrade(daemon)
        self.assertEqual(self.says(first, b"three"), (before[0][0], 3, b"three"))
        self.assertEqual(self.says(third, b"three"), (before[2][0], 3, b"three"))
        counted = self.sessions(daemon, "chat")
        self.assertEqual((counted["open"], counted["begun"]), (3, 3))
        new = self.peer(uri)
        self.says(new, b"one")  # in place of the second
        self.assertEqual(self.sessions(daemon, "chat")["gave_way"], 1)
        self.assertNotIn(before[1][0], [child.pid for child in daemon.children()])
        self.upgrade(daemon)
        self.assertEqual(self.says(first, b"four"), (before[0][0], 4, b"four"))

    def test_what_is_queued_and_who_waits(self):
        """What a handler has not read yet, and peers that wait for a place, go over an upgrade in order."""
        slow = "import os\ngate = os.open('gate', os.O_RDONLY)\nos.read(gate, 1)\nos.close(gate)\n"
        slow += PYTHON_CHAT.replace("count, data)", "count, data[:5])")
        daemon = self.prepare()
        gate = daemon.path("gate")
        os.mkfifo(gate)
        os.chmod(gate, 0o644)
        slow = slow.replace("'gate'", repr(gate))
        daemon.service("chat", listen="udp://127.0.0.1:0", model="fork", limits={"instances": 2},
                       socket={"receive_buffer": "4M"},
                       exec=[python(), daemon.write("slow.py", slow)], datagram={"session": "peer"})
        daemon.start()
        uri = daemon.address("chat")
        first, second = (self.peer(uri) for _ in range(2))
        words = [b"%04d " % number + b"x" * 30_000 for number in range(12)]
        for word in words:
            first.send(word)
        self.eventually(lambda: self.sessions(daemon, "chat")["queued"] > 0, "more has come than the kernel holds")
        self.superctl(daemon, "pause", "chat")
        second.send(b"waits")
        self.eventually(lambda: self.sessions(daemon, "chat")["waiting"] == 1, "the second waits")
        second.send(b"still")
        self.upgrade(daemon)
        self.assertEqual(self.sessions(daemon, "chat")["waiting"], 1)
        with open(gate, "wb"):
            pass
        self.assertEqual([self.hears(first)[2] for _ in words], [word[:5] for word in words])
        self.superctl(daemon, "resume", "chat")
        self.eventually(lambda: self.sessions(daemon, "chat")["open"] == 2, "the second has its handler")
        with open(gate, "wb"):
            pass
        self.assertEqual([self.hears(second)[1:] for _ in range(2)], [(1, b"waits"), (2, b"still")])

    def test_an_idle_one_and_one_that_has_read_its_end(self):
        """The time of silence goes on over an upgrade, and so does the patience with a handler that does not leave."""
        stays = "import os, time\nwhile os.read(0, 65536):\n    os.write(1, b'x')\nos.write(1, b'end')\ntime.sleep(1000)\n"
        daemon = self.daemon_with(stays, session_idle="1s", stop_timeout="3s")
        peer = self.peer(daemon.address("chat"))
        peer.send(b"x")
        self.assertEqual(peer.recv(10), b"x")
        self.upgrade(daemon)
        self.assertEqual(peer.recv(10), b"end")
        self.upgrade(daemon)
        self.eventually(lambda: not daemon.children(), "it is stopped")
        self.assertEqual(self.service_status(daemon, "chat")["exits"]["stopped"], 1)
