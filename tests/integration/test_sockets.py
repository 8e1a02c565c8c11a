# SPDX-License-Identifier: MIT
"""Listening sockets stay what they were, whatever a handler does to its socket, and whatever happens to the path or
the interface that it is bound to."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import unittest

from control import Control
from harness import SuperdCase, connect
from harness.installation import python
from harness.wire import Reader

# Serves until it is asked for an attack on the socket that it was given.
WORKER = r"""
import os, socket
listener = socket.socket(fileno=os.dup(0))
stream = listener.type != socket.SOCK_DGRAM

def attack(name):
    if name == "detach":
        listener.setsockopt(1, 27, 0)
    elif name == "lock":
        try:
            listener.setsockopt(1, 27, 0)
        except FileNotFoundError:
            pass
        listener.setsockopt(1, 44, 1)
    elif name == "shutdown":
        try:
            listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    elif name == "connect":
        listener.connect(("127.0.0.1", 9))
    elif name == "nonblock":
        listener.setblocking(False)
    elif name == "buffer":
        listener.setsockopt(1, socket.SO_RCVBUF, 1)
    elif name == "device":
        listener.setsockopt(1, socket.SO_BINDTODEVICE, b"lo")

def answer(data, send):
    word = data.decode().split()
    if word[:1] == ["attack"]:
        attack(word[1])
        send(b"done\n") if word[1] not in ("shutdown", "connect") or stream else None
        os._exit(0)
    send(data)

while True:
    if stream:
        client = listener.accept()[0]
        try:
            answer(client.recv(1000), client.sendall)
        except OSError:  # the client did not wait
            pass
        client.close()
    else:
        data, peer = listener.recvfrom(1000)
        answer(data, lambda answer: listener.sendto(answer, peer))
"""

ALLOWED = {"allow": ["127.0.0.1"]}


class Attacked(SuperdCase):
    def ask(self, uri, line, timeout=5, source=None):
        """The answer, or b"" if there is none."""
        scheme, _, rest = uri.partition("://")
        host, _, port = rest.rpartition(":")
        kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
        local = scheme == "unix"
        with socket.socket(socket.AF_UNIX if local else socket.AF_INET, kind) as client:
            client.settimeout(timeout)
            try:
                if source:
                    client.bind((source, 0))
                client.connect(rest.replace("@", "\0") if local else (host, int(port)))
                client.sendall(line)
                return client.recv(1000)
            except OSError:
                return b""

    def attack(self, name, listen, model, mended, access=True):
        daemon = self.prepare()
        script = daemon.write("worker.py", WORKER)
        keys = {"access": ALLOWED} if access else {}
        if model == "prefork":
            keys["prefork"] = {"min_spare": 2, "max_spare": 2}
        daemon.service("attacked", listen=listen, model=model, handoff="listen", exec=[python(), script], **keys)
        daemon.service("other", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon.start()
        uri = daemon.address("attacked")
        self.eventually(lambda: self.ask(uri, b"hello\n") == b"hello\n", "served before")
        self.ask(uri, b"attack " + name.encode() + b"\n", timeout=1)
        begin = time.monotonic()
        self.eventually(lambda: self.ask(uri, b"hello\n", timeout=0.3) == b"hello\n", "served again")
        print(f"{model} {listen} {name}: served again after {time.monotonic() - begin:.2f} s")
        # Another worker may have answered while the attacker was still on its way out.
        self.eventually(lambda: daemon.status()["attacked"]["sockets_mended"] >= mended, "put right")
        for _ in range(10):
            self.assertEqual(self.ask(uri, b"hello\n"), b"hello\n")
        if access:
            self.assertEqual(self.ask(uri, b"hello\n", timeout=0.3, source="127.0.0.2"), b"")
        self.assertEqual(self.converse(daemon.address("other")), b"hello")
        status = daemon.status()["attacked"]
        self.assertEqual((status["state"], status["sockets_mended"]), ("listening", mended))
        told = daemon.find(lambda r: "not as it should be" in r["message"])
        self.assertEqual(len(told), mended, told)
        return daemon

    def each(self, attacks, listen, model, access=True):
        # All filters of a machine's unprivileged processes share a limit, which others may use up.
        access = access and self.root
        for name, mended in attacks.items():
            if name == "detach" and not access:
                continue
            with self.subTest(attack=name):
                self.attack(name, listen, model, mended, access)

    STREAM = {"detach": 1, "lock": 1, "shutdown": 1, "nonblock": 0, "buffer": 1, "device": 1}
    DATAGRAM = {"detach": 1, "lock": 1, "shutdown": 1, "connect": 1, "buffer": 1}

    def test_pool_on_a_stream(self):
        """prefork: whatever one of two workers does to the TCP listener, clients are served after its end, denied ones
        are not, and the change is reported and counted once."""
        self.each(self.STREAM, "tcp://127.0.0.1:0", "prefork")

    def test_pool_of_datagrams(self):
        """prefork: the same on UDP."""
        self.each(self.DATAGRAM, "udp://127.0.0.1:0", "prefork")

    def test_owner_of_a_stream(self):
        """iterative: the same by a handler that owns the TCP listener."""
        self.each(self.STREAM, "tcp://127.0.0.1:0", "iterative")

    def test_owner_of_datagrams(self):
        """iterative: the same by one that owns a UDP socket."""
        self.each(self.DATAGRAM, "udp://127.0.0.1:0", "iterative")

    def test_unix(self):
        """A unix listener that was shut down is replaced at its path, under both models."""
        for model in ("prefork", "iterative"):
            daemon = self.prepare()
            path = daemon.path(f"{model}.sock")
            self.each({"shutdown": 1}, f"unix://{path}", model, access=False)

    def test_abstract(self):
        """A socket with an abstract name, which two sockets cannot share, is closed first and bound again."""
        self.each({"shutdown": 1}, f"unix://@superd-attacked-{os.getpid()}", "iterative", access=False)

    def test_a_program_that_does_not_block_by_habit(self):
        """A pool whose workers poll keeps its socket as the workers set it when one of them leaves."""
        daemon = self.prepare()
        script = daemon.write("poller.py", """import os, select, socket
listener = socket.socket(fileno=os.dup(0))
listener.setblocking(False)
while True:
    select.select([listener], [], [])
    try:
        client = listener.accept()[0]
    except BlockingIOError:
        continue
    client.setblocking(True)
    client.sendall(b"%d " % os.getpid() + (b"blocks" if listener.getblocking() else b"does not") + b"\\n")
    if client.recv(100) == b"leave\\n":
        os._exit(0)
    client.close()
""")
        daemon.service("poller", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[python(), script], prefork={"min_spare": 2, "max_spare": 2})
        daemon.start()
        uri = daemon.address("poller")
        workers = set()

        def both():
            workers.add(int(self.ask(uri, b"stay\n").split()[0]))
            return len(workers) == 2
        self.eventually(both, "both workers serve")
        leaves = int(self.ask(uri, b"leave\n").split()[0])
        self.eventually(lambda: leaves not in {child.pid for child in daemon.children()}, "one has left")
        for _ in range(10):
            self.assertIn(b"does not", self.ask(uri, b"stay\n"))
        self.assertEqual(daemon.status()["poller"]["sockets_mended"], 0)

    def test_a_program_that_does_not_block_is_left_alone_whatever_it_does(self):
        """A reload finds the one worker asleep with a client: its listener stays non-blocking, also under the same
        program with another limit. Its successor alone gets one that blocks."""
        daemon = self.prepare()
        script = daemon.write("loop.py", """import os, select, socket, time
listener = socket.socket(fileno=os.dup(0))
found = "blocking" if os.get_blocking(0) else "not blocking"
listener.setblocking(False)
while True:
    select.select([listener], [], [])
    try:
        client = listener.accept()[0]
    except BlockingIOError:
        continue
    client.setblocking(True)
    client.sendall(found.encode() + b"\\n")
    client.recv(100)
    while client.recv(100, socket.MSG_DONTWAIT | socket.MSG_PEEK) if select.select([client], [], [], 0)[0] else True:
        time.sleep(0.01)
    client.close()
""")

        def define(**keys):
            daemon.service("loop", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                           exec=[python(), script], prefork={"min_spare": 1, "max_spare": 1}, **keys)
        define()
        daemon.start()

        def blocks():
            with open(f"/proc/{worker}/fdinfo/0", encoding="ascii") as info:
                return not int(info.read().split("flags:")[1].split()[0], 8) & os.O_NONBLOCK
        with connect(daemon.address("loop"), timeout=5) as client:
            self.assertEqual(client.recv(100), b"blocking\n")
            client.sendall(b"sleep\n")
            worker = daemon.children()[0].pid
            daemon.reload()
            self.assertFalse(blocks())
            define(stop_timeout="9s")
            daemon.reload()
            self.assertFalse(blocks())
        self.eventually(lambda: worker not in [child.pid for child in daemon.children()], "it has gone")
        for child in daemon.children():
            os.kill(child.pid, signal.SIGKILL)
        with connect(daemon.address("loop"), timeout=5) as client:
            self.assertEqual(client.recv(100), b"blocking\n")


class AttackedAsUser(Attacked):
    as_user = "nobody"


class Reloaded(Control):
    def test_a_reload_and_an_upgrade_find_what_was_done(self):
        """A worker that has changed the socket and lives on: a reload puts it right, an upgrade too."""
        daemon = self.prepare()
        script = daemon.write("worker.py", WORKER.replace("os._exit(0)", "return"))
        daemon.service("attacked", listen="udp://127.0.0.1:0", model="iterative", exec=[python(), script])
        daemon.start()
        uri = daemon.address("attacked")

        def ask(line):
            with connect(uri, timeout=5) as client:
                client.send(line)
                return client.recv(100)
        self.assertEqual(ask(b"hello"), b"hello")
        ask(b"attack buffer")
        daemon.reload()
        self.assertEqual(daemon.status()["attacked"]["sockets_mended"], 1)
        self.assertEqual(ask(b"hello"), b"hello")
        ask(b"attack buffer")
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_for(lambda r: r["message"].startswith("upgraded"), since=since)
        self.eventually(lambda: daemon.status()["attacked"]["sockets_mended"] == 2, "put right after the upgrade")
        self.assertEqual(ask(b"hello"), b"hello")


class Paths(Control):
    def served(self, uri):
        try:
            return self.converse(uri) == b"hello"
        except OSError:
            return False

    def lost(self, change, **keys):
        daemon = self.prepare()
        os.mkdir(daemon.path("run"))
        if daemon.user:
            shutil.chown(daemon.path("run"), daemon.user)
        path = daemon.path("run/cat.sock")
        daemon.service("cat", listen=f"unix://{path}", **({"model": "fork", "exec": ["cat"]} | keys))
        daemon.start()
        uri = f"unix://{path}"
        self.assertEqual(self.converse(uri), b"hello")
        change(path)
        return daemon, path, uri

    def test_removed_and_renamed(self):
        """A path that somebody removes or renames is restored, reported and counted once; this does not need a
        client."""
        for change in (os.unlink, lambda path: os.rename(path, path + ".away"),
                       lambda path: shutil.rmtree(os.path.dirname(path)),
                       lambda path: os.rename(os.path.dirname(path), os.path.dirname(path) + ".away")):
            daemon, _, uri = self.lost(change)
            self.eventually(lambda: self.served(uri), "served again")
            self.assertEqual(daemon.status()["cat"]["sockets_mended"], 1)
            self.assertEqual(daemon.status()["cat"]["state"], "listening")

    def test_pool(self):
        """The workers of a pool get the new socket."""
        daemon, _, uri = self.lost(os.unlink, model="prefork", handoff="listen", exec=["superd-echo"])
        self.eventually(lambda: self.served(uri), "served again")
        self.assertEqual(daemon.status()["cat"]["sockets_mended"], 1)

    def test_replaced_by_a_dead_socket(self):
        """A path that leads to another, dead socket becomes superd's again."""
        def replace(path):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(path + ".new")
            if self.as_user:
                shutil.chown(path + ".new", self.as_user)
            os.rename(path + ".new", path)
        _, _, uri = self.lost(replace)
        self.eventually(lambda: self.served(uri), "served again")

    def test_a_folder_in_its_place(self):
        """While a folder is in its place the service waits, says why, and serves once the folder has gone."""
        def replace(path):
            os.unlink(path)
            os.mkdir(path)
        daemon, path, uri = self.lost(replace)
        service = self.eventually(lambda: daemon.status()["cat"]["state"] == "waiting" and daemon.status()["cat"],
                                  "waits")
        self.assertIn("Is a directory", service["reason"])
        told = json.loads(self.superctl(daemon, "status", "cat", "--json")[0])["services"][0]
        self.assertEqual((told["state"], told["listeners"][0]["open"]), ("waiting", False))
        self.assertIn("Is a directory", self.superctl(daemon, "status", "cat")[0])
        self.assertIn("Is a directory", self.superctl(daemon, "explain", "cat", "uid:0")[0])
        os.rmdir(path)
        self.eventually(lambda: self.served(uri), "served again")
        self.assertEqual(daemon.status()["cat"]["state"], "listening")
        self.assertEqual(len(daemon.find(lambda r: "Is a directory" in r["message"]
                                         and "not as it should" in r["message"])), 1)

    def test_idle(self):
        """superd does not wake up if nothing changes: other files next to the path come and go."""
        daemon, path, _ = self.lost(lambda path: None)
        before = self.at_rest(daemon.pid)
        for number in range(100):
            with open(f"{path}.{number}", "w", encoding="ascii"):
                pass
            os.unlink(f"{path}.{number}")
        self.assertEqual(self.at_rest(daemon.pid), before)


class PathsAsUser(Paths):
    as_user = "nobody"


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter"),
                     "needs root, ip and nsenter for networks of its own")
class Interfaces(SuperdCase):
    ASK = """import socket, sys
family, kind, host, port, interface = sys.argv[1:]
family = getattr(socket, family)
with socket.socket(family, getattr(socket, kind)) as client:
    client.settimeout(2)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    to = socket.getaddrinfo(host, int(port), family)[0][4]
    if client.type == socket.SOCK_DGRAM:
        client.sendto(b"hello\\n", to)
    else:
        client.connect(to)
        client.sendall(b"hello\\n")
    data, peer = client.recvfrom(100)
    print(data.decode().strip(), (peer or to)[0].split("%")[0])
"""

    POOL = """import os, socket
sock = socket.socket(fileno=os.dup(0))
while True:
    sock.sendto(*sock.recvfrom(100))
"""

    def setUp(self):
        super().setUp()
        if subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("network namespaces are not available here")
        self.far = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        self.addCleanup(self.far.wait)
        self.addCleanup(self.far.kill)
        mine = os.readlink("/proc/self/ns/net")
        self.eventually(lambda: os.readlink(f"/proc/{self.far.pid}/ns/net") != mine, "the far network is there")

    def start(self, services):
        """superd in its own network namespace, in which the pair of interfaces is made before it is ready."""
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        for name, keys in services.items():
            daemon.service(name, **keys)
        daemon.service("ready", listen="tcp://127.0.0.1:7999", model="fork", exec=["cat"])
        return daemon.start()

    def pair(self, daemon, address=True):
        near, far = (["nsenter", "-t", str(pid), "-n", "ip"] for pid in (daemon.pid, self.far.pid))
        subprocess.run([*near, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(self.far.pid)],
                       check=True)
        for ip, link, number in ((near, "v0", 1), (far, "v1", 2)):
            subprocess.run([*ip, "link", "set", link, "addrgenmode", "none"], check=False)
            subprocess.run([*ip, "link", "set", link, "up"], check=True)
            if address or number == 2:
                self.address(ip, "add", link, number)

    def address(self, ip, verb, link, number):
        subprocess.run([*ip, "addr", verb, f"198.51.100.{number}/24", "brd", "+", "dev", link], check=True)
        for prefix in ("2001:db8::", "fe80::"):
            subprocess.run([*ip, "addr", verb, f"{prefix}{number}/64", "dev", link,
                            *(["nodad"] if verb == "add" else [])], check=True)

    def ask(self, family, kind, host, port):
        done = subprocess.run(["nsenter", "-t", str(self.far.pid), "-n", python(), "-c", self.ASK, family, kind, host,
                               str(port), "v1"], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=30)
        return done.stdout.decode().strip()

    def answers(self, expected, *question):
        self.eventually(lambda: self.ask(*question) == expected, f"{question} is answered")

    def test_an_interface_made_anew(self):
        """bind_to_device, and a link-local address: after a pair of interfaces is removed and recreated, superd, and
        workers that have the socket, serve on it again; meanwhile the service waits and says why."""
        device = {"bind_to_device": "v0"}
        daemon = self.start({
            "device": dict(listen="tcp://*:7900", model="fork", exec=["cat"], socket=device),
            "pool": dict(listen="tcp://*:7901", model="prefork", handoff="listen", exec=["superd-echo"], socket=device),
            "link": dict(listen="tcp://[fe80::1%v0]:7902", model="fork", exec=["cat"]),
            "udp": dict(listen="udp://*:7903", model="fork", exec=["cat"], socket=device)})
        self.pair(daemon)

        def all_served():
            for port in (7900, 7901):
                self.answers("hello 198.51.100.1", "AF_INET", "SOCK_STREAM", "198.51.100.1", port)
            self.answers("hello fe80::1", "AF_INET6", "SOCK_STREAM", "fe80::1%v1", 7902)
            self.answers("hello 198.51.100.1", "AF_INET", "SOCK_DGRAM", "198.51.100.1", 7903)
        all_served()
        before = {name: service["sockets_mended"] for name, service in daemon.status().items()}
        for times in (1, 2):
            subprocess.run(["nsenter", "-t", str(daemon.pid), "-n", "ip", "link", "del", "v0"], check=True)
            for name in ("device", "pool", "link", "udp"):
                self.eventually(lambda: daemon.status()[name]["state"] == "waiting", f"{name} waits")
                self.assertIn("v0 is gone", daemon.status()[name]["reason"])
            self.pair(daemon)
            all_served()
            for name in ("device", "pool", "link", "udp"):
                self.assertEqual(daemon.status()[name]["sockets_mended"] - before[name], times, name)

    def test_an_address_that_went_and_came_back(self):
        """Sockets of an address that is removed and added again serve on, TCP and UDP, IPv4 and IPv6."""
        daemon = self.start({name: dict(listen=f"{scheme}://{host}:{port}", model="fork", exec=["cat"])
                             for name, scheme, host, port in (("a", "tcp", "198.51.100.1", 7900),
                                                              ("b", "udp", "198.51.100.1", 7901),
                                                              ("c", "tcp", "[2001:db8::1]", 7902),
                                                              ("d", "udp", "[2001:db8::1]", 7903))})
        self.pair(daemon)
        near = ["nsenter", "-t", str(daemon.pid), "-n", "ip"]
        for _ in range(3):
            for host, ports in (("198.51.100.1", (7900, 7901)), ("2001:db8::1", (7902, 7903))):
                for port, kind in zip(ports, ("SOCK_STREAM", "SOCK_DGRAM")):
                    self.answers(f"hello {host}", "AF_INET" if "." in host else "AF_INET6", kind, host, port)
            self.address(near, "del", "v0", 1)
            self.address(near, "add", "v0", 1)

    def test_broadcast(self):
        """A datagram to a broadcast address on udp://* is answered from the address that the kernel names; so is one
        to an address of the machine."""
        daemon = self.start({
            "superd": dict(listen="udp://*:7900", model="fork", exec=["cat"]),
            "four": dict(listen="udp://0.0.0.0:7901", model="fork", exec=["cat"])})
        self.pair(daemon)
        for port in (7900, 7901):
            for host in ("198.51.100.255", "255.255.255.255", "198.51.100.1"):
                if host == "255.255.255.255":
                    subprocess.run(["nsenter", "-t", str(self.far.pid), "-n", "ip", "route", "replace", "default", "dev",
                                    "v1"], check=True)
                with self.subTest(host=host, port=port):
                    self.answers("hello 198.51.100.1", "AF_INET", "SOCK_DGRAM", host, port)

    def test_multicast(self):
        """A multicast address joins its group: by its zone, by bind_to_device, or by the kernel's routes; the answer
        comes from an address of the machine, also after its interface is recreated."""
        daemon = self.start({
            "zone": dict(listen="udp://[ff02::1234%v0]:7900", model="fork", exec=["cat"]),
            "device": dict(listen="udp://239.1.2.3:7901", model="fork", exec=["cat"], socket={"bind_to_device": "v0"}),
            "kernel": dict(listen="udp://239.1.2.4:7902", model="fork", exec=["cat"]),
            "pool": dict(listen="udp://[ff02::1235%v0]:7903", model="prefork", exec=[python(), "-c", self.POOL])})
        self.pair(daemon)
        near, far = (["nsenter", "-t", str(pid), "-n", "ip", "route", "replace", "239.0.0.0/8", "dev"]
                     for pid in (daemon.pid, self.far.pid))
        for _ in range(2):
            subprocess.run([*near, "v0"], check=True)
            subprocess.run([*far, "v1"], check=True)
            for port in (7900, 7903):
                group = "ff02::1234%v1" if port == 7900 else "ff02::1235%v1"
                self.answers("hello fe80::1", "AF_INET6", "SOCK_DGRAM", group, port)
            self.answers("hello 198.51.100.1", "AF_INET", "SOCK_DGRAM", "239.1.2.3", 7901)
            self.answers("hello 198.51.100.1", "AF_INET", "SOCK_DGRAM", "239.1.2.4", 7902)
            subprocess.run(["nsenter", "-t", str(daemon.pid), "-n", "ip", "link", "del", "v0"], check=True)
            self.pair(daemon)
