# SPDX-License-Identifier: MIT
"""The service manager: the sockets that it passes, and what superd reports to it."""

import os
import signal
import socket
import time

from harness import SuperdCase, exchange, handler
from harness.loopback import own_loopback
from harness.manager import Manager
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
        """A systemd: name without a socket is reported, and other services serve."""
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
        """A refused reload also ends with READY=1, so that the manager does not wait for ever."""
        daemon = self.started()
        self.message_with("READY")
        daemon.service("bad", "listen = [\n")
        daemon.reload(refused=True)
        self.message_with("RELOADING")
        self.message_with("READY")

    def watched(self):
        prefix = ["/bin/sh", "-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh"]
        daemon = self.prepare(environment={"NOTIFY_SOCKET": "@" + self.name, "WATCHDOG_USEC": "1000000"}, prefix=prefix)
        daemon.start()
        self.message_with("READY")
        return daemon

    def test_watchdog(self):
        """With WATCHDOG_USEC set, WATCHDOG=1 comes at least that often."""
        self.watched()
        begin = time.monotonic()
        for _ in range(3):
            self.assertEqual(self.message_with("WATCHDOG")["WATCHDOG"], "1")
        self.assertLess(time.monotonic() - begin, 5)

    def test_watchdog_without_a_descriptor(self):
        """A superd that is out of descriptors lives, and says so."""
        daemon = self.watched()
        before = daemon.soft_limit("nofile")
        daemon.soft_limit("nofile", 3)
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for(message="reload refused", since=since)  # so it has none left
        self.assertIn("Reload refused", self.message_with("STATUS")["STATUS"])
        for _ in range(2):
            self.assertEqual(self.message_with("WATCHDOG")["WATCHDOG"], "1")
        daemon.soft_limit("nofile", before)  # a sanitizer needs some for its report


class Unread(SuperdCase):
    def setUp(self):
        super().setUp()
        self.manager = Manager()
        self.addCleanup(self.manager.stop)

    def prepared(self):
        daemon = self.prepare(environment=self.manager.environment)
        for name in ("stays", "goes"):
            daemon.service(name, listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        return daemon

    def test_a_manager_that_does_not_read(self):
        """Without room in the manager's queue superd starts, serves and reloads; once there is room the manager hears
        the last of each, and has the sockets."""
        self.manager.pause()
        daemon = self.prepared().start()
        uri = daemon.address("stays")
        self.assertEqual(self.converse(uri), b"hello")
        daemon.reload()
        self.assertEqual(self.converse(uri), b"hello")
        self.assertTrue(self.manager.is_full())
        self.manager.go_on()
        self.eventually(lambda: len(self.manager.store) == 2, "the sockets in the store")
        said = [pairs for pairs in self.manager.said if "RELOADING" in pairs or "READY" in pairs]
        self.assertEqual(["RELOADING" in pairs for pairs in said], [True, False])
        self.manager.pause()
        daemon.stop()

    def test_a_socket_that_goes_meanwhile(self):
        """A socket whose service goes while there is no room leaves the store once there is, also after an upgrade."""
        daemon = self.prepared().start()
        self.eventually(lambda: len(self.manager.store) == 2, "the sockets in the store")
        self.manager.pause()
        daemon.remove("goes")
        daemon.reload()
        self.assertEqual(self.converse(daemon.address("stays")), b"hello")
        self.assertTrue(self.manager.is_full())
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_for(lambda record: record["message"].startswith("upgraded to "))
        self.manager.go_on()
        self.eventually(lambda: len(self.manager.store) == 1, "one of them out of the store")


class Crash(SuperdCase):
    def setUp(self):
        super().setUp()
        self.manager = Manager()
        self.addCleanup(self.manager.stop)

    def stored(self, count):
        """The inodes of the stored sockets, once there are that many."""
        self.eventually(lambda: len(self.manager.store) == count, f"{count} sockets in the store")
        return {os.fstat(kept.fileno()).st_ino for kept in self.manager.store.values()}

    def crash(self, daemon):
        """SIGKILL; superd is not started again yet, and handlers run on."""
        daemon.process.kill()
        daemon.process.wait()
        daemon.wait()
        self.forget(daemon)
        daemon.sockets = list(self.manager.store.items())

    @staticmethod
    def forget(daemon):
        """What the previous process reported and was passed."""
        daemon.records.clear()
        daemon.ended = False
        daemon.sockets = []

    def prepared(self):
        daemon = self.prepare(environment=self.manager.environment)
        self.path = os.path.join(daemon.shared("sockets"), "sock")
        daemon.service("path", listen=f"unix://{self.path}", model="fork", exec=["cat"])
        daemon.service("any", listen=["tcp://127.0.0.1:0", "tcp://[::1]:0"], model="fork", exec=["cat"])
        daemon.service("fixed", listen=f"tcp://{own_loopback()}:7860", model="fork", exec=["cat"])
        return daemon

    def test_sockets_come_back_and_who_waited_is_served(self):
        """After SIGKILL every socket is the same, also on any free port; clients that came meanwhile are served, and a
        path is removed at the end."""
        daemon = self.prepared().start()
        inodes = self.stored(4)
        uris = [daemon.address("path"), daemon.address("fixed"), *daemon.addresses("any")]
        self.crash(daemon)
        clients = [self.client(uri) for uri in uris]
        for client in clients:
            client.sendall(b"hello\n")
        daemon.start()
        self.assertEqual({daemon.address("path"), daemon.address("fixed"), *daemon.addresses("any")}, set(uris))
        for client in clients:
            self.assertEqual(client.recv(100), b"hello\n")
        self.assertEqual(self.stored(4), inodes)
        self.assertEqual(self.manager.removed, [])
        for client in clients:
            client.close()
        daemon.stop()
        self.stored(0)
        self.assertFalse(os.path.exists(self.path))

    def test_a_socket_made_anew_waits_for_nobody(self):
        """A socket that replaces another goes into the store, the old one leaves it, and superd does not wait for the
        manager meanwhile: no handler can hold the loop up that way. While no new one is available, the manager hears
        that superd waits for an address."""
        daemon = self.prepared().start()
        self.stored(4)
        os.unlink(self.path)
        self.eventually(lambda: len(self.manager.removed) == 1, "the old one leaves the store")
        self.stored(4)
        os.unlink(self.path)
        os.mkdir(self.path)
        self.eventually(lambda: "4 addresses, 1 waited for" in str(self.manager.said[-1].get("STATUS")), "reported")
        os.rmdir(self.path)
        self.eventually(lambda: "waited" not in str(self.manager.said[-1].get("STATUS")), "it has come")
        self.assertEqual(self.converse(f"unix://{self.path}"), b"hello")
        self.assertEqual([said for said in self.manager.said if "BARRIER" in said], [])
        daemon.stop()

    def test_sockets_of_services_that_went_are_given_back(self):
        """A socket whose service goes is closed and leaves the store, by a reload and by a start after a crash; so
        does its path, unless somebody else's socket is there now."""
        daemon = self.prepared()
        other = os.path.join(os.path.dirname(self.path), "other")
        daemon.service("other", listen=f"unix://{other}", model="fork", exec=["cat"])
        daemon.start()
        self.stored(5)
        uri = daemon.address("fixed")
        daemon.remove("fixed")
        daemon.reload()
        self.stored(4)
        with self.assertRaises(ConnectionRefusedError):
            self.client(uri)
        self.crash(daemon)
        daemon.remove("path")
        daemon.remove("other")
        os.unlink(other)
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(other)
            daemon.start()
            self.stored(2)
            self.assertFalse(os.path.exists(self.path))
            self.assertTrue(os.path.exists(other))
        self.assertEqual(daemon.find(lambda r: "passed" in r["message"]), [])

    def test_what_only_a_new_socket_can_have_is_bound_anew(self):
        """If a definition changed meanwhile so that the old socket no longer fits, the new definition is in force
        after the start."""
        daemon = self.prepared().start()
        self.stored(4)
        uri = daemon.address("fixed")
        self.crash(daemon)
        daemon.service("fixed", listen=uri, model="fork", exec=["cat"], socket={"reuse_port": True})
        daemon.start()
        self.assertEqual(daemon.address("fixed"), uri)
        self.assertEqual(self.converse(uri), b"hello")
        self.stored(4)
        self.assertEqual(len(self.manager.removed), 1)

    def test_names_are_not_a_unit_s(self):
        """systemd:NAME is not served on a socket from the store, and without a store no socket is sent."""
        daemon = self.prepared().start()
        self.stored(4)
        for name in self.manager.store:
            self.assertRegex(name, r"^superd-\d+(-any)?$")
        (name,) = [name for name, kept in self.manager.store.items() if kept.family == socket.AF_UNIX]
        self.crash(daemon)
        daemon.remove("path")
        daemon.service("web", listen=f"systemd:{name}", model="fork", exec=["cat"])
        daemon.start(wait=False)
        daemon.wait_for(message="waiting for systemd:")
        daemon.stop()
        daemon.environment["FDSTORE"] = "0"
        daemon.remove("web")
        self.forget(daemon)
        daemon.start()
        daemon.stop()
        self.stored(0)
