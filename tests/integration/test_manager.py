# SPDX-License-Identifier: MIT
"""The service manager: sockets it passes, and what superd tells it."""

import os
import signal
import socket
import time

from harness import SuperdCase, exchange, handler
from harness.loopback import own_loopback
from harness.probe import Report


class Activation(SuperdCase):
    def listener(self, address=("127.0.0.1", 0), kind=socket.SOCK_STREAM):
        sock = socket.socket(socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def test_by_name(self):
        """listen = "systemd:NAME" serves on the socket that was passed under that name."""
        web, other = self.listener(), self.listener()
        daemon = self.prepare(sockets=[("other", other), ("web", web)])
        daemon.service("web", listen="systemd:web", model="fork", exec=["cat"])
        daemon.start()
        host, port = web.getsockname()
        self.assertEqual(self.converse(f"tcp://{host}:{port}"), b"hello")
        daemon.reload()
        self.assertEqual(self.converse(f"tcp://{host}:{port}"), b"hello")

    def test_by_address(self):
        """A listen address that a passed socket has is served on that socket, not bound again."""
        sock = self.listener((own_loopback(), 7850))
        inode = os.fstat(sock.fileno()).st_ino
        daemon = self.prepare(sockets=[("x", sock)])
        daemon.service("cat", listen=f"tcp://{own_loopback()}:7850", model="fork", exec=["cat"])
        daemon.start()
        self.assertEqual(self.converse(f"tcp://{own_loopback()}:7850"), b"hello")
        links = [os.readlink(f"/proc/{daemon.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{daemon.pid}/fd")]
        self.assertIn(f"socket:[{inode}]", links)

    def test_every_model_on_passed_sockets(self):
        """Passed sockets serve under every model, streams and datagrams."""
        socks = {name: self.listener() for name in ("fork", "iterative", "delayed", "prefork", "pool")}
        udp = self.listener(kind=socket.SOCK_DGRAM)
        daemon = self.prepare(sockets=[*socks.items(), ("udp", udp)])
        for name in socks:
            pool = name == "pool"
            daemon.service(name, listen=f"systemd:{name}", model="prefork" if pool else name,
                           exec=["superd-echo"], **({"handoff": "listen"} if pool else {}))
        daemon.service("udp", listen="systemd:udp", model="fork", exec=["cat"])
        daemon.start()
        for name, sock in socks.items():
            host, port = sock.getsockname()
            self.assertEqual(self.converse(f"tcp://{host}:{port}"), b"hello", name)
        client = self.client(f"udp://127.0.0.1:{udp.getsockname()[1]}")
        client.send(b"hello")
        self.assertEqual(client.recv(100), b"hello")

    def test_handlers_do_not_see_it(self):
        """Neither superd's LISTEN_FDS nor the passed descriptors reach a handler."""
        sock = self.listener()
        daemon = self.prepare(sockets=[("web", sock)])
        daemon.service("web", listen="systemd:web", model="fork", exec=[handler("probe")])
        daemon.start()
        report = Report(exchange(f"tcp://127.0.0.1:{sock.getsockname()[1]}"))
        self.assertEqual(set(report.descriptors), {0, 1, 2})
        self.assertFalse([name for name in report.environment if name.startswith(("LISTEN", "NOTIFY"))])
        self.assertEqual(report.environment["TCPLOCALPORT"], str(sock.getsockname()[1]))

    def test_a_name_that_was_not_passed(self):
        """A systemd: name that no socket has is told, and other services serve."""
        daemon = self.prepare()
        daemon.service("web", listen="systemd:web", model="fork", exec=["cat"])
        daemon.service("cat", listen=f"tcp://{own_loopback()}:7851", model="fork", exec=["cat"])
        daemon.start(wait=False)
        try:
            daemon.wait_for(lambda r: "web" in r["message"] + str(r.get("address")) and r["level"] in
                            ("warning", "warn", "error", "err"))
            daemon.wait_for(message="ready")
        except AssertionError:
            self.assertEqual(daemon.process.wait(30), 1)
            self.assertIn("systemd:web", daemon.transcript())
            daemon.process = None
            return
        self.assertEqual(self.converse(f"tcp://{own_loopback()}:7851"), b"hello")


class Notify(SuperdCase):
    def setUp(self):
        super().setUp()
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.name = f"superd-notify-{os.getpid()}-{id(self)}"
        self.manager.bind("\0" + self.name)
        self.manager.settimeout(30)

    def message_with(self, key):
        """The next message that sets `key`, as a dictionary."""
        while True:
            pairs = dict(line.split("=", 1) for line in self.manager.recv(65536).decode().splitlines())
            if key in pairs:
                return pairs

    def started(self, **environment):
        daemon = self.prepare(environment={"NOTIFY_SOCKET": "@" + self.name, **environment})
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=[handler("probe")])
        return daemon.start()

    def test_ready_reloading_stopping(self):
        """READY=1 when it serves; on HUP RELOADING=1 with MONOTONIC_USEC, then READY=1; STOPPING=1 at the end."""
        daemon = self.started()
        self.assertEqual(self.message_with("READY")["READY"], "1")
        self.assertNotIn("NOTIFY_SOCKET", Report(exchange(daemon.address("cat"))).environment)
        before = time.monotonic_ns() // 1000
        daemon.reload()
        reloading = self.message_with("RELOADING")
        self.assertEqual(reloading["RELOADING"], "1")
        self.assertGreaterEqual(int(reloading["MONOTONIC_USEC"]), before)
        self.assertLessEqual(int(reloading["MONOTONIC_USEC"]), time.monotonic_ns() // 1000)
        self.assertEqual(self.message_with("READY")["READY"], "1")
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.message_with("STOPPING")["STOPPING"], "1")

    def test_ready_after_a_refused_reload(self):
        """A refused reload ends with READY=1 as well, so that the manager does not wait for ever."""
        daemon = self.started()
        self.message_with("READY")
        daemon.service("bad", "listen = [\n")
        daemon.reload(refused=True)
        self.message_with("RELOADING")
        self.message_with("READY")

    def test_watchdog(self):
        """With WATCHDOG_USEC set, WATCHDOG=1 comes at least that often."""
        prefix = ["/bin/sh", "-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh"]
        daemon = self.prepare(environment={"NOTIFY_SOCKET": "@" + self.name, "WATCHDOG_USEC": "1000000"}, prefix=prefix)
        daemon.start()
        self.message_with("READY")
        begin = time.monotonic()
        for _ in range(3):
            self.assertEqual(self.message_with("WATCHDOG")["WATCHDOG"], "1")
        self.assertLess(time.monotonic() - begin, 5)
