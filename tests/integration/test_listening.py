# SPDX-License-Identifier: MIT
"""Addresses: families, kinds of unix sockets, vsock, port 0, and addresses missing or taken at start."""

import os
import pwd
import shutil
import socket
import stat
import subprocess
import unittest

from harness import Reader, SuperdCase, connect, exchange, handler
from harness import process
from harness.loopback import own_loopback


def cat(listen, **keys):
    return dict(listen=listen, model="fork", exec=["cat"], **keys)


class Addresses(SuperdCase):
    def test_port_0(self):
        """Port 0: a free port is taken, named in the log, and kept over a reload."""
        daemon = self.superd({"a": cat("tcp://127.0.0.1:0"), "b": cat("tcp://127.0.0.1:0")})
        uris = [daemon.address(name) for name in "ab"]
        self.assertNotEqual(*uris)
        self.assertNotIn(":0", [uri[-2:] for uri in uris])
        daemon.reload()
        for uri in uris:
            self.assertEqual(self.converse(uri), b"hello")

    def test_several_addresses_of_one_service(self):
        """A service may listen on many addresses, IPv4, IPv6 and unix together."""
        daemon = self.prepare()
        daemon.service("all", **cat(["tcp://127.0.0.1:0", "tcp://[::1]:0", f"unix://{daemon.path('s')}"]))
        daemon.start()
        uris = daemon.addresses("all")
        self.assertEqual(len(uris), 3)
        for uri in uris:
            self.assertEqual(self.converse(uri), b"hello")

    def test_wildcards(self):
        """* serves both families, 0.0.0.0 only IPv4."""
        daemon = self.superd({"all": cat("tcp://*:0"), "four": cat("tcp://0.0.0.0:0")})
        port = daemon.address("all").rsplit(":", 1)[1]
        self.assertEqual(self.converse(f"tcp://127.0.0.1:{port}"), b"hello")
        self.assertEqual(self.converse(f"tcp://[::1]:{port}"), b"hello")
        port = daemon.address("four").rsplit(":", 1)[1]
        self.assertEqual(self.converse(f"tcp://127.0.0.7:{port}"), b"hello")
        with self.assertRaises(ConnectionRefusedError):
            connect(f"tcp://[::1]:{port}")

    def test_named_port(self):
        """A port by its name in the services database is accepted, an unknown name is an error."""
        daemon = self.prepare()
        daemon.service("good", **cat("tcp://127.0.0.1:tfido"))
        daemon.service("bad", **cat("tcp://127.0.0.1:no-such-port"))
        status, output = daemon.check()
        self.assertEqual(status, 1)
        self.assertIn("no-such-port", output)
        try:
            socket.getservbyname("tfido", "tcp")
        except OSError:
            self.skipTest("the services database does not know tfido")
        self.assertNotIn("good.toml", output)


class Missing(SuperdCase):
    def test_port_taken(self):
        """A port that is taken at start is waited for while the rest serves, then listened on; the log says both."""
        uri = f"tcp://{own_loopback()}:7840"
        blocker = socket.socket()
        self.addCleanup(blocker.close)
        blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        blocker.bind((own_loopback(), 7840))
        blocker.listen()
        daemon = self.superd({"taken": cat(uri), "cat": cat("tcp://127.0.0.1:0")})
        record = daemon.wait_for(lambda r: "waiting for" in r["message"], address=uri)
        self.assertIn("warn", record["level"])
        self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        self.assertEqual(daemon.status()["taken"]["state"], "waiting")
        blocker.close()
        daemon.wait_for(message="listening on", address=uri)
        self.assertEqual(self.converse(uri), b"hello")

    def test_port_taken_on_reload(self):
        """A port that is taken when a reload adds it: the reload is refused with the reason, or waited for; the rest
        serves and a later reload succeeds."""
        uri = f"tcp://{own_loopback()}:7841"
        blocker = socket.socket()
        self.addCleanup(blocker.close)
        blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        blocker.bind((own_loopback(), 7841))
        blocker.listen()
        daemon = self.superd({"cat": cat("tcp://127.0.0.1:0")})
        daemon.service("taken", **cat(uri))
        since = daemon.mark()
        daemon.process.send_signal(1)
        daemon.wait_for(lambda r: r["message"].startswith(("reloaded", "reload refused")), since=since)
        self.assertTrue(daemon.find(lambda r: "7841" in r["message"] + r.get("address", "")
                                    and "Address already in use" in r["message"] + str(r.get("reason", "")), since))
        self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        blocker.close()
        daemon.reload()
        daemon.wait_for(message="listening on", address=uri)
        self.assertEqual(self.converse(uri), b"hello")

    def test_waiting_service_may_be_removed(self):
        """A service that waits for its port goes with a reload, and superd still stops cleanly."""
        uri = f"tcp://{own_loopback()}:7842"
        with socket.socket() as blocker:
            blocker.bind((own_loopback(), 7842))
            blocker.listen()
            daemon = self.superd({"taken": cat(uri)})
            daemon.wait_for(lambda r: "waiting for" in r["message"], address=uri)
            daemon.remove("taken")
            daemon.reload()

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter"),
                         "needs root, ip and nsenter for a network of its own")
    def test_address_missing(self):
        """An address that the machine does not have yet is listened on once it is there."""
        if subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("network namespaces are not available here")
        uri = "tcp://203.0.113.77:7843"
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        daemon.service("later", **cat(uri))
        daemon.service("cat", **cat("tcp://127.0.0.1:7844"))
        daemon.start()
        daemon.wait_for(lambda r: "waiting for" in r["message"], address=uri)
        inside = ["nsenter", "-t", str(daemon.pid), "-n"]
        subprocess.run([*inside, "ip", "addr", "add", "203.0.113.77/32", "dev", "lo"], check=True)
        daemon.wait_for(message="listening on", address=uri)
        answer = subprocess.run([*inside, "bash", "-c", "exec 3<>/dev/tcp/203.0.113.77/7843; echo hello >&3; head -n1 <&3"],
                                check=True, stdout=subprocess.PIPE, timeout=30)
        self.assertEqual(answer.stdout, b"hello\n")


class Unix(SuperdCase):
    def test_stream(self):
        """unix stream: served, mode as [socket] says, removed at stop."""
        daemon = self.prepare()
        path = daemon.path("cat.sock")
        daemon.service("cat", **cat(f"unix://{path}", socket={"mode": "0640"}))
        daemon.start()
        self.assertEqual(self.converse(f"unix://{path}"), b"hello")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
        daemon.stop()
        self.assertFalse(os.path.exists(path))

    def test_owner(self):
        """[socket] user and group own the path."""
        if not self.root:
            self.skipTest("only root may give a path away")
        daemon = self.prepare()
        path = daemon.path("cat.sock")
        daemon.service("cat", **cat(f"unix://{path}", socket={"user": "daemon", "group": "mail", "mode": "0660"}))
        daemon.start()
        state = os.stat(path)
        self.assertEqual((state.st_uid, stat.S_IMODE(state.st_mode)), (pwd.getpwnam("daemon").pw_uid, 0o660))
        self.assertNotEqual(state.st_gid, 0)

    def test_seqpacket(self):
        """unix-seqpacket: a connection that keeps its records apart."""
        daemon = self.prepare()
        path = daemon.path("cat.sock")
        daemon.service("cat", **cat(f"unix-seqpacket://{path}"))
        daemon.start()
        client = self.client(f"unix-seqpacket://{path}")
        for word in (b"one", b"two"):
            client.send(word)
            self.assertEqual(client.recv(100), word)

    def test_abstract(self):
        """unix://@NAME: a name without a file."""
        name = f"superd-test-{os.getpid()}"
        daemon = self.superd({"cat": cat(f"unix://@{name}")})
        self.assertEqual(self.converse(f"unix://@{name}"), b"hello")
        self.assertEqual(daemon.address("cat"), f"unix://@{name}")

    def test_every_stream_model(self):
        """unix stream sockets serve under iterative, delayed, prefork and its pools."""
        daemon = self.prepare()
        for model in ("fork", "iterative", "delayed", "prefork"):
            daemon.service(model, listen=f"unix://{daemon.path(model)}.sock", model=model, exec=["cat"])
        daemon.service("pool", listen=f"unix://{daemon.path('pool')}.sock", model="prefork", handoff="listen",
                       exec=["superd-echo"])
        daemon.start()
        for name in ("fork", "iterative", "delayed", "prefork", "pool"):
            self.assertEqual(self.converse(daemon.address(name)), b"hello", name)

    def test_a_stale_path_is_replaced(self):
        """A socket file on which nobody listens, left by a crash, is replaced."""
        daemon = self.prepare()
        path = daemon.path("cat.sock")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        if daemon.user:
            shutil.chown(path, daemon.user)
        daemon.service("cat", **cat(f"unix://{path}"))
        daemon.start()
        self.assertEqual(self.converse(f"unix://{path}"), b"hello")

    def test_a_live_path_is_not_stolen(self):
        """A socket that another process listens on stays that process's; superd waits for it."""
        daemon = self.prepare()
        path = daemon.path("cat.sock")
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(path)
            live.listen()
            daemon.service("cat", **cat(f"unix://{path}"))
            daemon.start()
            daemon.wait_for(lambda r: "waiting for" in r["message"], address=f"unix://{path}")
            with connect(f"unix://{path}"):
                other, _ = live.accept()
                other.close()

    def test_a_file_is_not_removed(self):
        """A path that is a plain file is left alone."""
        daemon = self.prepare()
        path = daemon.write("precious", "content")
        daemon.service("cat", **cat(f"unix://{path}"))
        daemon.service("other", **cat("tcp://127.0.0.1:0"))
        daemon.start()
        daemon.wait_for(lambda r: "waiting for" in r["message"], address=f"unix://{path}")
        daemon.stop()
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "content")

    def test_removed_services_take_their_path_along(self):
        """A path goes when its service goes, and a kept one keeps its inode over a reload."""
        daemon = self.prepare()
        for name in ("gone", "kept"):
            daemon.service(name, **cat(f"unix://{daemon.path(name)}.sock"))
        daemon.start()
        inode = os.stat(daemon.path("kept.sock")).st_ino
        daemon.remove("gone")
        daemon.reload()
        self.assertFalse(os.path.exists(daemon.path("gone.sock")))
        self.assertEqual(os.stat(daemon.path("kept.sock")).st_ino, inode)
        self.assertEqual(self.converse(f"unix://{daemon.path('kept.sock')}"), b"hello")


class UnixAsUser(Unix):
    as_user = "nobody"


def vsock_loopback():
    """None, or why vsock cannot be tried here."""
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as server, \
                socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
            server.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
            server.listen()
            client.settimeout(1)
            client.connect((1, server.getsockname()[1]))
    except OSError as error:
        return f"no vsock loopback on this machine: {error}"
    return None


class Vsock(SuperdCase):
    def test_listening(self):
        """superd listens on vsock://*:PORT if the kernel has vsock."""
        try:
            socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
        except OSError as error:
            self.skipTest(f"no vsock in this kernel: {error}")
        daemon = self.superd({"cat": cat("vsock://*:17853")})
        self.assertIn("17853", daemon.address("cat"))

    def test_serving(self):
        """vsock: a client on the loopback CID is served, with REMOTE_ADDR and REMOTE_PORT set."""
        reason = vsock_loopback()
        if reason:
            self.skipTest(reason)
        daemon = self.superd({"probe": dict(listen="vsock://*:17854", model="fork", exec=[handler("probe")])})
        text = exchange(daemon.address("probe"))
        self.assertIn(b"env REMOTE_ADDR=1\n", text)
        self.assertIn(b"env REMOTE_PORT=", text)


class Ports(SuperdCase):
    def test_sockets_are_closed_on_exec(self):
        """superd's listening sockets are CLOEXEC and not inherited by handlers that outlive a reload."""
        daemon = self.superd({"cat": cat("tcp://127.0.0.1:0")})
        uri = daemon.address("cat")
        client = self.client(uri)
        client.sendall(b"x\n")
        self.assertEqual(Reader(client).line(), b"x")
        child = daemon.children()[0]
        sockets = [link for link in process.descriptors(child.pid).values() if link.startswith("socket:")]
        host, port = uri.removeprefix("tcp://").rsplit(":", 1)
        inodes = process.listening_inodes(host, int(port))
        self.assertFalse([link for link in sockets if any(inode in link for inode in inodes)])
