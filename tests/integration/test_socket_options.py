# SPDX-License-Identifier: MIT
"""[socket] by its effect on clients and handlers, in a network of the test's own: what the kernel does with it, and what
is refused because it does nothing."""

import os
import shutil
import socket
import subprocess
import unittest

from control import Control
from harness.daemon import PATIENCE
from harness.installation import python

FAST_OPEN, SYN_DATA, MPTCP = 23, 0x20, 262
# What is inherited by the connection, in words.
LOOKS = """import os, socket
sock = socket.socket(fileno=os.dup(0))
def number(level, name):
    try:
        return sock.getsockopt(level, name)
    except OSError:
        return "none"
control = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\\0")[0].decode()
print(number(socket.SOL_SOCKET, socket.SO_PROTOCOL), control, number(socket.IPPROTO_IP, socket.IP_TTL),
      sock.getsockname()[0], flush=True)
"""
# The owner of a datagram socket sends to wherever it is told to.
SENDS = """import os, socket
sock = socket.socket(fileno=os.dup(0))
while True:
    host, peer = sock.recvfrom(100)
    try:
        sock.sendto(b"to all", (host.decode(), 9))
        said = b"sent"
    except OSError as error:
        said = error.strerror.encode()
    sock.sendto(said, peer)
"""
ASKS = """import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
with socket.create_connection((host, port), timeout=20) as client:
    client.sendall(b"hello\\n")
    print(client.makefile().readline().strip())
"""
ASKS_MPTCP = """import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
    client.settimeout(20)
    client.connect((sys.argv[1], int(sys.argv[2])))
    print(client.makefile().readline().strip())
"""
# Twice: the first handshake brings the cookie. Prints whether each data that came with the SYN was taken.
ASKS_FAST = """import socket, struct, sys
for _ in range(2):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        for option in socket.SO_RCVTIMEO, socket.SO_SNDTIMEO:
            client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 20, 0))
        client.sendto(b"hello\\n", 0x20000000, (sys.argv[1], int(sys.argv[2])))
        assert client.recv(100) == b"hello\\n"
        info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        print("taken" if info[5] & 0x20 else "not taken")
"""
# Prints the TTL of the answer.
ASKS_TTL = """import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
v6 = ":" in host
with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(20)
    if v6:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        client.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
    client.sendto(b"x", (host, port))
    _, ancillary, _, _ = client.recvmsg(100, 100)
    print(int.from_bytes(ancillary[0][2][:4], sys.byteorder))
"""
ASKS_DATAGRAM = """import socket, sys
host, port, word, patience = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(patience)
    if ":" not in host:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("198.51.100.1"))
    client.sendto(word.encode(), socket.getaddrinfo(host, port, client.family)[0][4])
    try:
        print(client.recv(100).decode())
    except TimeoutError:
        print("silence")
"""


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter"),
                     "needs root, ip and nsenter for a network of its own")
class SocketOptions(Control):
    def setUp(self):
        super().setUp()
        if subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("network namespaces are not available here")

    def start(self, *, before="true", **services):
        """superd in a network of its own, with an interface d0 at 198.51.100.1; `before` runs there first."""
        daemon = self.prepare(prefix=[
            "unshare", "-n", "sh", "-c",
            "ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d1 up &&"
            " ip addr add 198.51.100.1/24 brd + dev d0 &&"
            f" ip -6 addr add 2001:db8::1/64 dev d0 nodad && ip link set d0 up && {before} && exec \"$@\"", "sh"])
        for name, keys in services.items():
            daemon.service(name, **keys)
        return daemon.start()

    def looks(self, daemon):
        return [python(), daemon.write("looks.py", LOOKS)]

    def within(self, daemon, *command):
        done = subprocess.run(["nsenter", "-t", str(daemon.pid), "-n", *command], text=True, timeout=PATIENCE,
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def asks(self, daemon, code, *words):
        return self.within(daemon, python(), "-c", code, *map(str, words))

    def refused(self, why, **keys):
        """A definition that is refused at load for this reason."""
        daemon = self.prepare(prefix=["unshare", "-n"])
        daemon.service("x", exec=["cat"], model="fork", **keys)
        done = subprocess.run([*daemon.prefix, *daemon.command("--check")], text=True, env=daemon.environment,
                              timeout=PATIENCE, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(why, done.stdout)

    def test_fast_open(self):
        """fast_open: the data of a client that has been there comes with its first packet. Without it, it does not; and
        it is refused where the system does not let servers have it."""
        daemon = self.start(before="echo 3 > /proc/sys/net/ipv4/tcp_fastopen",
                            fast=dict(listen="tcp://127.0.0.1:7000", model="fork", exec=["cat"],
                                      socket={"fast_open": 16}),
                            slow=dict(listen="tcp://127.0.0.1:7001", model="fork", exec=["cat"]))
        self.assertEqual(self.asks(daemon, ASKS_FAST, "127.0.0.1", 7000).splitlines()[1], "taken")
        self.assertEqual(self.asks(daemon, ASKS_FAST, "127.0.0.1", 7001).splitlines()[1], "not taken")
        daemon.service("fast", listen="tcp://127.0.0.1:7000", model="fork", exec=["cat"])
        daemon.reload()
        self.assertEqual(self.asks(daemon, ASKS_FAST, "127.0.0.1", 7000).splitlines()[1], "not taken")
        self.refused("the sysctl net.ipv4.tcp_fastopen is 1, and needs 3", listen="tcp://127.0.0.1:7000",
                     socket={"fast_open": 16})

    def test_mptcp(self):
        """mptcp: clients that have it get it, others plain TCP; access lists and limits hold for both. A reload can
        begin and end it."""
        if not os.path.exists("/proc/sys/net/mptcp/enabled"):
            self.refused("this kernel has no Multipath TCP", listen="tcp://127.0.0.1:7000", socket={"mptcp": True})
            self.skipTest("this kernel has no Multipath TCP")
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        keys = dict(listen="tcp://127.0.0.1:7000", model="fork", exec=self.looks(daemon), log={"usage": True})
        daemon.service("looks", socket={"mptcp": True}, **keys)
        daemon.start()
        self.assertEqual(self.asks(daemon, ASKS_MPTCP, "127.0.0.1", 7000).split()[0], str(MPTCP))
        self.assertEqual(self.asks(daemon, ASKS, "127.0.0.1", 7000).split()[0], str(int(socket.IPPROTO_TCP)))
        daemon.service("looks", **keys)
        daemon.reload()
        self.assertEqual(self.asks(daemon, ASKS_MPTCP, "127.0.0.1", 7000).split()[0], str(int(socket.IPPROTO_TCP)))
        daemon.service("looks", socket={"mptcp": True}, **keys)
        daemon.reload()
        self.assertEqual(self.asks(daemon, ASKS_MPTCP, "127.0.0.1", 7000).split()[0], str(MPTCP))
        daemon.service("looks", socket={"mptcp": True}, access={"deny": ["127.0.0.0/8"]}, **keys)
        daemon.reload()
        done = subprocess.run(["nsenter", "-t", str(daemon.pid), "-n", python(), "-c",
                               ASKS_MPTCP.replace("settimeout(20)", "settimeout(2)"), "127.0.0.1", "7000"],
                              text=True, check=False, timeout=PATIENCE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.stdout.strip(), "")
        self.eventually(lambda: self.service_status(daemon, "looks")["refused"]["denied"] == 1, "it is denied")
        daemon.service("looks", socket={"mptcp": True}, model="prefork", handoff="listen", exec=["superd-echo"],
                       listen="tcp://127.0.0.1:7000", limits={"instances": 2}, prefork={"min_spare": 1, "max_spare": 1})
        daemon.reload()
        self.eventually(lambda: self.asks(daemon, ASKS, "127.0.0.1", 7000) == "hello", "a pool serves it as well")
        self.assertEqual(daemon.find(lambda r: "the access filter" in r["message"]), [])

    def test_every_option_on_mptcp(self):
        """What [socket] has for TCP can be had with mptcp as well."""
        if not os.path.exists("/proc/sys/net/mptcp/enabled"):
            self.skipTest("this kernel has no Multipath TCP")
        options = dict(mptcp=True, keepalive=True, keepalive_time="9s", keepalive_interval="3s", keepalive_probes=3,
                       nodelay=True, defer_accept="5s", receive_buffer="64K", send_buffer="64K", priority=3, tos=16,
                       mark=7, fast_open=5, congestion="reno", transparent=True, freebind=True,
                       bind_to_device="lo", reuse_port=True)
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up;"
                                      " echo 3 > /proc/sys/net/ipv4/tcp_fastopen; exec \"$@\"", "sh"])
        daemon.service("looks", listen="tcp://127.0.0.1:7000", model="fork", exec=self.looks(daemon), socket=options)
        daemon.start()
        self.assertEqual(self.asks(daemon, ASKS_MPTCP.replace("    print", '    client.sendall(b"x")\n    print'),
                                  "127.0.0.1", 7000).split()[:2], [str(MPTCP), "reno"])
        self.refused("socket.ttl cannot be had with mptcp", listen="tcp://127.0.0.1:7000",
                     socket={"mptcp": True, "ttl": 9})

    def test_congestion(self):
        """congestion: the connection has it; another one after a reload, the system's again after the next. One that the
        kernel does not have is refused."""
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        keys = dict(listen="tcp://127.0.0.1:7000", model="fork", exec=self.looks(daemon))
        daemon.service("looks", **keys)
        daemon.start()
        by_system = self.asks(daemon, ASKS, "127.0.0.1", 7000).split()[1]
        other = "reno" if by_system != "reno" else "cubic"
        daemon.service("looks", socket={"congestion": other}, **keys)
        daemon.reload()
        self.assertEqual(self.asks(daemon, ASKS, "127.0.0.1", 7000).split()[1], other)
        daemon.service("looks", **keys)
        daemon.reload()
        self.assertEqual(self.asks(daemon, ASKS, "127.0.0.1", 7000).split()[1], by_system)
        self.refused('socket.congestion "no-such": this kernel has none of that name', listen="tcp://127.0.0.1:7000",
                     socket={"congestion": "no-such"})

    def test_ttl(self):
        """ttl: datagrams leave with it, over IPv4 and IPv6, and connections have it; the system's again without."""
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        looks = self.looks(daemon)

        def define(**keys):
            daemon.service("udp", listen="udp://*:7000", model="fork", exec=["cat"], **keys)
            daemon.service("tcp", listen="tcp://*:7001", model="fork", exec=looks, **keys)

        define(socket={"ttl": 7})
        daemon.start()
        for host in "127.0.0.1", "::1":
            self.assertEqual(self.asks(daemon, ASKS_TTL, host, 7000), "7")
            self.assertEqual(self.asks(daemon, ASKS, host, 7001).split()[2], "7")
        define()
        daemon.reload()
        for host in "127.0.0.1", "::1":
            self.assertEqual(self.asks(daemon, ASKS_TTL, host, 7000), "64")

    def test_transparent(self):
        """transparent: an address that is not this machine's is listened on, and clients that are routed here find their
        own destination; without it, the address cannot be bound. Others than root are refused."""
        foreign = "203.0.113.9"
        daemon = self.prepare(prefix=["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        daemon.service("looks", listen=[f"tcp://{foreign}:7000"], model="fork", exec=self.looks(daemon),
                       socket={"transparent": True})
        daemon.service("cat", listen=[f"udp://{foreign}:7000"], model="fork", exec=["cat"],
                       socket={"transparent": True})
        daemon.start()
        self.within(daemon, "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
        self.assertEqual(self.asks(daemon, ASKS, foreign, 7000).split()[3], foreign)
        self.assertEqual(self.asks(daemon, ASKS_DATAGRAM.replace('if ":" not in host', "if False"),
                                  foreign, 7000, "hello", 20), "hello")
        self.within(daemon, "ip", "route", "del", "local", "203.0.113.0/24", "dev", "lo")
        daemon.service("plain", listen="tcp://203.0.113.10:7000", model="fork", exec=["cat"])
        self.assertIn("bind 203.0.113.10:7000: Cannot assign", daemon.reload(refused=True)["message"])

    def test_broadcast(self):
        """broadcast: the owner of a socket may send to a broadcast address, and otherwise not."""
        daemon = self.prepare(prefix=[
            "unshare", "-n", "sh", "-c", "ip link set lo up && ip link add d0 type veth peer name d1 &&"
            " ip link set d1 up && ip addr add 198.51.100.1/24 brd + dev d0 && ip link set d0 up && exec \"$@\"", "sh"])
        keys = dict(listen="udp://198.51.100.1:7000", model="iterative", exec=[python(), daemon.write("s.py", SENDS)],
                    stop_timeout="1s")
        daemon.service("sends", socket={"broadcast": True}, **keys)
        daemon.start()
        ask = [daemon, ASKS_DATAGRAM, "198.51.100.1", 7000, "198.51.100.255", 20]
        self.assertEqual(self.asks(*ask), "sent")
        daemon.service("sends", **keys)
        daemon.reload()
        self.assertEqual(self.asks(*ask), "Permission denied")

    def test_multicast(self):
        """multicast: a socket on * receives what is sent to its groups on their interfaces, and answers; a reload joins
        and leaves. What is sent to another group does not arrive."""
        groups = ["239.1.2.3%d0", "239.1.2.4%d0", "ff02::1234%d0"]
        keys = dict(listen="udp://*:7000", model="fork", exec=["cat"])
        daemon = self.start(cat=dict(socket={"multicast": groups[:2]}, **keys))

        def reaches(group, patience=20):
            host = group if ":" in group else group.split("%", maxsplit=1)[0]
            return self.asks(daemon, ASKS_DATAGRAM, host, 7000, group, patience)

        for group in groups[:2]:
            self.assertEqual(reaches(group), group)
        self.assertEqual(reaches("239.1.2.9%d0", 1), "silence")
        daemon.service("cat", socket={"multicast": groups[1:]}, **keys)
        daemon.reload()
        for group in groups[1:]:
            self.assertEqual(reaches(group), group)
        self.assertEqual(reaches(groups[0], 1), "silence")
        self.assertNotIn("239.1.2.3", self.within(daemon, "ip", "maddr", "show", "dev", "d0"))

    def test_an_interface_made_anew_with_groups(self):
        """When the interface of a group is made anew, superd joins the group there again."""
        daemon = self.start(cat=dict(listen="udp://*:7000", model="fork", exec=["cat"],
                                     socket={"multicast": "239.1.2.3%d0"}))
        ask = [daemon, ASKS_DATAGRAM, "239.1.2.3", 7000, "hello"]
        self.assertEqual(self.asks(*ask, 20), "hello")
        self.within(daemon, "ip", "link", "del", "d0")
        self.eventually(lambda: daemon.status()["cat"]["state"] == "waiting", "it waits for the interface")
        self.within(daemon, "sh", "-c", "ip link add d0 type veth peer name d1 && ip link set d1 up &&"
                    " ip addr add 198.51.100.1/24 brd + dev d0 && ip link set d0 up")
        self.eventually(lambda: self.asks(*ask, 1) == "hello", "it is a member again")
