# SPDX-License-Identifier: MIT
"""[proxy_protocol]: the client is the one that a header names, and the header is taken off whole and alone."""

import os
import resource
import socket
import subprocess
import time

from control import SUPERCTL, Control
from harness import Reader, connect
from proxying import LOCAL, UNKNOWN, tlv, v1, v2, v2_unix
from upgrading import Session, UpgradeCase

TCP = "tcp://127.0.0.1:0"
FROM = ["127.0.0.1"]
MODELS = {"fork": {}, "iterative": {}, "delayed": {}, "prefork": {},
          "start": {"model": "prefork", "prefork": {"warm": "start"}},
          "clone": {"model": "prefork", "prefork": {"warm": "clone"}}}


class ProxyCase(Control):  # has no tests itself
    def proxied(self, services=None, rules=None, **keys):
        """A daemon with a service "web", whose handler is cat unless told otherwise; `rules` of [proxy_protocol]."""
        daemon = self.prepare()
        defaults = {"listen": TCP, "model": "fork", "exec": ["cat"], "proxy_protocol": {"from": FROM, **(rules or {})}}
        daemon.service("web", **{**defaults, **keys})
        for name, more in (services or {}).items():
            daemon.service(name, **{**defaults, **more})
        return daemon.start()

    def begin(self, daemon, data, service="web", source=None):
        client = self.client(daemon.address(service), source=source)
        client.sendall(data)
        return client

    def talk(self, daemon, data, service="web", source=None):
        """All that the handler answers to what follows; b"" if it is refused."""
        with connect(daemon.address(service), source=source) as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                return Reader(client).rest()
            except ConnectionError:
                return b""

    def environment(self, daemon, header, service="web"):
        lines = self.talk(daemon, header, service).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def refusals(self, daemon, service="web"):
        counts = self.service_status(daemon, service)["refused"]
        return {name: count for name, count in counts.items() if count}

    def pending(self, daemon, number, service="web"):
        self.eventually(lambda: self.service_status(daemon, service)["pending"] == number, f"{number} are not known yet")


class ProxyProtocol(ProxyCase):
    def test_environment(self):
        """Under each model that execs for a client, the handler finds the named client, in each family of each version,
        and what else the header says."""
        daemon = self.proxied({model: {"model": model, "exec": ["env"]}
                               for model in ("fork", "iterative", "delayed", "prefork")})
        more = (tlv(1, b"h2") + tlv(2, b"www.example.org") + tlv(5, b"id 17") + tlv(0xee, b"x" * 500) +
                tlv(0x20, b"\x03\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"client") + tlv(0x23, b"AES")))
        for model in ("fork", "iterative", "delayed", "prefork"):
            with self.subTest(model=model):
                for header in (v1("203.0.113.7"), v2("203.0.113.7")):
                    found = self.environment(daemon, header, model)
                    self.assertEqual([found[name] for name in ("PROTO", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP",
                                                               "TCPLOCALPORT", "REMOTE_ADDR", "REMOTE_HOST")],
                                     ["TCP", "203.0.113.7", "40000", "192.0.2.1", "443", "203.0.113.7", "203.0.113.7"])
                for header in (v1("2001:db8::7"), v2("2001:db8::7")):
                    found = self.environment(daemon, header, model)
                    self.assertEqual((found["TCPREMOTEIP"], found["TCPLOCALIP"]), ("2001:db8::7", "2001:db8::1"))
                for header in (LOCAL, UNKNOWN):
                    found = self.environment(daemon, header, model)
                    self.assertEqual((found["TCPREMOTEIP"], found["TCPLOCALIP"]), ("127.0.0.1", "127.0.0.1"))
                found = self.environment(daemon, v2_unix(b"/run/client", b"/run/proxy"), model)
                self.assertEqual((found["PROTO"], found["UNIXLOCALPATH"]), ("UNIX", "/run/proxy"))
                self.assertNotIn("UNIXREMOTEEUID", found)
                self.assertNotIn("TCPREMOTEIP", found)
                found = self.environment(daemon, v2_unix(b"/run/client", b"\0a\0LD_PRELOAD=/x\0MORE=1"), model)
                self.assertEqual((found["PROTO"], found["UNIXLOCALPATH"]), ("UNIX", ""))
                self.assertFalse({"LD_PRELOAD", "MORE"} & set(found))
                found = self.environment(daemon, v2("203.0.113.7", more=more), model)
                said = {name: value for name, value in found.items() if name.startswith("PROXY_")}
                self.assertEqual(said, {"PROXY_ALPN": "h2", "PROXY_AUTHORITY": "www.example.org",
                                        "PROXY_UNIQUE_ID": "id 17", "PROXY_SSL_VERSION": "TLSv1.3",
                                        "PROXY_SSL_CN": "client", "PROXY_SSL_CIPHER": "AES"})

    def test_cut_anywhere(self):
        """A header that comes in two parts, cut at each of its bytes, is the same header, and the data that comes with
        the second part is all the handler's; one that ends there is refused."""
        daemon = self.proxied()
        for header in (v1("203.0.113.7"), v2("2001:db8::7", more=tlv(2, b"example.org"))):
            clients = [self.begin(daemon, header[:at]) for at in range(len(header))]
            self.pending(daemon, len(clients))
            for at, client in enumerate(clients):
                client.sendall(header[at:] + b"PROXY %d\r\n" % at)
            for at, client in enumerate(clients):
                self.assertEqual(Reader(client).line(), b"PROXY %d\r" % at)
                client.close()
        self.assertEqual(self.refusals(daemon), {})
        bad = 0
        for header in (v1("203.0.113.7"), v2("203.0.113.7")):
            for at in range(1, len(header)):
                self.assertEqual(self.talk(daemon, header[:at]), b"", at)
            bad += len(header) - 1
        self.assertEqual(self.talk(daemon, b""), b"")
        self.eventually(lambda: self.refusals(daemon) == {"header": bad, "gone": 1}, "the refusals")

    def test_byte_by_byte(self):
        """A header may trickle in; meanwhile superd does not spin, and others are served."""
        daemon = self.proxied(rules={"timeout": "1m"})
        clients = [self.begin(daemon, b"") for _ in range(3)]
        headers = [v1("203.0.113.7"), v2("203.0.113.7"), v2("2001:db8::7")]
        for at in range(max(map(len, headers))):
            for client, header in zip(clients, headers):
                client.sendall(header[at:at + 1])
                if at % 16 == 0:
                    self.pending(daemon, len(clients) - sum(at >= len(one) for one in headers))
        half = self.begin(daemon, headers[0][:9])
        self.pending(daemon, 1)
        before = self.processor_time(daemon)
        time.sleep(0.5)
        self.assertLess(self.processor_time(daemon) - before, 0.25)
        half.close()
        for client in clients:
            client.sendall(b"hello\n")
            self.assertEqual(Reader(client).line(), b"hello")

    def processor_time(self, daemon):
        with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as file:
            words = file.read().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def test_strangers_and_bad_headers(self):
        """Peers that are not in `from`, and what is no header, are refused by reasons of their own, logged with the
        peer and nothing unescaped; a header of the other version too."""
        daemon = self.proxied({"one": {"proxy_protocol": {"from": FROM, "accept": "v1"}},
                               "two": {"proxy_protocol": {"from": FROM, "accept": "v2"}}})
        self.assertEqual(self.talk(daemon, v1("203.0.113.7") + b"x", source=("127.0.0.2", 0)), b"")
        self.assertEqual(self.refusals(daemon), {"stranger": 1})
        record = daemon.wait_for(refusal="stranger")
        self.assertRegex(record["message"], r"^127\.0\.0\.2:\d+: refused: stranger: not in proxy_protocol\.from$")
        self.assertEqual(self.talk(daemon, b"\x1b[2J\n" + v1("203.0.113.7")), b"")
        record = daemon.wait_for(refusal="header")
        self.assertRegex(record["message"], r'^127\.0\.0\.1:\d+: refused: header: it begins with "\\x1b\[2J\\nPROXY T"$')
        for bad in (b"GET / HTTP/1.0\r\n\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", v2("203.0.113.7", more=b"\2"),
                    v2("203.0.113.7", more=tlv(3, b"abcd")), b"PROXY " + b"x" * 200,
                    v2("203.0.113.7", more=tlv(4, b"x" * 5000))):
            self.assertEqual(self.talk(daemon, bad), b"", bad)
        self.assertEqual(self.refusals(daemon), {"stranger": 1, "header": 7})
        for service, good, bad in (("one", v1, v2), ("two", v2, v1)):
            self.assertEqual(self.talk(daemon, good("203.0.113.7") + b"x", service), b"x")
            self.assertEqual(self.talk(daemon, bad("203.0.113.7") + b"x", service), b"")
            self.assertEqual(self.refusals(daemon, service), {"header": 1})

    def test_timeout(self):
        """Whoever has not sent a whole header in time is refused, and nobody waits for it."""
        daemon = self.proxied(rules={"timeout": "300ms"})
        silent, slow = self.begin(daemon, b""), self.begin(daemon, v1("203.0.113.7")[:-1])
        self.assertEqual(self.talk(daemon, v1("203.0.113.7") + b"x"), b"x")
        self.assertEqual(Reader(silent).rest(), b"")
        self.assertEqual(Reader(slow).rest(), b"")
        self.assertEqual(self.refusals(daemon), {"header_timeout": 2})
        self.pending(daemon, 0)

    def test_bound(self):
        """1,024 peers that say nothing shut nobody out: the next one takes the place of the one that came first."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 3000:
            self.skipTest("needs 3,000 descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        daemon = self.proxied(rules={"timeout": "1h"})
        silent = [self.begin(daemon, b"") for _ in range(1024)]
        self.pending(daemon, 1024)
        self.assertEqual(self.talk(daemon, v1("203.0.113.7") + b"x"), b"x")
        self.assertEqual(Reader(silent[0]).rest(), b"")
        self.assertEqual(self.refusals(daemon), {"pending": 1})
        metrics = self.superctl(daemon, "metrics")[0]
        self.assertIn('superd_pending{service="web"} 1023\n', metrics)
        self.assertIn('superd_refused_total{service="web",reason="pending"} 1\n', metrics)
        self.assertIn("1023 not known yet", self.superctl(daemon, "status", "web")[0])

    def test_access_and_limits(self):
        """access, per_source, penalties and the log are about the named client; the proxy is free of them."""
        daemon = self.proxied(access={"allow": ["203.0.113.0/24"], "deny": ["203.0.113.8"]}, log={"connections": "all"},
                              limits={"per_source": 1, "on_excess": "close"},
                              penalty={"refused": "1h", "threshold": "90m", "max": "2h"})
        first = Session(self.begin(daemon, v1("203.0.113.7")))
        first.goes_on(self, b"there")
        daemon.wait_for(message="203.0.113.7:40000: handler ", peer="203.0.113.7:40000")
        self.assertEqual(self.talk(daemon, v2("203.0.113.7") + b"x"), b"")
        self.assertEqual(self.talk(daemon, v2("203.0.113.9") + b"x"), b"x")
        self.assertEqual(self.talk(daemon, v1("198.51.100.1") + b"x"), b"")
        for local in (LOCAL, UNKNOWN, LOCAL):
            self.assertEqual(self.talk(daemon, local + b"x"), b"x")
        for _ in range(2):
            self.assertEqual(self.talk(daemon, v2("203.0.113.8") + b"x"), b"")
        self.assertEqual(self.refusals(daemon), {"denied": 3, "per_source": 1})
        self.assertEqual(self.talk(daemon, v2("203.0.113.8") + b"x"), b"")
        self.assertEqual(self.refusals(daemon), {"denied": 4, "per_source": 1})
        daemon.wait_for(message="203.0.113.8:40000: refused: denied")
        for _ in range(2):
            self.assertEqual(self.talk(daemon, v1("203.0.113.7") + b"x"), b"")
        self.assertEqual(self.refusals(daemon), {"denied": 4, "per_source": 2, "penalty": 1})
        self.assertEqual(self.talk(daemon, v1("203.0.113.10") + b"x"), b"x")
        first.goes_on(self, b"still there")

    def test_penalty(self):
        """What a named client's handlers do is that client's to answer for, and nobody else's behind the proxy."""
        daemon = self.proxied(exec=["false"], penalty={"failed": "1h", "threshold": "30m", "max": "2h"})
        self.assertEqual(self.talk(daemon, v1("203.0.113.7")), b"")
        self.eventually(lambda: self.service_status(daemon, "web")["penalties"]["failed"] == 1, "the penalty")
        for header in (v1, v2):
            self.assertEqual(self.talk(daemon, header("203.0.113.7")), b"")
        self.assertEqual(self.refusals(daemon), {"penalty": 2})
        self.assertEqual(self.talk(daemon, v1("203.0.113.8")), b"")
        self.eventually(lambda: self.service_status(daemon, "web")["penalties"]["failed"] == 2, "the other's penalty")

    def test_explain(self):
        """explain judges the client that a header names; --via judges who sends it."""
        daemon = self.proxied(access={"deny": ["203.0.113.8"]})
        daemon.service("plain", listen=TCP, model="fork", exec=["cat"])
        daemon.reload()

        def verdict(*words, service="web"):
            answer = self.ask(daemon, "explain", service, *words, shape="explain via" if "--via" in words else "explain")
            return answer["verdict"]

        self.assertEqual(verdict("203.0.113.7"), "served")
        self.assertEqual(verdict("203.0.113.8"), "refused: access (deny 203.0.113.8/32 decides)")
        for nobody in ("uid:0", "cid:3"):  # whom no header can name
            self.assertEqual(verdict(nobody), "refused: listener (no address of this service takes such a client)")
        self.assertEqual(verdict("203.0.113.7", "--via", "127.0.0.1"), "served")
        self.assertEqual(verdict("203.0.113.7", "--via", "127.0.0.2"),
                         "refused: proxy_protocol (127.0.0.2 is not in proxy_protocol.from)")
        self.assertEqual(verdict("203.0.113.8", "--via", "127.0.0.1"), "refused: access (deny 203.0.113.8/32 decides)")
        _, wrong = self.superctl(daemon, "explain", "plain", "203.0.113.7", "--via", "127.0.0.1", status=1)
        self.assertIn('service "plain" has no [proxy_protocol]', wrong)
        text, _ = self.superctl(daemon, "explain", "web", "203.0.113.7", "--via", "127.0.0.1")
        self.assertIn("0 of 1024 are not known yet", text)

    def test_unix(self):
        """On a unix socket whoever may connect may name a client; a peer that names nobody is its user."""
        daemon = self.prepare()
        path = daemon.path("web.sock")
        daemon.service("web", listen=f"unix://{path}", model="fork", exec=["env"], proxy_protocol={"accept": "any"})
        daemon.service("denies", listen=f"unix://{daemon.path('denies.sock')}", model="fork", exec=["cat"],
                       proxy_protocol={"accept": "any"}, access={"deny": ["203.0.113.8"]})
        daemon.service("rights", listen=f"unix://{daemon.path('rights.sock')}", model="fork", exec=["cat"],
                       proxy_protocol={"accept": "any"})
        daemon.start()
        found = self.environment(daemon, v2("203.0.113.7"))
        self.assertEqual((found["PROTO"], found["TCPREMOTEIP"]), ("TCP", "203.0.113.7"))
        self.assertNotIn("UNIXREMOTEEUID", found)
        found = self.environment(daemon, LOCAL)
        self.assertEqual((found["PROTO"], found["UNIXREMOTEEUID"]), ("UNIX", str(os.getuid())))
        self.assertEqual(self.talk(daemon, v2("203.0.113.8") + b"x", "denies"), b"")
        self.assertEqual(self.talk(daemon, v2("203.0.113.7") + b"x", "denies"), b"x")
        self.assertEqual(self.refusals(daemon, "denies"), {"denied": 1})
        halves = [self.begin(daemon, v1("203.0.113.7")[:at]) for at in range(1, 20)]
        self.pending(daemon, len(halves))
        for at, half in enumerate(halves, 1):
            half.sendall(v1("203.0.113.7")[at:])
            self.assertIn(b"TCPREMOTEIP=203.0.113.7\n", Reader(half).rest())
        with connect(daemon.address("rights")) as client:
            null = os.open("/dev/null", os.O_RDONLY)
            try:
                socket.send_fds(client, [v1("203.0.113.7")], [null])
                self.assertEqual(Reader(client).rest(), b"")
                self.assertEqual(self.refusals(daemon, "rights"), {"header": 1})
            except PermissionError:
                pass  # the kernel keeps descriptors out
            finally:
                os.close(null)

    def test_line(self):
        """Clients whose headers are whole while all handlers are in use are served in turn, under each name."""
        daemon = self.proxied(limits={"instances": 1}, exec=["sh", "-c", "read -r x; echo $TCPREMOTEIP $PROXY_AUTHORITY"])
        clients = [self.begin(daemon, b"") for _ in range(4)]
        self.pending(daemon, 4)
        for number, client in enumerate(clients):
            client.sendall(v2(f"203.0.113.{number}", more=tlv(2, b"name%d" % number)))
        self.eventually(lambda: self.service_status(daemon, "web")["stalled"] == 3, "three wait in line")
        for client in clients:
            client.sendall(b"\n")
        for number, client in enumerate(clients):
            self.assertEqual(Reader(client).rest(), b"203.0.113.%d name%d\n" % (number, number))
        self.assertEqual(self.refusals(daemon), {})

    def test_drain(self):
        """drain returns once also those whose header was awaited have been served."""
        daemon = self.proxied(rules={"timeout": "1m"})
        header = v1("203.0.113.7")
        half = self.begin(daemon, header[:20])
        self.pending(daemon, 1)
        # pylint: disable-next=consider-using-with
        waits = subprocess.Popen([SUPERCTL, "drain", "web"], env=daemon.environment, stdout=subprocess.PIPE, text=True)
        self.addCleanup(waits.communicate)
        self.addCleanup(waits.kill)
        self.assertEqual(waits.stdout.readline(), "web: draining, 0 handlers to finish\n")
        for number in range(3):
            half.sendall((b"" if number else header[20:]) + b"x\n")
            self.assertEqual(Reader(half).line(), b"x")
            self.assertEqual(self.service_status(daemon, "web")["handlers"], 1)
            self.assertIsNone(waits.poll())
        half.close()
        self.assertEqual(waits.stdout.readline(), "web: drained; clients wait until it is resumed\n")
        self.assertEqual(waits.wait(), 0)

    def test_closed_by_handler(self):
        """Over a unix socket superd has nothing to measure, and so keeps no copy of a connection: it ends when its
        handler closes it."""
        daemon = self.prepare()
        daemon.service("web", listen=f"unix://{daemon.path('web.sock')}", model="fork",
                       exec=["sh", "-c", "exec 0<&- 1>&-; exec sleep 1000"], log={"usage": True, "connections": "all"},
                       proxy_protocol={"accept": "any"})
        daemon.start()
        client = self.begin(daemon, v1("203.0.113.7"))
        self.assertEqual(Reader(client).rest(), b"")
        self.assertEqual(self.service_status(daemon, "web")["handlers"], 1)
        self.superctl(daemon, "kill", "web", "KILL")

    def test_cannot_start(self):
        """A client whose handler cannot be executed is told of by its name, and not by the proxy's."""
        daemon = self.prepare()
        script = daemon.script("handler", "#!/bin/cat\n")
        for model in ("fork", "prefork"):
            daemon.service(model, listen=TCP, model=model, exec=[script], proxy_protocol={"from": FROM},
                           limits={"on_excess": "close"})
        daemon.start()
        os.unlink(script)
        for model in ("fork", "prefork"):
            self.assertEqual(self.talk(daemon, v1("203.0.113.7"), model), b"")
            daemon.wait_for(message="203.0.113.7:40000: refused: exec_failed", service=model)


class ProxyProtocolModels(ProxyCase):
    def warmed(self, daemon, service):
        self.eventually(lambda: self.service_status(daemon, service)["warm"]["facts"], "a warm handler")

    def test_every_model(self):
        """Under each model, warm or not, the handler reads the client's own bytes and not one of the header's, and
        access is about the named client."""
        daemon = self.proxied({model: {"model": model, "exec": ["/bin/cat"], "access": {"deny": ["203.0.113.8"]}, **keys}
                               for model, keys in MODELS.items()})
        for model in MODELS:
            with self.subTest(model=model):
                if "prefork" in MODELS[model]:
                    self.warmed(daemon, model)
                for number, header in enumerate((v1("203.0.113.7"), v2("203.0.113.7"), LOCAL, UNKNOWN) * 3):
                    data = b"PROXY TCP4 %d\r\n" % number
                    client = self.begin(daemon, header[:number], model)
                    client.sendall(header[number:] + data)
                    client.shutdown(socket.SHUT_WR)
                    self.assertEqual(Reader(client).rest(), data)
                    client.close()
                self.assertEqual(self.talk(daemon, v1("203.0.113.8") + b"x", model), b"")
                self.assertEqual(self.refusals(daemon, model), {"denied": 1})

    def test_warm_peer(self):
        """getpeername of a warm handler tells the proxy."""
        daemon = self.prepare()
        script = daemon.write("peer.py", "import socket, sys\nsys.stdin.readline()\n"
                                         "print(socket.socket(fileno=0).getpeername()[0])\n")
        daemon.service("web", listen=TCP, model="prefork", exec=["/usr/bin/python3", script],
                       prefork={"warm": "clone"}, proxy_protocol={"from": ["127.0.0.0/8"]})
        daemon.start()
        self.warmed(daemon, "web")
        answer = self.talk(daemon, v1("203.0.113.7") + b"\n", source=("127.0.0.5", 0))
        self.assertEqual(answer, b"127.0.0.5\n")


class ProxyProtocolLasts(UpgradeCase, ProxyCase):
    """Control's superctl() is the one used here."""

    superctl = Control.superctl

    def test_reload(self):
        """A half-read header goes on over reloads, also over one that takes [proxy_protocol] away; where handlers are
        to accept for themselves it is refused, and that is told."""
        daemon = self.proxied(rules={"timeout": "1m"}, model="prefork")
        headers = [v1("203.0.113.7"), v2("203.0.113.7"), v1("203.0.113.7")]
        halves = [self.begin(daemon, header[:20]) for header in headers]
        self.pending(daemon, 3)
        keys = {"listen": TCP, "model": "prefork", "exec": ["cat"]}
        daemon.service("web", **keys, limits={"instances": 7}, proxy_protocol={"from": ["127.0.0.9"], "timeout": "1m"})
        daemon.reload()
        halves[0].sendall(headers[0][20:] + b"one\n")
        self.assertEqual(Reader(halves[0]).line(), b"one")
        self.assertEqual(self.talk(daemon, v1("203.0.113.7")), b"")
        self.assertEqual(self.refusals(daemon), {"stranger": 1})
        daemon.service("web", **keys, access={"deny": ["203.0.113.8"]})
        daemon.reload()
        halves[1].sendall(headers[1][20:] + b"two\n")
        self.assertEqual(Reader(halves[1]).line(), b"two")
        self.assertEqual(self.talk(daemon, b"plain\n"), b"plain\n")
        daemon.service("web", **{**keys, "exec": ["superd-echo"], "handoff": "listen"})
        daemon.reload()
        self.assertEqual(Reader(halves[2]).rest(), b"")
        daemon.wait_for(refusal="pending", match=lambda r: "accept clients themselves" in r["message"])
        self.pending(daemon, 0)

    def test_removed(self):
        """A service that is removed still serves those whose header it awaits."""
        daemon = self.proxied(rules={"timeout": "1m"})
        half = self.begin(daemon, v1("203.0.113.7")[:20])
        self.pending(daemon, 1)
        daemon.remove("web")
        daemon.reload()
        half.sendall(v1("203.0.113.7")[20:] + b"x\n")
        self.assertEqual(Reader(half).line(), b"x")
        half.close()
        self.eventually(lambda: not daemon.children(), "the handler's end")

    def test_upgrade(self):
        """Half-read headers, known clients in line with all that is known of them, and handlers' clients go over an
        upgrade, and over another."""
        daemon = self.proxied({"one": {"limits": {"instances": 1},
                                       "exec": ["sh", "-c", "read -r x; echo $TCPREMOTEIP $PROXY_AUTHORITY"]}},
                              rules={"timeout": "1m"}, access={"deny": ["203.0.113.8"]})
        headers = [v1("203.0.113.7"), v2("203.0.113.7", more=tlv(2, b"x" * 50)), v1("203.0.113.8"), LOCAL]
        halves = [self.begin(daemon, header[:15]) for header in headers]
        line = [self.begin(daemon, b"", "one") for _ in range(3)]
        self.pending(daemon, 3, "one")
        for number, client in enumerate(line):
            client.sendall(v2(f"203.0.113.{number}", more=tlv(2, b"name%d" % number)))
        self.eventually(lambda: self.service_status(daemon, "one")["stalled"] == 2, "two wait in line")
        self.pending(daemon, 4)
        for _ in range(2):
            self.upgrade(daemon)
            self.pending(daemon, 4)
        for header, half in zip(headers, halves):
            half.sendall(header[15:] + b"x\n")
        self.assertEqual([Reader(half).line() for half in halves], [b"x", b"x", b"", b"x"])
        self.assertEqual(self.refusals(daemon), {"denied": 1})
        for client in line:
            client.sendall(b"\n")
        for number, client in enumerate(line):
            self.assertEqual(Reader(client).rest(), b"203.0.113.%d name%d\n" % (number, number))

    def test_timeout_goes_on(self):
        """The time for a header does not begin anew with an upgrade."""
        daemon = self.proxied(rules={"timeout": "2s"})
        began = time.monotonic()
        half = self.begin(daemon, b"PROXY")
        self.pending(daemon, 1)
        self.upgrade(daemon)
        self.assertEqual(Reader(half).rest(), b"")
        self.assertGreaterEqual(time.monotonic() - began, 1.9)
        self.assertEqual(self.refusals(daemon), {"header_timeout": 1})
