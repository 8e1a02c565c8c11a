# SPDX-License-Identifier: MIT
"""[penalty]: a source is refused for what its clients did, for a while, and others are not."""

import os
import re
import socket
import unittest

from control import Control
from harness import Reader, connect
from upgrading import UpgradeCase

TCP = "tcp://127.0.0.1:0"
BAD, GOOD = ("127.0.0.2", 0), ("127.0.0.3", 0)
# It does what its client says: exits with that status, or kills itself by that signal.
OBEDIENT = """#!/bin/sh
read -r what number
echo "$what"
case $what in exit) exit "$number";; kill) kill -s "$number" $$;; esac
"""
RULES = {"exempt": [], "failed": "1h", "crashed": "1h", "threshold": "3h", "max": "10h"}


class PenaltyCase(Control):  # has no tests itself
    def obedient(self, penalty=None, services=None, **keys):
        daemon = self.prepare()
        script = daemon.script("obedient", OBEDIENT)
        daemon.service("web", listen=TCP, exec=[script], penalty={**RULES, **(penalty or {})},
                       **{"model": "fork", **keys})
        for name, more in (services or {}).items():
            daemon.service(name, **{"listen": TCP, "model": "fork", "exec": [script], **more})
        return daemon.start()

    def say(self, daemon, what, source=BAD, service="web"):
        """Its answer, and its handler's end is known; "": refused."""
        ended = self.exits(daemon, service) + 1
        with connect(daemon.address(service), source=source) as client:
            try:
                client.sendall(what.encode() + b"\n")
                answer = Reader(client).rest().decode()
            except ConnectionError:
                return ""
        if answer:
            self.eventually(lambda: self.exits(daemon, service) >= ended, "the handler's end")
        return answer

    def exits(self, daemon, service="web"):
        return sum(self.service_status(daemon, service)["exits"].values())

    def refused(self, daemon, service="web"):
        return self.service_status(daemon, service)["refused"]["penalty"]

    def explained(self, daemon, source=BAD, service="web"):
        answer = self.ask(daemon, "explain", service, source[0], shape="explain")
        step = next((one for one in answer["steps"] if one["step"] == "penalty"), None)
        return answer["outcome"], step["text"] if step else None


class Penalty(PenaltyCase):
    def test_failing_handlers(self):
        """A source whose handlers fail is refused past the threshold, whatever it sends; another is served; status,
        explain, the log and the metrics say so."""
        daemon = self.obedient()
        self.assertEqual(self.explained(daemon), ("served", "0s, refused above 3h"))
        for number in range(4):
            self.assertEqual(self.say(daemon, "exit 3"), "exit\n", number)
        outcome, text = self.explained(daemon)
        self.assertEqual(outcome, "refused")
        self.assertRegex(text, r"^3h59m: refused for 59m\d+s$")
        for _ in range(20):
            self.assertEqual(self.say(daemon, "exit 0"), "")
        self.assertEqual(self.say(daemon, "exit 0", GOOD), "exit\n")
        status = self.service_status(daemon, "web")
        self.assertEqual(status["refused"]["penalty"], 20)
        self.assertEqual(status["penalised"], 1)
        self.assertEqual(status["penalties"], {"failed": 4, "crashed": 0, "refused": 0, "touched": 0})
        self.assertEqual(self.explained(daemon, GOOD)[0], "served")
        record = daemon.wait_for(refusal="penalty", service="web")
        self.assertRegex(record["message"], r"^127\.0\.0\.2:\d+: refused: penalty, for another 59m\d+s$")
        shown, _ = self.superctl(daemon, "status", "web")
        self.assertRegex(shown, r"penalties +failed 4; 1 source now refused")
        metrics, _ = self.superctl(daemon, "metrics")
        self.assertIn('superd_sources_penalised{service="web"} 1\n', metrics)
        self.assertIn('superd_penalties_total{service="web",reason="failed"} 4\n', metrics)
        self.assertIn('superd_refused_total{service="web",reason="penalty"} 20\n', metrics)

    def test_crashing_handlers(self):
        """A handler that a signal ends costs what crashed says, under each model whose handlers get one client."""
        for model in ("fork", "prefork", "iterative", "delayed"):
            with self.subTest(model=model):
                daemon = self.obedient(penalty={"failed": "0s", "crashed": "2h"}, model=model)
                for signal_name in ("SEGV", "ABRT"):
                    self.assertEqual(self.say(daemon, f"kill {signal_name}"), "kill\n")
                self.assertEqual(self.say(daemon, "exit 0"), "")
                self.assertEqual(self.service_status(daemon, "web")["penalties"]["crashed"], 2)
                daemon.stop()

    def test_what_costs_nothing(self):
        """Handlers that superd or an operator ended, that died of SIGPIPE, that ended well, or that cannot be executed
        earn their clients nothing."""
        daemon = self.obedient(penalty={"threshold": "0s"}, max_lifetime="2s")
        self.assertEqual(self.say(daemon, "exit 0"), "exit\n")
        self.assertEqual(self.say(daemon, "kill PIPE"), "kill\n")
        silent = self.client(daemon.address("web"), source=BAD)  # until max_lifetime is over
        self.assertEqual(Reader(silent).rest(), b"")
        self.eventually(lambda: self.exits(daemon) == 3, "the handler's end")
        waiting = self.client(daemon.address("web"), source=BAD)
        pid = self.eventually(lambda: [c.pid for c in daemon.children()], "a handler")[0]
        self.superctl(daemon, "kill", str(pid), "KILL")
        self.assertEqual(Reader(waiting).rest(), b"")
        self.eventually(lambda: self.exits(daemon) == 4, "the handler's end")
        self.assertEqual(self.say(daemon, "exit 0"), "exit\n")
        self.assertEqual(sum(self.service_status(daemon, "web")["penalties"].values()), 0)

    def test_no_handler(self):
        """A handler that is gone when its client comes costs the client nothing."""
        daemon = self.obedient(penalty={"threshold": "0s"}, limits={"on_excess": "close"})
        os.rename(daemon.path("obedient"), daemon.path("gone"))
        for _ in range(3):
            with connect(daemon.address("web"), source=BAD) as client:
                self.assertEqual(Reader(client).rest(), b"")
        self.eventually(lambda: self.service_status(daemon, "web")["refused"]["exec_failed"] >= 3, "not executed")
        self.assertEqual(sum(self.service_status(daemon, "web")["penalties"].values()), 0)

    def test_back_off(self):
        """Once handlers fail for everybody and the service is in back-off, their clients earn nothing more."""
        daemon = self.superd({"web": dict(listen=TCP, model="fork", exec=["false"], penalty={
            "exempt": [], "failed": "1s", "threshold": "1h", "max": "2h"})})
        for number in range(30):
            with connect(daemon.address("web"), source=(f"127.0.1.{number}", 0)) as client:
                Reader(client).rest()
        self.eventually(lambda: self.exits(daemon) == 30, "the handlers' end")
        self.assertLess(self.service_status(daemon, "web")["penalties"]["failed"], 25)

    def test_loopback_is_exempt(self):
        """By default this machine's own addresses earn nothing."""
        daemon = self.superd({"web": dict(listen=TCP, model="fork", exec=["false"], penalty={"threshold": "0s"})})
        for _ in range(3):
            with connect(daemon.address("web")) as client:
                Reader(client).rest()
        self.assertEqual(self.explained(daemon, ("127.0.0.1", 0)), ("served", "exempt"))
        self.assertEqual(sum(self.service_status(daemon, "web")["penalties"].values()), 0)

    def test_everywhere(self):
        """What counts everywhere keeps a source out of every service that sees its clients, for as long as it says."""
        daemon = self.obedient(penalty={"everywhere": True}, services={
            "other": {}, "pool": {"model": "prefork"}, "mild": {"penalty": RULES},
            "friend": {"penalty": {**RULES, "exempt": ["127.0.0.0/29"]}},
            "own": {"model": "prefork", "handoff": "listen", "exec": ["superd-echo"]}})
        for _ in range(4):
            self.say(daemon, "exit 3")
        for service in ("web", "other", "pool", "mild"):
            self.assertEqual(self.say(daemon, "exit 0", BAD, service), "", service)
            self.assertEqual(self.say(daemon, "exit 0", GOOD, service), "exit\n", service)
            outcome, text = self.explained(daemon, BAD, service)
            self.assertEqual(outcome, "refused")
            self.assertRegex(text, r"refused for 59m")
        self.assertEqual(self.say(daemon, "exit 0", BAD, "friend"), "exit\n")
        with connect(daemon.address("own"), source=BAD) as client:  # superd does not see its clients
            client.sendall(b"x\n")
            self.assertEqual(Reader(client).line(), b"x")
        answer = self.ask(daemon, "status", shape="status")
        self.assertEqual(answer["superd"]["penalised"], 1)
        shown, _ = self.superctl(daemon, "status")
        self.assertIn("refused everywhere for their penalty: 1 source\n", shown)
        metrics, _ = self.superctl(daemon, "metrics")
        self.assertIn("superd_sources_penalised_everywhere 1\n", metrics)

    def test_sensor(self):
        """With touched, a service that serves nobody keeps whoever tries it away from the others."""
        daemon = self.obedient(services={"sensor": {
            "access": {"deny": ["0.0.0.0/0", "::/0"]},
            "penalty": {"touched": "1h", "max": "1h", "threshold": "0s", "refused": "0s", "exempt": [],
                        "everywhere": True}}})
        self.assertEqual(self.say(daemon, "exit 0"), "exit\n")
        self.assertEqual(self.say(daemon, "exit 0", BAD, "sensor"), "")
        self.assertEqual(self.say(daemon, "exit 0"), "")
        self.assertEqual(self.say(daemon, "exit 0", GOOD), "exit\n")
        self.assertEqual(self.service_status(daemon, "sensor")["penalties"],
                         {"failed": 0, "crashed": 0, "refused": 0, "touched": 1})

    def test_unix_users(self):
        """On a unix socket the source is the user."""
        daemon = self.prepare()
        path = daemon.path("web.sock")
        daemon.service("web", listen=f"unix://{path}", model="fork", exec=["false"],
                       penalty={"threshold": "0s", "failed": "1h", "max": "2h"})
        daemon.start()
        for _ in range(2):
            with connect(f"unix://{path}") as client:
                Reader(client).rest()
            self.eventually(lambda: self.exits(daemon) >= 1, "the handler's end")
        self.assertEqual(self.refused(daemon), 1)
        answer = self.ask(daemon, "explain", "web", f"uid:{os.getuid()}", shape="explain")
        self.assertEqual(answer["outcome"], "refused")
        answer = self.ask(daemon, "explain", "web", "uid:4242", shape="explain")
        self.assertEqual(answer["outcome"], "served")


class PenaltyForged(PenaltyCase):
    def test_forged(self):
        """1,000 connections that are only begun, with a forged sender, earn that sender nothing."""
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        except PermissionError:
            raise unittest.SkipTest("needs CAP_NET_RAW to forge a sender") from None
        daemon = self.obedient(penalty={"touched": "1h", "threshold": "0s"})
        port = int(daemon.address("web").rpartition(":")[2])
        with raw:
            for number in range(1000):
                raw.sendto(self.syn("127.0.0.2", "127.0.0.1", 1024 + number, port), ("127.0.0.1", 0))
        self.assertEqual(self.explained(daemon, GOOD)[0], "refused")  # its own coming is what costs
        self.assertEqual(self.service_status(daemon, "web")["penalties"]["touched"], 0)
        self.assertEqual(self.service_status(daemon, "web")["penalised"], 0)

    def syn(self, source, target, source_port, port):
        def checksum(data):
            total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
            while total >> 16:
                total = (total & 0xffff) + (total >> 16)
            return (~total & 0xffff).to_bytes(2, "big")
        addresses = socket.inet_aton(source) + socket.inet_aton(target)
        tcp = bytearray(source_port.to_bytes(2, "big") + port.to_bytes(2, "big") + (1).to_bytes(4, "big") + bytes(4) +
                        b"\x50\x02\xff\xff" + bytes(4))
        tcp[16:18] = checksum(addresses + b"\0\x06" + len(tcp).to_bytes(2, "big") + bytes(tcp))
        ip = bytearray(b"\x45\0" + (20 + len(tcp)).to_bytes(2, "big") + bytes(4) + b"\x40\x06" + bytes(2) + addresses)
        ip[10:12] = checksum(bytes(ip))
        return bytes(ip + tcp)


class PenaltyLasts(PenaltyCase, UpgradeCase):
    """Control's superctl() is the one used here."""

    superctl = Control.superctl

    def test_reload_and_upgrade(self):
        """Penalties of a service and those that count everywhere survive a reload and an upgrade, with their time."""
        daemon = self.obedient(services={"wide": {"penalty": {**RULES, "everywhere": True}}, "other": {}})
        for _ in range(4):
            self.say(daemon, "exit 3")
            self.say(daemon, "exit 3", ("127.0.0.4", 0), "wide")
        before = self.explained(daemon)[1]
        text = open(daemon.path("conf.d/web.toml"), encoding="utf-8").read()
        daemon.service("web", text.replace('model = "fork"', 'model = "delayed"'))
        daemon.reload()
        self.assertEqual(self.say(daemon, "exit 0"), "")
        self.upgrade(daemon)
        self.upgrade(daemon)
        self.assertEqual(self.say(daemon, "exit 0"), "")
        self.assertEqual(self.say(daemon, "exit 0", ("127.0.0.4", 0), "other"), "")
        self.assertEqual(self.say(daemon, "exit 0", GOOD), "exit\n")
        minutes = [int(re.search(r"refused for (\d+)m", one).group(1)) for one in (before, self.explained(daemon)[1])]
        self.assertLessEqual(minutes[1], minutes[0])
        self.assertEqual(self.service_status(daemon, "web")["penalties"]["failed"], 4)

    def test_forgiven(self):
        """A reload that exempts a source, or takes [penalty] away, lets it in at once."""
        daemon = self.obedient()
        for _ in range(4):
            self.say(daemon, "exit 3")
        self.assertEqual(self.say(daemon, "exit 0"), "")
        text = open(daemon.path("conf.d/web.toml"), encoding="utf-8").read()
        daemon.service("web", text.replace("exempt = []", 'exempt = ["127.0.0.2"]'))
        daemon.reload()
        self.assertEqual(self.say(daemon, "exit 0"), "exit\n")
        daemon.service("web", text)
        daemon.reload()
        self.assertEqual(self.say(daemon, "exit 0"), "")
        daemon.service("web", text.partition("\n[penalty]")[0])
        daemon.reload()
        self.assertEqual(self.say(daemon, "exit 0"), "exit\n")
