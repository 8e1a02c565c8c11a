# SPDX-License-Identifier: MIT
"""superd-proxy between its clients and real backends."""

import hashlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import DEADLINE, HandlerTest, blocking, read_all, read_exactly, main, until

HTTP = """
import http.server, os, sys, time
open(sys.argv[2], "a").write("%d\\n" % os.getpid())
time.sleep(float(sys.argv[3]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
LIES = """
import os, socket, sys, time
address = os.environ["NOTIFY_SOCKET"]
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
notice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
time.sleep(0.3)
print("almost", flush=True)
open(sys.argv[2], "w").write(str(time.monotonic()))
notice.sendto(b"STATUS=up\\nREADY=1\\n", address.replace("@", chr(0)))
print("now serving clients", flush=True)
while True:
    client, _ = server.accept()
    client.sendall(b"ok")
    client.close()
"""

# A network whose clients get port 40000 or 40001.
TWO_PORTS = ('exec unshare --net sh -ec \'ip link set lo up; echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range; '
             'exec "$0" "$@"\' "$0" "$@"')


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def uri(sock):
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return "unix://" + (name if isinstance(name, str) else "@" + name[1:].decode())
    scheme = "udp" if sock.type & socket.SOCK_DGRAM else "tcp"
    return f"{scheme}://{'[' + name[0] + ']' if sock.family == socket.AF_INET6 else name[0]}:{name[1]}"


def cut(sock):
    """Closes with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class ProxyTest(HandlerTest):  # has no tests itself
    def closed_port(self):
        """Where nobody listens but who asks for it by number: none of the test's own listeners is given it."""
        held = self.open(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]

    def backend(self, family=socket.AF_INET, address=None):
        made = self.open(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address is None:
            address = ("127.0.0.1", 0) if family == socket.AF_INET else ("::1", 0)
        made.bind(address)
        made.listen(128)
        return made

    def proxy(self, *arguments, listener=None, env=None, shell=None):
        """A proxy on a listening socket, as under handoff = "listen"."""
        listener = listener or self.listener()
        handler = self.start("proxy", *arguments, stdin=listener, env=env, shell=shell)
        return handler, listener

    def through(self, listener, backend):
        """A client and what the backend accepts for it."""
        client = self.connect(listener)
        served = self.own(backend.accept()[0])
        served.settimeout(DEADLINE)
        return client, served

    def expect_reset(self, sock):
        with self.assertRaises(ConnectionResetError):
            read_all(sock)

    def expect_no_service(self, listener):
        """A client is reset, perhaps before it knows that it was connected."""
        with self.assertRaises(ConnectionResetError):
            client = self.connect(listener)
            client.sendall(b"x")
            read_all(client)

    def expect_refused(self, *arguments, stdin, env=None, why):
        """It ends with 2 and says why."""
        handler = self.start("proxy", *arguments, stdin=stdin, env=env)
        self.assertEqual(handler.wait(), 2, handler.errors())
        self.assertIn(why, handler.errors())


class Streams(ProxyTest):
    def test_both_directions_and_both_half_closes(self):
        """What one side sends, the other gets; an end is passed on while the other direction goes on."""
        backend = self.backend()
        _, listener = self.proxy(uri(backend))
        for first in ("client", "server"):
            client, served = self.through(listener, backend)
            self.echo_between(client, served)
            one, other = (client, served) if first == "client" else (served, client)
            one.sendall(b"the last")
            one.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(other), b"the last")
            other.sendall(b"still here")
            self.assertEqual(read_exactly(one, 10), b"still here")
            other.close()
            self.assertEqual(read_all(one), b"")

    def echo_between(self, client, served):
        client.sendall(b"question")
        self.assertEqual(read_exactly(served, 8), b"question")
        served.sendall(b"answer")
        self.assertEqual(read_exactly(client, 6), b"answer")

    def test_one_connection_on_stdin(self):
        """Under fork it serves the connection on stdin and leaves with it."""
        backend = self.backend()
        client, theirs = self.tcp_pair()
        handler = self.start("proxy", uri(backend), stdin=blocking(theirs))
        theirs.close()
        served = self.own(backend.accept()[0])
        self.echo_between(client, served)
        client.close()
        self.assertEqual(read_all(served), b"")
        served.close()
        self.expect_exit(handler)

    def test_much_data_both_ways_at_once(self):
        """Every byte arrives, in order, also between different kinds of sockets."""
        with tempfile.TemporaryDirectory() as folder:
            for backend in (self.backend(), self.backend(socket.AF_UNIX, os.path.join(folder, "socket")),
                            self.backend(socket.AF_UNIX, "\0superd-test-" + str(os.getpid()))):
                _, listener = self.proxy(uri(backend))
                client, served = self.through(listener, backend)
                size = 24 << 20
                block = os.urandom(1 << 20)
                found = {}

                def send(sock, share):
                    for _ in range(size // len(block)):
                        sock.sendall(block[share:] + block[:share])
                    sock.shutdown(socket.SHUT_WR)

                def receive(sock, name):
                    digest = hashlib.sha256()
                    while data := sock.recv(1 << 20):
                        digest.update(data)
                    found[name] = digest.hexdigest()

                threads = [threading.Thread(target=send, args=(client, 7)), threading.Thread(target=send, args=(served, 99)),
                           threading.Thread(target=receive, args=(client, "down")),
                           threading.Thread(target=receive, args=(served, "up"))]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                wanted = {name: hashlib.sha256((block[share:] + block[:share]) * 24).hexdigest()
                          for name, share in (("up", 7), ("down", 99))}
                self.assertEqual(found, wanted)

    def test_a_peer_that_does_not_read(self):
        """It holds up its own connection alone, and the other side stops after a bounded amount."""
        backend = self.backend()
        handler, listener = self.proxy(uri(backend))
        client, served = self.through(listener, backend)
        before = resident(handler.process.pid)
        for sender in (served, client):
            sender.setblocking(False)
            sent, quiet = 0, 0
            while quiet < 20:
                try:
                    sent += sender.send(bytes(1 << 16))
                    quiet = 0
                except BlockingIOError:
                    quiet += 1
                    time.sleep(0.01)
                self.assertLess(sent, 64 << 20)
        self.assertLess(resident(handler.process.pid) - before, 4 << 20)
        self.echo_between(*self.through(listener, backend))

    def test_resets_are_passed_on(self):
        """A connection that one side cuts is cut on the other, after what had been sent before."""
        backend = self.backend()
        _, listener = self.proxy(uri(backend))
        client, served = self.through(listener, backend)
        self.echo_between(client, served)
        cut(client)
        self.expect_reset(served)
        client, served = self.through(listener, backend)
        self.echo_between(client, served)
        cut(served)
        self.expect_reset(client)

    @unittest.skipUnless(os.geteuid() == 0, "needs root for a network of its own")
    def test_not_with_itself(self):
        """Where nobody listens on a port that the kernel gives to clients as well, nobody is served their own bytes."""
        handler, listener = self.proxy("tcp://127.0.0.1:40000", shell=TWO_PORTS)
        for _ in range(3):
            self.expect_no_service(listener)
        self.assertIn("a client is not served: tcp://127.0.0.1:40000: Connection refused", handler.errors())

    def test_several_targets_in_turn(self):
        """The first that takes the connection has it; an address that is known by name comes after one that refuses."""
        backend = self.backend()
        gone = self.closed_port()
        handler, listener = self.proxy(f"tcp://127.0.0.1:{gone}", "unix:///nonexistent/socket",
                                       f"tcp://localhost:{backend.getsockname()[1]}")
        for _ in range(3):
            self.echo_between(*self.through(listener, backend))
        self.assertIn(f"tcp://127.0.0.1:{gone}: Connection refused: the next target is tried", handler.errors())

    def test_no_target_takes_it(self):
        """The client is reset, the log says why, once; a later success is told."""
        port = self.closed_port()
        handler, listener = self.proxy(f"tcp://127.0.0.1:{port}")
        for _ in range(3):
            self.expect_no_service(listener)
        self.assertEqual(handler.errors().count("Connection refused"), 1)
        backend = self.backend(address=("127.0.0.1", port))
        self.echo_between(*self.through(listener, backend))
        self.assertIn("takes connections again (3 failed until then)", handler.errors())

    def test_one_connection_that_fails(self):
        """Under fork a backend that refuses is a failure."""
        client, theirs = self.tcp_pair()
        handler = self.start("proxy", f"tcp://127.0.0.1:{self.closed_port()}", stdin=blocking(theirs))
        theirs.close()
        self.expect_reset(client)
        self.assertEqual(handler.wait(), 1)

    def test_unknown_name(self):
        handler, listener = self.proxy("tcp://nobody.invalid:7")
        self.expect_no_service(listener)
        self.assertIn("tcp://nobody.invalid:7: ", handler.errors())

    def test_connect_timeout_and_full_backlog(self):
        """A backend that does not answer costs its client connect-timeout, and others nothing."""
        silent = self.open(socket.AF_INET, socket.SOCK_STREAM)
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fill = [self.open(socket.AF_INET, socket.SOCK_STREAM) for _ in range(4)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(silent.getsockname())
        time.sleep(0.1)
        backend = self.backend()
        handler, listener = self.proxy("--connect-timeout", "300ms", uri(silent), uri(backend))
        begun = time.monotonic()
        self.echo_between(*self.through(listener, backend))
        self.assertGreaterEqual(time.monotonic() - begun, 0.25)
        self.assertIn("timed out", handler.errors())

    def test_idle_timeout(self):
        """A connection without traffic is cut; one with traffic is not."""
        backend = self.backend()
        _, listener = self.proxy("--idle-timeout", "600ms", uri(backend))
        quiet, quiet_served = self.through(listener, backend)
        busy, busy_served = self.through(listener, backend)
        for _ in range(12):
            self.echo_between(busy, busy_served)
            time.sleep(0.1)
        self.expect_reset(quiet)
        self.expect_reset(quiet_served)
        self.echo_between(busy, busy_served)

    def test_idle_timeout_and_a_slow_reader(self):
        """Whoever still takes what the kernel holds for him is not idle."""
        backend = self.backend()
        _, listener = self.proxy("--idle-timeout", "600ms", uri(backend))
        client = self.open(socket.AF_INET, socket.SOCK_STREAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        served = self.own(backend.accept()[0])
        served.sendall(bytes(400_000))
        for _ in range(20):
            time.sleep(0.1)
            self.assertEqual(len(read_exactly(client, 20_000)), 20_000)

    def test_cut_after_a_half_close(self):
        """A client that has ended its side and is cut while it waits for an answer is noticed."""
        backend = self.backend()
        _, listener = self.proxy(uri(backend))
        client, served = self.through(listener, backend)
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(served), b"request")
        cut(client)
        poll = select.poll()
        poll.register(served, 0)
        self.assertTrue(poll.poll(DEADLINE * 1000))

    def test_bind(self):
        """The backend sees the address that --bind names; targets of another family are passed over."""
        backend, six = self.backend(), self.backend(socket.AF_INET6)
        _, listener = self.proxy("--bind", "127.0.0.9", uri(six), uri(backend))
        _, served = self.through(listener, backend)
        self.assertEqual(served.getpeername()[0], "127.0.0.9")

    def test_leaves_when_told(self):
        """After TERM nobody is taken, and who is there is served to the end."""
        backend = self.backend()
        handler, listener = self.proxy(uri(backend))
        client, served = self.through(listener, backend)
        handler.term()
        address = listener.getsockname()
        listener.close()
        until(lambda: self.is_refused(address))
        self.echo_between(client, served)
        self.assertIsNone(handler.process.poll())
        client.close()
        served.close()
        self.expect_exit(handler)

    @staticmethod
    def is_refused(address):
        sock = socket.socket()
        try:
            return sock.connect_ex(address) != 0
        finally:
            cut(sock)  # the proxy may have taken it

    def test_reports(self):
        """Each connection is reported when it is taken and when it is over; the end of the channel retires the proxy."""
        backend = self.backend()
        listener = self.listener()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.own(ours)
        handler = self.start("proxy", "--connections-max", "3", uri(backend), stdin=listener,
                             env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        theirs.close()
        ours.settimeout(DEADLINE)

        def expect(*records):
            found = []
            while len(found) < len(records):
                found += ours.recv(1280).split()
            self.assertEqual(sorted(found), sorted(records))

        expect(b"idle", b"idle", b"idle")
        pairs = []
        for _ in range(3):
            pairs.append(self.through(listener, backend))
            expect(b"busy")
        waiting = self.connect(listener)  # a fourth stays in the queue
        self.assertEqual(select.select([backend, ours], [], [], 0.3)[0], [])
        for sock in pairs.pop():
            sock.close()
        served = self.own(backend.accept()[0])
        self.echo_between(waiting, served)
        expect(b"idle", b"busy")
        ours.shutdown(socket.SHUT_WR)
        for sock in (*(sock for pair in pairs for sock in pair), waiting, served):
            sock.close()
        self.expect_exit(handler)

    def test_max_requests(self):
        backend = self.backend()
        handler, listener = self.proxy(uri(backend), env={"SUPERD_MAX_REQUESTS": "2"})
        for _ in range(2):
            client, served = self.through(listener, backend)
            client.close()
            served.close()
        self.expect_exit(handler)

    def test_few_descriptors(self):
        """With room for a few connections, more clients wait, and all are served."""
        backend = self.backend()
        _, listener = self.proxy(uri(backend), shell='ulimit -n 80; exec "$0" "$@"')
        clients = [self.connect(listener) for _ in range(40)]
        for client in clients:
            client.sendall(b"x")
        for client in clients:
            served = backend.accept()[0]
            self.assertEqual(served.recv(1), b"x")
            served.close()
            self.assertEqual(read_all(client), b"")
            client.close()

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount a resolv.conf of its own")
    def test_a_name_service_that_hangs(self):
        """Who waits for a name holds nobody up, and gets to the next target."""
        dns = self.udp("127.83.0.1", 53)
        self.assertEqual(subprocess.run(["unshare", "-m", "true"], check=False).returncode, 0)
        backend = self.backend()
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write("nameserver 127.83.0.1\noptions timeout:30 attempts:1\n")
            conf.flush()
            handler, listener = self.proxy(
                "--connect-timeout", "500ms", "tcp://slow.example.:7", uri(backend),
                shell=f'exec unshare -m sh -c \'mount --bind {conf.name} /etc/resolv.conf && exec "$0" "$@"\' "$0" "$@"')
            clients = [self.connect(listener) for _ in range(5)]
            for client in clients:
                client.sendall(b"x")
                served = self.own(backend.accept()[0])
                self.assertEqual(served.recv(1), b"x")
            self.assertTrue(dns.recv(512))
        self.assertIn("the name service does not answer", handler.errors())


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Headers(ProxyTest):
    def header(self, version, listener, backend, connect=None):
        _, listener = self.proxy("--send-proxy", version, uri(backend), listener=listener)
        client = connect() if connect else self.connect(listener)
        client.sendall(b"GET")
        client.shutdown(socket.SHUT_WR)
        served = self.own(backend.accept()[0])
        return client, read_all(served)

    def test_version_1(self):
        backend = self.backend()
        client, got = self.header("v1", self.listener(), backend)
        here, there = client.getsockname(), client.getpeername()
        self.assertEqual(got, f"PROXY TCP4 {here[0]} {there[0]} {here[1]} {there[1]}\r\nGET".encode())

    def test_version_2(self):
        backend = self.backend()
        client, got = self.header("v2", self.listener(), backend)
        here, there = client.getsockname(), client.getpeername()
        self.assertEqual(got, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + socket.inet_aton(here[0]) +
                         socket.inet_aton(there[0]) + struct.pack("!HH", here[1], there[1]) + b"GET")

    def test_ipv6_and_mapped(self):
        """IPv6 is TCP6; an IPv4 client of a dual-stack socket is TCP4."""
        backend = self.backend()
        dual = self.open(socket.AF_INET6, socket.SOCK_STREAM)
        dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        dual.bind(("::", 0))
        dual.listen()
        port = dual.getsockname()[1]
        blocking(dual)
        for host, family, word in (("::1", socket.AF_INET6, b"TCP6 ::1 ::1 "), ("127.0.0.1", socket.AF_INET, b"TCP4 127")):
            def connect():
                client = self.open(family, socket.SOCK_STREAM)
                client.connect((host, port))
                return client
            _, got = self.header("v1", dual, backend, connect)
            self.assertTrue(got.startswith(b"PROXY " + word), got)

    def test_what_is_no_address(self):
        """A client of a unix socket is UNKNOWN, or of no family."""
        backend = self.backend()
        for version, start in (("v1", b"PROXY UNKNOWN\r\nhello"), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00hello")):
            ours, theirs = self.pair()
            self.start("proxy", "--send-proxy", version, uri(backend), stdin=blocking(theirs))
            ours.sendall(b"hello")
            ours.shutdown(socket.SHUT_WR)
            served = self.own(backend.accept()[0])
            self.assertEqual(read_all(served), start)

    def test_a_client_that_has_gone(self):
        """What a client sent before it cut its connection is not passed on as if it were the proxy's own."""
        with tempfile.TemporaryDirectory() as folder:
            backend = self.backend(socket.AF_UNIX, os.path.join(folder, "socket"))
            listener = self.listener()
            client = self.connect(listener)
            client.sendall(b"DELETE")
            here, there = client.getsockname(), client.getpeername()
            cut(client)
            self.proxy("--send-proxy", "v1", uri(backend), listener=listener)
            served = self.own(backend.accept()[0])
            served.settimeout(DEADLINE)
            wanted = f"PROXY TCP4 {here[0]} {there[0]} {here[1]} {there[1]}\r\n".encode()
            self.assertEqual(read_exactly(served, len(wanted)), wanted)

    def test_what_superd_says_counts(self):
        """Under fork, behind a proxy or TLS, the client is the one of the environment."""
        backend = self.backend()
        ours, theirs = self.pair()
        self.start("proxy", "--send-proxy", "v1", uri(backend), stdin=blocking(theirs),
                   env={"PROTO": "TCP", "TCPREMOTEIP": "2001:db8::7", "TCPREMOTEPORT": "70", "TCPLOCALIP": "2001:db8::1",
                        "TCPLOCALPORT": "443"})
        ours.shutdown(socket.SHUT_WR)
        served = self.own(backend.accept()[0])
        self.assertEqual(read_all(served), b"PROXY TCP6 2001:db8::7 2001:db8::1 70 443\r\n")


class Datagrams(ProxyTest):
    def serve(self, *arguments, address="0.0.0.0", env=None):
        backend = self.udp()
        sock = self.udp(address)
        handler = self.start("proxy", *arguments, uri(backend), stdin=blocking(sock), env=env)
        return handler, sock, backend

    def peer(self, sock, host="127.0.0.1"):
        made = self.udp()
        made.connect((host, sock.getsockname()[1]))
        return made

    def test_sessions(self):
        """Each peer has a port of its own at the backend, and its answers come from the address that it asked."""
        _, sock, backend = self.serve()
        peers = [self.peer(sock, host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]
        seen = set()
        for turn in range(3):
            for number, peer in enumerate(peers):
                peer.send(b"%d %d" % (turn, number))
                data, sender = backend.recvfrom(100)
                self.assertEqual(data, b"%d %d" % (turn, number))
                seen.add(sender)
                backend.sendto(b"re " + data, sender)
                self.assertEqual(peer.recv(100), b"re " + data)
        self.assertEqual(len(seen), 3)

    def test_idle_and_leaving(self):
        """A silent session ends; without a pool the proxy leaves when nobody comes, for superd to watch again."""
        handler, sock, backend = self.serve("--idle-timeout", "300ms")
        peer = self.peer(sock)
        peer.send(b"x")
        backend.recv(10)
        self.expect_exit(handler)

    def test_limit(self):
        """At the limit a peer with one datagram gives way, and one that has sent more does not."""
        env = {"SUPERD_MAX_REQUESTS": "1000"}
        handler, sock, backend = self.serve("--connections-max", "2", env=env)
        talker, once, newcomer = (self.peer(sock) for _ in range(3))
        for data in (b"t1", b"t2"):
            talker.send(data)
            _, of_talker = backend.recvfrom(10)
        once.send(b"o1")
        _, of_once = backend.recvfrom(10)
        newcomer.send(b"n1")
        _, of_newcomer = backend.recvfrom(10)
        backend.sendto(b"lost", of_once)
        for sender, peer in ((of_talker, talker), (of_newcomer, newcomer)):
            backend.sendto(b"answer", sender)
            self.assertEqual(peer.recv(10), b"answer")
        self.nothing_pending(once)
        newcomer.send(b"n2")
        backend.recvfrom(10)
        once.send(b"o2")  # both others have sent more than one: no room
        self.assertEqual(select.select([backend], [], [], 0.3)[0], [])
        self.assertIn("no more than 2 sessions", handler.errors())

    def test_next_target(self):
        """A session whose backend is not there goes on with the next one."""
        backend = self.udp()
        sock = self.udp()
        self.start("proxy", f"udp://127.0.0.1:{free_udp_port()}", uri(backend), stdin=blocking(sock))
        peer = self.peer(sock)
        backend.settimeout(0.1)
        end = time.monotonic() + DEADLINE
        while True:
            peer.send(b"x")
            try:
                self.assertEqual(backend.recv(10), b"x")
                break
            except TimeoutError:
                self.assertLess(time.monotonic(), end)

    def test_datagrams_that_wait_go_on_to_the_next_target(self):
        """All that had not been refused reach the next target, in order."""
        backend, sock = self.udp(), self.udp()
        peer = self.peer(sock)
        for word in (b"1", b"2", b"3", b"4"):
            peer.send(word)
        port = backend.getsockname()[1]
        self.start("proxy", "--bind", "127.0.0.1", f"udp://localhost:{free_udp_port()}",
                   f"udp://localhost:{port}", stdin=blocking(sock))
        self.assertEqual([backend.recv(10) for _ in range(3)], [b"2", b"3", b"4"])

    def test_broadcast(self):
        """An answer to a broadcast leaves from an address of this host."""
        _, sock, backend = self.serve()
        peer = self.udp()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        peer.sendto(b"up?", sock.getsockname())
        backend.recv(10)
        peer.sendto(b"who", ("127.255.255.255", sock.getsockname()[1]))
        data, sender = backend.recvfrom(10)
        backend.sendto(data + b"?", sender)
        self.assertEqual(peer.recvfrom(10)[0], b"who?")

    @unittest.skipUnless(os.geteuid() == 0, "needs root for a network of its own")
    def test_not_with_itself(self):
        """Where nobody listens on a port that the kernel gives to clients as well, no peer gets its own datagrams."""
        sock = self.udp()
        handler = self.start("proxy", "udp://127.0.0.1:40000", stdin=blocking(sock), shell=TWO_PORTS,
                             env={"SUPERD_MAX_REQUESTS": "1000"})
        peers = [self.peer(sock) for _ in range(12)]
        for peer in peers:
            peer.send(b"mine")
        until(lambda: "udp://127.0.0.1:40000: Connection refused" in handler.errors())
        self.assertEqual(select.select(peers, [], [], 0.5)[0], [])

    def test_started_backend_ends(self):
        """A peer whose backend has ended has it started again by its next datagram, and in the end it is stopped."""
        sock = self.udp()
        port = free_udp_port()
        program = ("import os,socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); "
                   f"s.bind(('127.0.0.1',{port})); print('up',flush=True)\n"
                   "while True:\n d,a=s.recvfrom(99); s.sendto(b're '+d,a)\n if d==b'1': os._exit(0)")
        handler = self.start("proxy", "--ready", "line=up", "--idle-timeout", "2s", "--stop-after-idle", "200ms",
                             "--start", sys.executable, "-c", program, "--", f"udp://127.0.0.1:{port}",
                             stdin=blocking(sock), env={"SUPERD_MAX_REQUESTS": "1000"})
        peer = self.peer(sock)
        peer.send(b"1")
        self.assertEqual(peer.recv(10), b"re 1")
        until(lambda: "has ended with status 0" in handler.errors())
        peer.send(b"2")
        self.assertEqual(peer.recv(10), b"re 2")
        handler.term()
        self.assertEqual(handler.wait(), 0)
        self.assertEqual(handler.errors().count("is started"), 2)

    def test_started_backend(self):
        """The first datagrams wait for a backend that is started for them, and stopped when nobody has come for a while."""
        sock = self.udp()
        port = free_udp_port()
        program = ("import os,socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); time.sleep(.3); "
                   f"s.bind(('127.0.0.1',{port})); print('up',flush=True)\n"
                   "while True:\n d,a=s.recvfrom(99); s.sendto(b're '+d,a)")
        handler = self.start("proxy", "--ready", "line=up", "--idle-timeout", "500ms", "--stop-after-idle", "200ms",
                             "--start", sys.executable, "-c", program, "--", f"udp://127.0.0.1:{port}",
                             stdin=blocking(sock), env={"SUPERD_MAX_REQUESTS": "1000"})
        peer = self.peer(sock)
        for word in (b"1", b"2"):
            peer.send(word)
        self.assertEqual([peer.recv(10), peer.recv(10)], [b"re 1", b"re 2"])
        until(lambda: "has ended by signal 15" in handler.errors())
        time.sleep(0.3)
        self.assertEqual(handler.errors().count("is started"), 1)
        peer.send(b"3")
        self.assertEqual(peer.recv(10), b"re 3")


class Starting(ProxyTest):
    """The backend runs while it is needed."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.port = self.closed_port()
        self.starts = os.path.join(self.folder, "starts")

    def program(self, text, *words):
        path = os.path.join(self.folder, f"{len(os.listdir(self.folder))}.py")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return [sys.executable, path, *map(str, words)]

    def http(self, delay=0.3):
        return self.program(HTTP, self.port, self.starts, delay)

    def on_demand(self, command, *options):
        return self.proxy(*options, "--start", *command, "--", f"tcp://127.0.0.1:{self.port}")

    def ask(self, listener):
        client = self.connect(listener)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client

    def expect_served(self, client):
        self.assertTrue(read_all(client).endswith(b"ok"))
        client.close()

    def started(self):
        try:
            with open(self.starts, encoding="ascii") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def test_fifty_clients_one_start(self):
        """No backend runs before the first client; fifty at once are served by one start."""
        handler, listener = self.on_demand(self.http(1))
        time.sleep(0.2)
        self.assertEqual(self.started(), [])
        clients = [self.ask(listener) for _ in range(50)]
        for client in clients:
            self.expect_served(client)
        self.assertEqual(len(self.started()), 1)
        handler.term()
        handler.wait()
        self.assertFalse(alive(self.started()[0]))

    def test_idle_stop_and_next_start(self):
        """Without clients it is stopped; the next client starts it again."""
        handler, listener = self.on_demand(self.http(0), "--stop-after-idle", "300ms")
        for turn in (1, 2):
            self.expect_served(self.ask(listener))
            self.assertEqual(len(self.started()), turn)
            until(lambda: not alive(self.started()[-1]))
        self.assertIn("stopped: no client for 300 ms", handler.errors())

    def test_client_keeps_it(self):
        """A client that is there keeps it running past stop-after-idle."""
        backend = self.program("import socket,sys\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\nwhile 1:\n"
                               " c=s.accept()[0]; c.sendall(c.recv(9)); globals().setdefault('k',[]).append(c)", self.port)
        _, listener = self.on_demand(backend, "--stop-after-idle", "200ms")
        client = self.connect(listener)
        self.echo(client)
        time.sleep(0.8)
        client.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            client.recv(1)

    def test_never_up(self):
        """Who waits for a backend that never comes up is closed in time, and told about in the log."""
        handler, listener = self.on_demand(["sleep", "60"], "--ready-within", "500ms")
        begun = time.monotonic()
        clients = [self.ask(listener) for _ in range(3)]
        for client in clients:
            self.expect_reset(client)
        self.assertGreater(time.monotonic() - begun, 0.4)
        until(lambda: "has not become ready within 500 ms, and is stopped" in handler.errors())
        self.assertRegex(handler.errors(), "a client is not served: the backend (is not|has not become) ready")

    def test_cannot_be_started(self):
        handler, listener = self.on_demand(["/nonexistent/program"], "--ready-within", "500ms")
        self.expect_reset(self.ask(listener))
        self.assertIn("could not be started: /nonexistent/program: No such file or directory", handler.errors())

    def test_clients_leave_before_it_is_ready(self):
        """A backend that nobody waits for any more is stopped; that it was not tried is no fault of its own."""
        handler, listener = self.on_demand(self.http(60), "--ready-within", "700ms")
        client = self.ask(listener)
        until(lambda: "is started" in handler.errors())
        cut(client)
        until(lambda: "its clients have left" in handler.errors())
        until(lambda: "has ended by signal 15" in handler.errors())
        self.assertNotIn("has not become ready", handler.errors())

    def test_dies_at_start(self):
        """One that dies is started again after a pause, while clients wait; the third start serves them."""
        count = os.path.join(self.folder, "count")
        script = (f'echo x >>{count}; [ $(wc -l <{count}) -ge 3 ] || exit 3; exec "$@"')
        handler, listener = self.on_demand(["sh", "-c", script, "sh", *self.http(0)])
        self.expect_served(self.ask(listener))
        self.assertEqual(handler.errors().count("has ended with status 3"), 2)

    def test_dies_later(self):
        """The next client of one that was killed starts it anew."""
        handler, listener = self.on_demand(self.http(0))
        self.expect_served(self.ask(listener))
        os.kill(self.started()[0], signal.SIGKILL)
        until(lambda: "has ended by signal 9" in handler.errors())
        self.expect_served(self.ask(listener))
        self.assertEqual(len(self.started()), 2)

    def test_hangs(self):
        """One that no longer takes connections is ended, and the next start serves."""
        backend = self.program("import os,socket,sys,time,signal\nf=open(sys.argv[2],'a'); f.write('%d\\n'%os.getpid());"
                               " f.close()\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                               "s=socket.create_server(('127.0.0.1',int(sys.argv[1])))\n"
                               "c=s.accept()[0]; c.sendall(b'ok'); c.close()\n"
                               "n=len(open(sys.argv[2]).readlines())\n"
                               "if n==1: s.close(); time.sleep(60)\n"
                               "while 1: c=s.accept()[0]; c.sendall(b'ok'); c.close()", self.port, self.starts)
        _, listener = self.on_demand(backend, "--ready-within", "8s", "--connect-timeout", "1s")
        self.assertEqual(read_all(self.connect(listener)), b"ok")
        begun = time.monotonic()
        while True:
            try:
                self.assertEqual(read_all(self.connect(listener)), b"ok")
                break
            except ConnectionResetError:
                self.assertLess(time.monotonic(), begun + 60)
        self.assertEqual(len(self.started()), 2)

    def test_busy(self):
        """One that serves a client is not stopped because others cannot be connected."""
        backend = self.program("import socket,sys,time\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])),backlog=0)\n"
                               "c=s.accept()[0]\nwhile 1: c.sendall(b'x'); time.sleep(.05)", self.port)
        handler, listener = self.on_demand(backend, "--ready-within", "4s", "--connect-timeout", "200ms")
        client = self.connect(listener)
        self.assertEqual(read_exactly(client, 1), b"x")
        others = [self.connect(listener) for _ in range(4)]
        until(lambda: "does not take connections any more" in handler.errors())
        self.expect_reset(others[-1])
        self.assertEqual(read_exactly(client, 160), b"x" * 160)
        self.assertNotIn("stopped", handler.errors())

    def test_the_one_who_tries_leaves(self):
        """Others who wait try instead."""
        # Whoever gets through asks first: where a backlog of none is shared, SYN cookies let a client believe in a
        # connection that the server forgot, and only data mends that.
        backend = self.program("import os,socket,sys,time\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])),backlog=0)\n"
                               "f=[socket.socket() for _ in range(3)]\n"
                               "for x in f: x.setblocking(False); x.connect_ex(s.getsockname())\n"
                               "open(sys.argv[2],'w').write('1\\n')\n"
                               "while os.path.exists(sys.argv[2]): time.sleep(.02)\n"
                               "for x in f: x.close()\n"
                               "while 1:\n c=s.accept()[0]\n try: c.recv(99) and c.sendall(b'ok')\n except OSError: pass\n"
                               " c.close()", self.port, self.starts)
        _, listener = self.on_demand(backend, "--ready-within", "10s", "--connect-timeout", "60s")
        first = self.connect(listener)
        until(lambda: self.started() == [1])
        second = self.ask(listener)
        time.sleep(0.5)  # by now the first one's connect is on its way
        cut(first)
        os.unlink(self.starts)
        self.expect_served(second)

    def test_more_than_may_wait(self):
        """Those beyond the clients who may wait are taken once the backend is ready, also when nobody leaves."""
        backend = self.program("import socket,sys,time\ntime.sleep(1)\n"
                               "s=socket.create_server(('127.0.0.1',int(sys.argv[1])),backlog=2048)\nk=[]\n"
                               "while 1: c=s.accept()[0]; c.sendall(b'k'); k.append(c)", self.port)
        listener = self.listener()
        listener.listen(2048)
        self.proxy("--start", *backend, "--", f"tcp://127.0.0.1:{self.port}", listener=listener)
        clients = [self.connect(listener) for _ in range(1030)]
        for client in clients:
            self.assertEqual(client.recv(1), b"k")

    def test_ready_by_notice_and_by_line(self):
        """Clients are let through when it says so, although it could be connected to before."""
        for readiness in ("notify", "line=now serving"):
            self.port = self.closed_port()
            stamp = os.path.join(self.folder, "stamp")
            handler, listener = self.on_demand(self.program(LIES, self.port, stamp), "--ready", readiness)
            self.assertEqual(read_all(self.connect(listener)), b"ok")
            with open(stamp, encoding="ascii") as file:
                self.assertLess(float(file.read()), time.monotonic())
            self.assertIn("almost", handler.errors())

    def test_ends_with_the_proxy(self):
        """Whatever descends from the backend ends with the proxy, also when that is killed."""
        script = 'sleep 1000 & setsid sleep 1001 & echo $! >"$0.sid"; exec "$@"'
        for kill in (False, True):
            self.port = self.closed_port()
            for name in os.listdir(self.folder):
                if not name.endswith(".py"):
                    os.unlink(os.path.join(self.folder, name))
            handler, listener = self.on_demand(["sh", "-c", script, os.path.join(self.folder, "x"), *self.http(0)])
            self.expect_served(self.ask(listener))
            with open(os.path.join(self.folder, "x.sid"), encoding="ascii") as file:
                apart = int(file.read())
            group = self.started()[0]
            self.assertTrue(alive(apart))
            if kill:
                handler.process.kill()
            else:
                handler.term()
            handler.process.wait()
            until(lambda: not alive(group) and not alive(apart))

    def test_descendants_may_end_in_order(self):
        """What the backend has put into a session of its own, and left behind, is told to end, and may take its time."""
        done = os.path.join(self.folder, "done")
        program = self.program(f"""import os, signal, subprocess, sys, time
if sys.argv[1:] == ["apart"]:
    def end(*_):
        time.sleep(0.3)
        with open({done!r}, "w") as file:
            file.write("in order")
        os._exit(0)
    signal.signal(signal.SIGTERM, end)
    print("up", flush=True)
    while True:
        signal.pause()
subprocess.Popen([sys.executable, sys.argv[0], "apart"], start_new_session=True)
time.sleep(1000)
""")
        middle = ["sh", "-c", '"$@" & wait', "sh", *program]
        handler, listener = self.on_demand(middle, "--ready", "line=up", "--ready-within", "8s")
        client = self.ask(listener)
        until(lambda: "is ready" in handler.errors())
        handler.term()
        client.close()
        handler.process.wait()
        until(lambda: os.path.exists(done))

    def test_limit_of_descriptors(self):
        """The backend has the soft limit that the proxy was started with, however many connections that one takes."""
        out = os.path.join(self.folder, "limit")
        script = f'ulimit -Sn >{out}.new; mv {out}.new {out}; exec "$@"'
        _, listener = self.proxy("--start", "sh", "-c", script, "sh", *self.http(0), "--",
                                 f"tcp://127.0.0.1:{self.port}", shell='ulimit -Sn 300; exec "$0" "$@"')
        self.expect_served(self.ask(listener))
        with open(out, encoding="ascii") as file:
            self.assertEqual(file.read(), "300\n")

    def test_backends_take_turns(self):
        """A second proxy of the service starts its backend when the first one's is gone; its clients wait."""
        self.port = self.closed_port()
        errors = os.memfd_create("errors")
        self.addCleanup(os.close, errors)
        log = f"exec \"$0\" \"$@\" 2>/proc/{os.getpid()}/fd/{errors}"
        first, listener = self.proxy("--start", *self.http(0), "--", f"tcp://127.0.0.1:{self.port}", shell=log)
        slow = self.connect(listener)
        slow.sendall(b"GET / ")
        until(lambda: len(self.started()) == 1)
        second_listener = self.listener()
        self.proxy("--start", *self.http(0), "--", f"tcp://127.0.0.1:{self.port}", shell=log, listener=second_listener)
        first.term()
        waiting = self.ask(second_listener)
        self.assertEqual(select.select([waiting], [], [], 0.5)[0], [])
        self.assertEqual(len(self.started()), 1)
        slow.close()
        self.expect_served(waiting)
        self.assertEqual(len(self.started()), 2)
        first.process.wait()
        self.assertFalse(alive(self.started()[0]))

    def test_environment(self):
        """It finds NOTIFY_SOCKET and the service's name, and nothing of the worker's; its input is empty."""
        out = os.path.join(self.folder, "environment")
        script = f'cat; env >{out}.new; mv {out}.new {out}; exec "$@"'
        _, listener = self.proxy("--start", "sh", "-c", script, "sh", *self.http(0), "--", f"tcp://127.0.0.1:{self.port}",
                                 env={"SUPERD_SERVICE": "web", "SUPERD_INSTANCES": "1", "SUPERD_MAX_REQUESTS": "9"})
        self.expect_served(self.ask(listener))
        with open(out, encoding="ascii") as file:
            names = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
        self.assertEqual(names["SUPERD_SERVICE"], "web")
        self.assertIn("NOTIFY_SOCKET", names)
        self.assertFalse({"SUPERD_INSTANCES", "SUPERD_MAX_REQUESTS", "LISTEN_FDS"} & set(names))


class Usage(ProxyTest):
    def test_wrong_usage(self):
        """What cannot work is told, with exit status 2."""
        target = "tcp://127.0.0.1:7"
        null = self.own(open(os.devnull, "rb"))
        for arguments, why in (
                ((), "no target"), (("http://x:1",), "must be tcp://"), (("tcp://::1:7",), "brackets"),
                (("tcp://x",), "no port"), (("tcp://x:0",), "from 1 to 65535"), (("unix://socket",), "unix:///PATH"),
                (("--connect-timeout", "10", target), "is not a duration"), (("--bind", "lo", target), "an address"),
                (("--send-proxy", "v3", target), "neither v1 nor v2"), (("--fast", target), "no such option"),
                (("--connections-max", "0", target), "above 0"), (("--ready-within", "1s", target), "needs --start"),
                (("--start", "true", target), 'must end in "--"'), (("--start", "--", target), "no command"),
                ((target, "udp://127.0.0.1:7"), "all udp://"),
                (("--start", "true", "--", "udp://127.0.0.1:7"), "needs --ready"), ((target,), "stdin is neither")):
            with self.subTest(arguments):
                self.expect_refused(*arguments, stdin=null, why=why)

    def test_start_needs_a_listening_socket_of_its_own(self):
        target = ("--start", "true", "--", "tcp://127.0.0.1:7")
        _, theirs = self.tcp_pair()
        self.expect_refused(*target, stdin=theirs, why='needs handoff = "listen"')
        self.expect_refused(*target, stdin=self.listener(), env={"SUPERD_INSTANCES": "2"}, why="limits.instances = 1")
        self.expect_refused("udp://127.0.0.1:7", stdin=self.listener(), why="connections need")
        self.expect_refused("tcp://127.0.0.1:7", stdin=self.udp(), why="datagrams need")


if __name__ == "__main__":
    main()
