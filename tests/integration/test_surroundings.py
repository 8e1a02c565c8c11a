# SPDX-License-Identifier: MIT
"""What a handler finds when it starts: environment, descriptors, identity, signals, limits."""

import fcntl
import grp
import os
import pwd
import resource
import shutil
import socket
import unittest

from harness import SuperdCase, connect, exchange, handler
from harness.loopback import own_loopback
from harness.probe import Report

ORDINARY = 64125  # belongs to nobody
ALWAYS = {"PATH", "SUPERD_SERVICE"}
TCP = {"PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT", "REMOTE_ADDR", "REMOTE_PORT",
       "REMOTE_HOST"}
UNIX = {"PROTO", "UNIXLOCALPATH", "UNIXREMOTEEUID", "UNIXREMOTEEGID", "UNIXREMOTEPID"}
UDP = {"PROTO", "UDPLOCALIP", "UDPLOCALPORT", "UDPREMOTEIP", "UDPREMOTEPORT", "REMOTE_ADDR", "REMOTE_PORT",
       "REMOTE_HOST"}


class Probed(SuperdCase):  # has no tests itself
    """One service `probe` and its report."""

    def probe(self, listen="tcp://127.0.0.1:0", words=(), superd=None, **keys):
        daemon = self.prepare(**(superd or {}))
        keys.setdefault("model", "fork")
        daemon.service("probe", listen=listen, exec=[handler("probe"), *words], **keys)
        return daemon.start()

    def report(self, daemon, uri=None):
        return Report(exchange(uri or daemon.address("probe")))


class Environment(Probed):
    def tcp(self, uri, ip):
        with connect(uri) as client:
            data = b""
            while not data.endswith(b"\nend\n"):
                data += client.recv(65536)
            local = client.getsockname()
            remote = client.getpeername()
        report = Report(data)
        self.assertEqual(set(report.environment), ALWAYS | TCP)
        expected = {"PROTO": "TCP", "TCPLOCALIP": ip, "TCPLOCALPORT": str(remote[1]), "TCPREMOTEIP": ip,
                    "TCPREMOTEPORT": str(local[1]), "REMOTE_ADDR": ip, "REMOTE_PORT": str(local[1]),
                    "REMOTE_HOST": ip, "SUPERD_SERVICE": "probe"}
        for name, value in expected.items():
            self.assertEqual(report.environment[name], value, name)

    def test_tcp4(self):
        """TCP over IPv4: the UCSPI variables, REMOTE_*, PATH, SUPERD_SERVICE and nothing else."""
        self.tcp(self.probe().address("probe"), "127.0.0.1")

    def test_tcp6(self):
        """TCP over IPv6: the same with the address in its canonical text."""
        self.tcp(self.probe("tcp://[::1]:0").address("probe"), "::1")

    def test_mapped(self):
        """TCP on tcp://*: an IPv4 client is written as IPv4, an IPv6 client as IPv6."""
        port = self.probe("tcp://*:0").address("probe").rsplit(":", 1)[1]
        self.tcp(f"tcp://127.0.0.1:{port}", "127.0.0.1")
        self.tcp(f"tcp://[::1]:{port}", "::1")

    def test_every_stream_model_gives_the_same(self):
        """iterative, delayed and prefork hand over the same environment as fork."""
        for model in ("iterative", "delayed", "prefork"):
            with self.subTest(model=model):
                self.tcp(self.probe(model=model).address("probe"), "127.0.0.1")

    def test_unix(self):
        """unix stream: PROTO=UNIX, the path and the peer's effective ids and pid."""
        daemon = self.prepare()
        path = daemon.path("probe.sock")
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                daemon.service(model, listen=f"unix://{path}.{model}", model=model, exec=[handler("probe")],
                               socket={"mode": "0666"})
        daemon.start()
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                report = Report(exchange(daemon.address(model)))
                self.assertEqual(set(report.environment), ALWAYS | UNIX)
                self.assertEqual(report.environment["PROTO"], "UNIX")
                self.assertEqual(report.environment["UNIXLOCALPATH"], f"{path}.{model}")
                self.assertEqual(report.environment["UNIXREMOTEEUID"], str(os.geteuid()))
                self.assertEqual(report.environment["UNIXREMOTEEGID"], str(os.getegid()))
                self.assertEqual(report.environment["UNIXREMOTEPID"], str(os.getpid()))

    def test_udp_fork(self):
        """UDP under fork: PROTO=UDP with both ends, and the local address is the one the client asked."""
        for listen, target in (("udp://127.0.0.1:0", None), ("udp://*:0", "127.0.0.5"), ("udp://[::1]:0", None)):
            with self.subTest(listen=listen):
                daemon = self.probe(listen)
                uri = daemon.address("probe")
                if target:
                    uri = f"udp://{target}:{uri.rsplit(':', 1)[1]}"
                client = self.client(uri)
                client.send(b"x")
                report = Report(client.recv(65536))
                local, remote = client.getsockname(), client.getpeername()
                self.assertEqual(set(report.environment), ALWAYS | UDP)
                expected = {"PROTO": "UDP", "UDPLOCALIP": remote[0], "UDPLOCALPORT": str(remote[1]),
                            "UDPREMOTEIP": local[0], "UDPREMOTEPORT": str(local[1]), "REMOTE_ADDR": local[0],
                            "REMOTE_PORT": str(local[1]), "REMOTE_HOST": local[0]}
                for name, value in expected.items():
                    self.assertEqual(report.environment[name], value, name)

    def test_environment_and_pass_environment(self):
        """`environment` is set, `pass_environment` is passed on if it is set, and nothing else of superd's own."""
        daemon = self.probe(superd={"environment": {"GIVEN": "from superd", "SECRET": "kept"}},
                            environment={"LANG": "C.UTF-8", "EMPTY": "", "ODD": "a=b \"c\" $d\\"},
                            pass_environment=["GIVEN", "ABSENT"])
        report = self.report(daemon)
        self.assertEqual(set(report.environment), ALWAYS | TCP | {"LANG", "EMPTY", "ODD", "GIVEN"})
        self.assertEqual(report.environment["GIVEN"], "from superd")
        self.assertEqual(report.environment["EMPTY"], "")
        self.assertEqual(report.environment["ODD"], "a=b \"c\" $d\\")

    def test_defaults_lie_under_every_service(self):
        """superd.toml's [defaults] apply where a service's file says nothing, and drop-ins override the file."""
        daemon = self.prepare(config='[defaults]\numask = "077"\nnice = 13\n')
        daemon.service("probe", listen="tcp://127.0.0.1:0", model="fork", exec=[handler("probe")], nice=14)
        os.mkdir(daemon.path("conf.d/probe.toml.d"))
        daemon.write("conf.d/probe.toml.d/20-b.toml", 'argv0 = "second"\n')
        daemon.write("conf.d/probe.toml.d/10-a.toml", 'argv0 = "first"\nworking_directory = "/usr"\n')
        daemon.start()
        report = self.report(daemon)
        self.assertEqual((report.facts["umask"], report.number("nice"), report.facts["cwd"]), ("077", 14, "/usr"))
        self.assertEqual(report.arguments, ["second"])


class EnvironmentAsUser(Environment):
    as_user = "nobody"


class Descriptors(Probed):
    def test_only_stdin_stdout_stderr(self):
        """stdin and stdout are the connection, blocking and kept over exec; nothing else but stderr is open."""
        for model in ("fork", "iterative", "delayed", "prefork"):
            with self.subTest(model=model):
                report = self.report(self.probe(model=model))
                self.assertEqual(set(report.descriptors), {0, 1, 2})
                for number in (0, 1):
                    self.assertEqual(report.descriptors[number][0], "socket")
                    self.assertEqual(report.descriptors[number][2:], ["kept", "blocking"])
                self.assertEqual(report.descriptors[0], report.descriptors[1])
                self.assertNotEqual(report.descriptors[2], report.descriptors[0])

    def test_nothing_leaks_from_a_busy_superd(self):
        """Next to twenty services of all kinds and open connections, a handler still finds three descriptors."""
        daemon = self.prepare()
        for number in range(10):
            daemon.service(f"tcp{number}", listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"])
            daemon.service(f"udp{number}", listen="udp://127.0.0.1:0", model="prefork", exec=["superd-echo"])
        daemon.service("probe", listen="tcp://127.0.0.1:0", model="fork", exec=[handler("probe")])
        daemon.start()
        for number in range(10):
            self.client(daemon.address(f"tcp{number}")).sendall(b"busy\n")
        for _ in range(5):
            self.assertEqual(set(self.report(daemon).descriptors), {0, 1, 2})

    def test_what_superd_inherited_goes_no_further(self):
        """Descriptors that were open in superd when it was started do not reach any handler, whatever the model."""
        with open("/dev/null", "rb") as null:
            inherited = [fcntl.fcntl(null, fcntl.F_DUPFD, number) for number in (5, 60)]
        for number in inherited:
            self.addCleanup(os.close, number)
        daemon = self.prepare(inherited=inherited)
        for model in ("fork", "iterative", "delayed", "prefork"):
            daemon.service(model, listen="tcp://127.0.0.1:0", model=model, exec=[handler("probe")])
        daemon.service("listen", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[handler("probe"), "--accept", "3"])
        daemon.start()
        for name in ("fork", "iterative", "delayed", "prefork", "listen"):
            with self.subTest(name):
                report = self.report(daemon, daemon.address(name))
                status = int(report.environment.get("SUPERD_STATUS_FD", 3))
                self.assertEqual(set(report.descriptors), {0, 1, 2, 3, status} if name == "listen" else {0, 1, 2})

    def test_stderr_is_the_connection(self):
        """stderr = "socket": the third descriptor is the connection too."""
        report = self.report(self.probe(stderr="socket"))
        self.assertEqual(report.descriptors[2], report.descriptors[0])

    def test_stderr_null(self):
        """stderr = "null": output there disappears."""
        report = self.report(self.probe(stderr="null"))
        self.assertEqual(report.descriptors[2][0], "character")

    def test_datagram_under_fork(self):
        """UDP under fork: no more than three descriptors either."""
        daemon = self.probe("udp://127.0.0.1:0")
        client = self.client(daemon.address("probe"))
        client.send(b"x")
        self.assertEqual(set(Report(client.recv(65536)).descriptors), {0, 1, 2})


class Identity(Probed):
    def test_default_user(self):
        """The default user is nobody if superd is root, superd's own otherwise; real, effective and saved."""
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                report = self.report(self.probe(model=model))
                self.assertEqual(report.numbers("uid"), [self.handler_uid] * 3)
                self.assertEqual(report.numbers("gid"), [pwd.getpwuid(self.handler_uid).pw_gid] * 3)

    @unittest.skipUnless(os.geteuid() == 0, "only root may choose users")
    def test_user_group_and_supplementary_groups(self):
        """The handler has user, group and supplementary_groups as set, and no group of root's besides."""
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                report = self.report(self.probe(model=model, user="daemon", group="mail",
                                                supplementary_groups=["tty", "disk"]))
                self.assertEqual(report.numbers("uid"), [pwd.getpwnam("daemon").pw_uid] * 3)
                self.assertEqual(report.numbers("gid"), [grp.getgrnam("mail").gr_gid] * 3)
                groups = set(report.numbers("groups"))
                wanted = {grp.getgrnam("tty").gr_gid, grp.getgrnam("disk").gr_gid}
                self.assertLessEqual(wanted, groups)
                self.assertLessEqual(groups, wanted | {grp.getgrnam("mail").gr_gid, grp.getgrnam("daemon").gr_gid})

    @unittest.skipUnless(os.geteuid() == 0, "only root may choose users")
    def test_root_stays_root_where_asked(self):
        """user = "root" keeps root."""
        self.assertEqual(self.report(self.probe(user="root")).numbers("uid"), [0, 0, 0])

    @unittest.skipUnless(os.geteuid() == 0, "only root may choose users")
    def test_numeric_user(self):
        """A user given by number."""
        self.assertEqual(self.report(self.probe(user="1")).numbers("uid"), [1, 1, 1])

    @unittest.skipUnless(os.geteuid() == 0, "only root may change the root directory")
    def test_root_directory(self):
        """root_directory: the handler runs inside it and finds working_directory there."""
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                daemon = self.prepare()
                os.makedirs(daemon.path("jail/inside"))
                shutil.copy(handler("probe"), daemon.path("jail/probe"))
                os.chmod(daemon.path("jail/probe"), 0o755)
                daemon.service("probe", listen="tcp://127.0.0.1:0", model=model, exec=["/probe"],
                               root_directory=daemon.path("jail"), working_directory="/inside")
                daemon.start()
                report = self.report(daemon)
                self.assertEqual(report.facts["cwd"], "/inside")
                self.assertEqual(report.numbers("uid"), [self.handler_uid] * 3)

    def test_another_user_without_root_is_an_error(self):
        """Without root, another user than one's own is an error at load time."""
        daemon = self.prepare(user="nobody" if os.geteuid() == 0 else None)
        daemon.service("probe", listen="tcp://127.0.0.1:0", model="fork", exec=[handler("probe")], user="daemon")
        status, output = daemon.check()
        self.assertEqual(status, 1)
        self.assertIn("user", output)


class Surroundings(Probed):
    def test_session_signals_umask_nice_directory(self):
        """Own session, empty mask, default dispositions, umask 022, niceness 0, working directory /."""
        for model in ("fork", "iterative", "delayed", "prefork"):
            with self.subTest(model=model):
                report = self.report(self.probe(model=model))
                self.assertEqual(report.number("sid"), report.pid)
                self.assertEqual(report.number("pgrp"), report.pid)
                self.assertEqual((report.facts.get("blocked", ""), report.facts.get("ignored", ""),
                                  report.facts.get("caught", "")), ("", "", ""))
                self.assertEqual(report.facts["umask"], "022")
                self.assertEqual(report.number("nice"), os.getpriority(os.PRIO_PROCESS, 0))
                self.assertEqual(report.facts["cwd"], "/")

    def test_workers_have_them_too(self):
        """The same for pool workers that accept for themselves."""
        report = self.report(self.probe(model="prefork", handoff="listen", words=["--accept", "3"]))
        self.assertEqual(report.number("sid"), report.pid)
        self.assertEqual((report.facts.get("blocked", ""), report.facts.get("ignored", "")), ("", ""))

    def test_chosen_umask_nice_directory_argv0(self):
        """umask, nice, working_directory and argv0 as the definition says, arguments untouched."""
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                report = self.report(self.probe(model=model, umask="027", nice=17, working_directory="/usr",
                                                argv0="-probe", words=["two words", "", "ünï", "*"]))
                self.assertEqual(report.facts["umask"], "027")
                self.assertEqual(report.number("nice"), 17)
                self.assertEqual(report.facts["cwd"], "/usr")
                self.assertEqual(report.arguments, ["-probe", "two words", "", "ünï", "*"])

    def test_rlimits(self):
        """[rlimits]: one number, a pair, and "unlimited" if superd may; the rest as superd was started."""
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                report = self.report(self.probe(model=model, rlimits={"nofile": [100, 200], "core": 0, "fsize": "1M",
                                                                      "cpu": 77}))
                self.assertEqual(report.limits["nofile"], ("100", "200"))
                self.assertEqual(report.limits["core"], ("0", "0"))
                self.assertEqual(report.limits["fsize"], ("1048576", "1048576"))
                self.assertEqual(report.limits["cpu"], ("77", "77"))
                soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
                self.assertEqual(report.limits["stack"][0],
                                 "unlimited" if soft == resource.RLIM_INFINITY else str(soft))

    @unittest.skipUnless(shutil.which("prlimit"), "needs prlimit of util-linux")
    def test_descriptor_limit_is_given_back(self):
        """superd raises its own descriptor limit to the hard one; handlers get the soft limit with which it was
        started."""
        daemon = self.probe(superd={"prefix": ["prlimit", "--nofile=400:3000"]})
        with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as limits:
            row = next(line for line in limits if line.startswith("Max open files"))
        self.assertEqual(row.split()[3:5], ["3000", "3000"])
        self.assertEqual(self.report(daemon).limits["nofile"], ("400", "3000"))

    @unittest.skipUnless(shutil.which("prlimit"), "needs prlimit of util-linux")
    def test_descriptor_limit_is_what_select_can_take(self):
        """A manager that passes thousands of sockets starts superd with a high soft limit; handlers get 1024 of it."""
        daemon = self.probe(superd={"prefix": ["prlimit", "--nofile=2000:3000"]})
        self.assertEqual(self.report(daemon).limits["nofile"], ("1024", "3000"))

    def test_started_with_signals_ignored(self):
        """A superd started with signals ignored and its standard descriptors closed gives handlers clean ones."""
        daemon = self.prepare(prefix=["/bin/sh", "-c", "trap '' HUP INT PIPE USR2; exec \"$@\" 0<&-", "sh"])
        daemon.service("probe", listen="tcp://127.0.0.1:0", model="fork", exec=[handler("probe")])
        daemon.start()
        report = self.report(daemon)
        self.assertEqual(report.facts.get("ignored", ""), "")
        self.assertEqual(set(report.descriptors), {0, 1, 2})
        daemon.reload()


class SurroundingsAsUser(Surroundings):
    as_user = "nobody"


class SocketKeys(Probed):
    """[socket] as the kernel shows it from inside the handler."""

    def ask(self, listen, script, **keys):
        from harness.installation import python  # pylint: disable=import-outside-toplevel
        daemon = self.prepare()
        path = daemon.write("ask.py", "import socket, sys\nsock = socket.socket(fileno=0)\n" + script)
        daemon.service("ask", listen=listen, model="fork", exec=[python(), path], **keys)
        daemon.start()
        return exchange(daemon.address("ask")).decode().split()

    def test_options_of_a_connection(self):
        """nodelay, keepalive with its times, priority, tos and buffers reach the accepted connection."""
        found = self.ask("tcp://127.0.0.1:0", """
def option(level, name): return sock.getsockopt(level, name)
S, T = socket.SOL_SOCKET, socket.IPPROTO_TCP
print(option(T, socket.TCP_NODELAY), option(S, socket.SO_KEEPALIVE), option(T, socket.TCP_KEEPIDLE),
      option(T, socket.TCP_KEEPINTVL), option(T, socket.TCP_KEEPCNT), option(S, socket.SO_PRIORITY),
      option(socket.IPPROTO_IP, socket.IP_TOS), option(S, socket.SO_RCVBUF) >= 32768,
      option(S, socket.SO_SNDBUF) >= 32768)
""", socket={"nodelay": True, "keepalive": True, "keepalive_time": "77s", "keepalive_interval": "11s",
             "keepalive_probes": 5, "priority": 4, "tos": 16, "receive_buffer": "32K", "send_buffer": "32K"})
        self.assertEqual(found, ["1", "1", "77", "11", "5", "4", "16", "True", "True"])

    def test_v6only(self):
        """v6only = true on [::]: IPv6 clients are served, IPv4 ones refused."""
        daemon = self.probe("tcp://[::]:0", socket={"v6only": True})
        port = daemon.address("probe").rsplit(":", 1)[1]
        Report(exchange(f"tcp://[::1]:{port}"))
        with self.assertRaises(ConnectionRefusedError):
            connect(f"tcp://127.0.0.1:{port}")

    def test_freebind(self):
        """freebind = true: an address that this machine does not have is bound at once."""
        daemon = self.probe("tcp://203.0.113.77:0", socket={"freebind": True})
        self.assertTrue(daemon.address("probe").startswith("tcp://203.0.113.77:"))

    def test_reuse_port_and_defer_accept(self):
        """reuse_port lets another socket of the same user share the port; defer_accept waits for data."""
        daemon = self.probe(socket={"reuse_port": True, "defer_accept": "5s"})
        uri = daemon.address("probe")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind(("127.0.0.1", int(uri.rsplit(":", 1)[1])))
        client = self.client(uri, timeout=0.4)
        with self.assertRaises(TimeoutError):
            client.recv(10)
        client.settimeout(30)
        client.sendall(b"now\n")
        self.assertTrue(client.recv(10))


class LowPorts(SuperdCase):
    def test_an_ordinary_user_s_superd_with_one_capability_serves_a_port_below_1024_and_keeps_it_from_handlers(self):
        """As under contrib/systemd/examples/unprivileged.conf; without the capability the port cannot be bound."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv, to become an ordinary user with a capability")
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) <= 79:
                self.skipTest("here everybody may bind ports below 1024")
        uri = f"tcp://{own_loopback()}:79"
        user = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
        words = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]
        keys = {"model": "fork", "exec": ["sh", "-c", "id -u; grep Cap /proc/self/status"]}
        without = self.prepare(prefix=user)
        without.service("low", listen=uri, **keys)
        without.start()
        self.eventually(lambda: without.status()["low"]["state"] == "waiting", "it waits for the port")
        without.stop()
        daemon = self.prepare(prefix=[*user, *words])
        daemon.service("low", listen=uri, **keys)
        daemon.start()
        said = exchange(uri).decode()
        self.assertTrue(said.startswith(f"{ORDINARY}\n"), said)
        for kind in ("CapPrm", "CapEff", "CapAmb"):
            self.assertRegex(said, rf"{kind}:\s+0+\n")
