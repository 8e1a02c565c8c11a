# SPDX-License-Identifier: MIT
"""superd-proxy under superd: as a worker for thousands, as a handler for one, with a backend that is started on demand."""

import os
import select
import socket
import threading

from harness import Reader, SuperdCase, connect
from harness import process
from harness.installation import python
from upgrading import Session, UpgradeCase

TCP = "tcp://127.0.0.1:0"
# Answers by its pid and the lines that it gets.
BACKEND = """
import os, socket, sys, threading
def serve(client):
    with client, client.makefile("rwb", buffering=0) as stream:
        stream.write(b"%d\\n" % os.getpid())
        for line in stream:
            stream.write(line)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
HTTP = """
import http.server, os, sys, time
time.sleep(1)
def get(self):
    self.send_response(200); self.end_headers(); self.wfile.write(b"pid %d" % os.getpid())
server, handler = http.server.ThreadingHTTPServer, http.server.BaseHTTPRequestHandler
server.request_queue_size, handler.do_GET, handler.log_message = 128, get, lambda *_: None
server(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Backend:
    """One of the test's own, which answers each line."""

    def __init__(self, case):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=512)
        case.addCleanup(self.server.close)
        self.uri = "tcp://127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    @staticmethod
    def serve(client):
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                pass


class ProxyCase(UpgradeCase):  # has no tests itself
    def on_demand(self, text=BACKEND, *options, **more):
        """The keys of a service with a backend of that program."""
        port = free_port()
        keys = dict(listen=TCP, model="prefork", handoff="listen",
                    exec=["superd-proxy", *options, "--start", python(), "-c", text, str(port), "--",
                          f"tcp://127.0.0.1:{port}"], limits={"instances": 1})
        keys.update(more)
        return keys

    def join(self, uri):
        """A client of BACKEND, and the backend's pid."""
        session = Session(self.client(uri))
        return session, int(session.reader.line())

    def workers(self, daemon):
        return [child for child in daemon.children() if process.executable(child.pid) == "superd-proxy"]


class Worker(ProxyCase):
    def test_many_clients_in_one_process(self):
        """handoff = "listen": 200 connections at once go through one process."""
        backend = Backend(self)
        daemon = self.superd({"proxy": dict(listen=TCP, model="prefork", handoff="listen",
                                            exec=["superd-proxy", backend.uri], limits={"instances": 1})})
        sessions = [Session(self.client(daemon.address("proxy"))) for _ in range(200)]
        for number, session in enumerate(sessions):
            session.goes_on(self, b"%d" % number)
        self.assertEqual(len(self.workers(daemon)), 1)

    def test_reload_and_upgrade_lose_nobody(self):
        """Connections go on over a reload that changes the definition, and over an upgrade in place; new clients are
        served by the new definition, and the old worker leaves with its last connection."""
        backend = Backend(self)
        keys = dict(listen=TCP, model="prefork", handoff="listen", exec=["superd-proxy", backend.uri])
        daemon = self.superd({"proxy": keys})
        uri = daemon.address("proxy")
        sessions = [Session(self.client(uri)) for _ in range(20)]
        for session in sessions:
            session.goes_on(self, b"before")
        old = self.workers(daemon)[0].pid
        keys["exec"] = ["superd-proxy", "--connect-timeout", "5s", backend.uri]
        daemon.service("proxy", **keys)
        daemon.reload()
        for session in sessions:
            session.goes_on(self, b"reloaded")
        self.upgrade(daemon)
        for session in sessions:
            session.goes_on(self, b"upgraded")
        Session(self.client(uri)).goes_on(self, b"new")
        for session in sessions:
            session.sock.close()
        self.eventually(lambda: old not in [child.pid for child in self.workers(daemon)], "the old worker gone")

    def test_one_connection_under_other_models(self):
        """Under fork, prefork and iterative each client has a proxy of its own, and limits by source hold."""
        backend = Backend(self)
        daemon = self.superd({
            "fork": dict(listen=TCP, model="fork", exec=["superd-proxy", backend.uri],
                         limits={"per_source": 1, "on_excess": "close"}),
            "prefork": dict(listen=TCP, model="prefork", exec=["superd-proxy", backend.uri]),
            "iterative": dict(listen=TCP, model="iterative", exec=["superd-proxy", backend.uri])})
        for name in ("fork", "prefork", "iterative"):
            session = Session(self.client(daemon.address(name)))
            session.goes_on(self, name.encode())
            if name == "fork":
                self.assertEqual(self.client(daemon.address(name)).recv(10), b"")
            session.sock.close()
            self.eventually(lambda: not [w for w in self.workers(daemon)], f"{name}: the proxy gone with its client")

    def test_explain(self):
        """superd cannot limit by source where the proxy accepts; explain says so."""
        daemon = self.superd({"proxy": dict(listen=TCP, model="prefork", handoff="listen",
                                            exec=["superd-proxy", "tcp://127.0.0.1:9"])})
        self.assertIn("limits on clients do not apply", self.superctl(daemon, "explain", "proxy", "127.0.0.1"))

    def test_datagrams(self):
        """Sessions under iterative and under prefork: each peer gets its own answers."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))

        def answer():
            while True:
                try:
                    data, sender = sock.recvfrom(100)
                except OSError:
                    return
                if not data:
                    return
                sock.sendto(b"re " + data, sender)

        threading.Thread(target=answer, daemon=True).start()
        target = "udp://127.0.0.1:%d" % sock.getsockname()[1]
        daemon = self.superd({
            "owner": dict(listen="udp://127.0.0.1:0", model="iterative", exec=["superd-proxy", target]),
            "pool": dict(listen="udp://127.0.0.1:0", model="prefork", exec=["superd-proxy", target],
                         limits={"instances": 1})})
        for name in ("owner", "pool"):
            peers = [connect(daemon.address(name)) for _ in range(5)]
            for turn in range(2):
                for number, peer in enumerate(peers):
                    peer.send(b"%d %d" % (turn, number))
                for number, peer in enumerate(peers):
                    self.assertEqual(peer.recv(100), b"re %d %d" % (turn, number))
            for peer in peers:
                peer.close()


class OnDemand(ProxyCase):
    def test_fifty_clients_at_once(self):
        """A Python HTTP server, slow to start, is started once for fifty clients who come together."""
        daemon = self.superd({"web": self.on_demand(HTTP)})
        uri = daemon.address("web")
        clients = [self.client(uri) for _ in range(50)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        pids = {Reader(client).rest().split()[-1] for client in clients}
        self.assertEqual(len(pids), 1)
        self.assertEqual(len(daemon.find(lambda r: "backend is started" in r["message"])), 1)
        self.assertTrue(int(pids.pop()) > 1)

    def test_idle_stop(self):
        """Its output and its stop are in superd's log; the next client has a new one."""
        program = "import sys; print('coming up', file=sys.stderr, flush=True)\n" + BACKEND
        daemon = self.superd({"web": self.on_demand(program, "--stop-after-idle", "300ms")})
        session, first = self.join(daemon.address("web"))
        daemon.wait_for(lambda r: "coming up" in r["message"], service="web")
        session.sock.close()
        daemon.wait_for(lambda r: "stopped: no client for 300 ms" in r["message"], service="web")
        self.eventually(lambda: not os.path.exists(f"/proc/{first}"), "the backend gone")
        _, second = self.join(daemon.address("web"))
        self.assertNotEqual(first, second)

    def test_a_new_generation_waits_for_the_old_one(self):
        """After a reload, clients wait until the last client of the old backend has left, and then have a new one."""
        keys = self.on_demand()
        daemon = self.superd({"web": keys})
        uri = daemon.address("web")
        session, first = self.join(uri)
        keys["environment"] = {"NEW": "1"}
        daemon.service("web", **keys)
        daemon.reload()
        waiting = self.first_who_waits(uri)
        session.goes_on(self, b"still served")
        session.sock.close()
        second = int(waiting.reader.line())
        self.assertNotEqual(first, second)
        self.assertFalse(os.path.exists(f"/proc/{first}"))
        waiting.goes_on(self, b"served")

    def first_who_waits(self, uri):
        """Until the old worker has heard that it is to leave, it may still take clients."""
        while True:
            client = self.client(uri)
            if not select.select([client], [], [], 1)[0]:
                return Session(client)
            client.close()

    def test_upgrade(self):
        """An upgrade of superd leaves proxy, backend and clients as they are; the backend ends with superd."""
        daemon = self.superd({"web": self.on_demand()})
        session, first = self.join(daemon.address("web"))
        self.upgrade(daemon)
        session.goes_on(self, b"on")
        _, second = self.join(daemon.address("web"))
        self.assertEqual(first, second)
        session.sock.close()
        daemon.stop()
        self.assertFalse(os.path.exists(f"/proc/{first}"))

    def test_killed_proxy(self):
        """When the proxy is killed its backend ends, and the next worker starts one for the next client."""
        daemon = self.superd({"web": self.on_demand()})
        _, first = self.join(daemon.address("web"))
        os.kill(self.workers(daemon)[0].pid, 9)
        _, second = self.join(daemon.address("web"))
        self.assertNotEqual(first, second)
        self.assertFalse(os.path.exists(f"/proc/{first}"))

    def test_in_a_strict_sandbox(self):
        """The backend is in the proxy's sandbox: a network of its own, where the two find each other; and
        generations take turns there as well."""
        keys = self.on_demand(sandbox={"preset": "strict", "restrict_address_families": ["AF_INET", "AF_UNIX"]})
        daemon = self.prepare()
        daemon.service("web", **keys)
        status, output = daemon.check()
        if status != 0 and "this machine" in output:
            self.skipTest(output)
        daemon.start()
        uri = daemon.address("web")
        session, _ = self.join(uri)
        session.goes_on(self, b"inside")
        keys["environment"] = {"NEW": "1"}
        daemon.service("web", **keys)
        daemon.reload()
        waiting = self.first_who_waits(uri)
        session.sock.close()
        self.assertTrue(waiting.reader.line().isdigit())

    def test_needs_one_instance(self):
        """With room for several workers, each would start a backend: usage error, in the log."""
        daemon = self.superd({"web": self.on_demand(limits={"instances": 2})})
        daemon.wait_for(lambda r: "--start needs limits.instances = 1" in r["message"], service="web")
