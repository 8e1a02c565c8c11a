# SPDX-License-Identifier: MIT
"""contrib/prometheus: Grafana's board and Prometheus' rules, against a Prometheus that scrapes a superd under load."""

import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.parse
import urllib.request

from cgroups import CgroupCase
from certificates import Authority
from harness import TestCase, connect, exchange
from harness.loopback import own_loopback
from proxying import v1

FILES = pathlib.Path(os.environ["SUPERD_CONTRIB"], "prometheus")
BOARD = json.loads((FILES / "superd-dashboard.json").read_text())
TCP = "tcp://127.0.0.1:0"
UDP = "udp://127.0.0.1:0"
SHELL = "#!/bin/sh\nread -r line\necho \"$line\"\n"
CHAT = "#!/bin/sh\nwhile data=$(dd bs=64k count=1 2>/dev/null) && [ -n \"$data\" ]; do echo \"$data\"; done\n"
# What only a controller counts, which a kernel with hybrid hierarchies has elsewhere.
OF_CONTROLLERS = {"superd_memory_bytes": "memory", "superd_pids": "pids"}
ROWS = ["Overview", "Clients", "Refusals by reason", "Handlers and their time", "Pools and warm handlers",
        "Before the handler: TLS and headers", "Datagrams", "Resources and usage", "Supervisor"]


def panels():
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def promtool(*words):
    if not shutil.which("promtool"):
        raise unittest.SkipTest("needs promtool, from the package prometheus")
    done = subprocess.run(["promtool", *words], cwd=FILES, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.returncode, done.stdout


class Files(TestCase):
    def test_promtool(self):
        """promtool accepts the rules and the example of a scrape, and each alert fires when its test says."""
        for words in (["check", "rules", "superd.rules.yml"], ["check", "config", "prometheus.yml"],
                      ["test", "rules", "superd.rules.test.yml"]):
            status, said = promtool(*words)
            self.assertEqual(status, 0, said)

    def test_every_alert_is_tested_and_explained(self):
        """Each alert has a test, a severity, and annotations that name the service or the machine."""
        rules = (FILES / "superd.rules.yml").read_text()
        tests = (FILES / "superd.rules.test.yml").read_text()
        alerts = re.split(r"\n +- alert: ", rules)[1:]
        self.assertGreater(len(alerts), 20)
        for alert in alerts:
            name = alert.split("\n", 1)[0]
            self.assertRegex(alert, r"\n +severity: (critical|warning|info)\n", name)
            self.assertRegex(alert, r"\n +summary: .+\n +description: .+", name)
            if name != "SuperdMissing":
                self.assertIn("{{ $labels.instance }}", alert, name)
            self.assertRegex(tests, rf"alertname: {name}\n +exp_alerts:\n", f"no test in which {name} fires")

    def test_the_board(self):
        """Each panel has a number, a place of its own, a title, a unit, a description, and the variable's data source."""
        self.assertGreaterEqual(BOARD["schemaVersion"], 36)  # Grafana 9
        self.assertEqual([panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"], ROWS)
        names = [variable["name"] for variable in BOARD["templating"]["list"]]
        self.assertEqual(names, ["datasource", "instance", "service"])
        numbers = [panel["id"] for panel in BOARD["panels"]]
        self.assertEqual(len(numbers), len(set(numbers)))
        titles = [panel["title"] for panel in panels()]
        taken = set()
        for panel in BOARD["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(taken & cells, f"{panel['title']} lies over another")
            taken |= cells
        for panel in panels():
            title = panel["title"]
            self.assertTrue(title and panel["description"].endswith("."), title)
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], title)
            self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"}, title)
            letters = [target["refId"] for target in panel["targets"]]
            self.assertTrue(letters and len(letters) == len(set(letters)), title)
            for target in panel["targets"]:
                self.assertEqual(target["datasource"], panel["datasource"], title)
        self.assertGreater(len(set(titles)), 40)


class Prometheus(CgroupCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("prometheus"):
            self.skipTest("needs the package prometheus")
        self.folder = tempfile.mkdtemp(prefix="superd-prometheus-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)
        self.ending = threading.Event()

    def prepare(self, **options):
        """In a control group of its own, where that is possible."""
        try:
            return super().prepare(**options)
        except unittest.SkipTest:
            return super(CgroupCase, self).prepare(**options)

    def superd_of_all_kinds(self):
        authority = Authority(os.path.join(self.folder, "ca"))
        certificate, key = authority.issue("server", ["localhost"])
        daemon = self.prepare(config='[control]\nreaders = ["nogroup"]\n')
        text = (FILES.parent.parent / "conf.d" / "metrics.toml").read_text()
        daemon.service("metrics", re.sub(r"(?m)^listen = .*$", f'listen = "{TCP}"', text))
        shell, chat = daemon.script("echo.sh", SHELL), daemon.script("chat.sh", CHAT)
        daemon.service("echo", listen=TCP, model="fork", exec=["cat"], log={"usage": True},
                       access={"deny": ["127.0.0.9"]}, resources={"leftovers": "end"})
        daemon.service("bad", listen=TCP, model="fork", exec=["sh", "-c", "exit 1"],
                       penalty={"failed": "10s", "threshold": "15s", "exempt": []})
        daemon.service("iterative", listen=TCP, model="iterative", exec=["cat"])
        daemon.service("delayed", listen=TCP, model="delayed", exec=["cat"])
        daemon.service("pool", listen=TCP, model="prefork", handoff="listen", exec=["superd-echo"])
        daemon.service("warm", listen=TCP, model="prefork", exec=[shell], prefork={"warm": "clone", "min_spare": 1})
        daemon.service("chat", listen=UDP, model="fork", exec=[chat], datagram={"session": "peer"})
        daemon.service("datagram", listen=UDP, model="fork", exec=["cat"])
        daemon.service("secured", listen=TCP, model="fork", exec=["cat"],
                       tls={"certificate": certificate, "key": key, **({"user": "daemon"} if self.root else {})})
        daemon.service("behind", listen=TCP, model="fork", exec=["cat"],
                       proxy_protocol={"accept": "any", "from": ["127.0.0.0/8"]})
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind((own_loopback(), 0))
        taken.listen()
        daemon.service("waits", listen=f"tcp://{own_loopback()}:{taken.getsockname()[1]}", model="fork", exec=["cat"])
        return daemon.start()

    def load(self, daemon):
        """A client after the other of each kind, until the test ends."""
        def datagram(name):
            with connect(daemon.address(name)) as sock:
                sock.settimeout(5)
                sock.send(b"x")
                sock.recv(10)

        def secured():
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with connect(daemon.address("secured")) as raw, context.wrap_socket(raw) as sock:
                sock.sendall(b"x\n")
                sock.recv(10)

        def denied():
            with connect(daemon.address("echo"), source=("127.0.0.9", 0)) as sock:
                sock.recv(1)

        kinds = [denied, secured, lambda: datagram("chat"), lambda: datagram("datagram"),
                 lambda: exchange(daemon.address("bad")), lambda: exchange(daemon.address("secured"), b"no hello\n\n\n"),
                 lambda: exchange(daemon.address("behind"), v1("192.0.2.7") + b"x\n"),
                 lambda: exchange(daemon.address("behind"), b"no header\r\n\r\n"),
                 *(lambda name=name: exchange(daemon.address(name), b"x\n")
                   for name in ("echo", "iterative", "delayed", "pool", "warm"))]

        def go_on():
            while not self.ending.is_set():
                for kind in kinds:
                    with contextlib.suppress(OSError):  # some are to be refused
                        kind()
                self.ending.wait(0.05)

        thread = threading.Thread(target=go_on)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.ending.set)

    def prometheus(self, port):
        """With the example's scrape, and with a pod that is this superd too, as Kubernetes describes it."""
        config = (FILES / "prometheus.yml").read_text()
        # A scrape may take as long as the pause between two, and on a busy machine the first takes a while.
        for old, new in (("scrape_interval: 15s", "scrape_interval: 3s"), ("interval: 15s", "interval: 1s"),
                         ("127.0.0.1:7090", f"127.0.0.1:{port}")):
            self.assertIn(old, config)
            config = config.replace(old, new)
        pods = (FILES / "kubernetes-pods.yml").read_text()
        found = "kubernetes_sd_configs:\n      - role: pod\n"
        self.assertIn(found, pods)
        pods = pods.replace(found, "file_sd_configs:\n      - files: [pods.json]\n")
        pathlib.Path(self.folder, "prometheus.yml").write_text(config + pods.partition("scrape_configs:\n")[2])
        meta = "__meta_kubernetes_"
        described = {meta + "pod_annotation_prometheus_io_scrape": "true", meta + "pod_ip": "127.0.0.1",
                     meta + "pod_label_app_kubernetes_io_name": "superd", meta + "namespace": "fleet",
                     meta + "pod_annotation_prometheus_io_path": "/metrics", meta + "pod_name": "superd-7",
                     meta + "pod_annotation_prometheus_io_port": str(port)}
        other = {**described, meta + "pod_label_app_kubernetes_io_name": "other", meta + "pod_name": "other-7"}
        pathlib.Path(self.folder, "pods.json").write_text(json.dumps(
            [{"targets": ["127.0.0.1:1"], "labels": labels} for labels in (described, other)]))
        shutil.copy(FILES / "superd.rules.yml", self.folder)
        self.said = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        self.addCleanup(self.said.close)
        server = subprocess.Popen(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                                   "--web.listen-address=127.0.0.1:0", "--log.level=info"], cwd=self.folder,
                                  stdin=subprocess.DEVNULL, stdout=self.said, stderr=subprocess.STDOUT)
        self.addCleanup(server.wait)
        self.addCleanup(server.send_signal, signal.SIGKILL)

        def at():
            self.assertIsNone(server.poll(), self.log())
            return re.search(r'msg="Listening on" address=(\S+)', self.log())

        self.at = self.eventually(at, "Prometheus listens").group(1)

    def log(self):
        return pathlib.Path(self.folder, "log").read_text()

    def ask(self, path, **words):
        """nothing, while it is not up."""
        try:
            with urllib.request.urlopen(f"http://{self.at}/api/v1/{path}?{urllib.parse.urlencode(words)}",
                                        timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(f"{words}: {error.read().decode()}") from error

    def has_data(self, expression):
        """At least one value that is a number."""
        data = self.ask("query", query=expression)
        return data is not None and any(math.isfinite(float(one["value"][1])) for one in data["result"])

    def assert_data(self, expressions):
        """Each returns data before long: (name, expression)."""
        left = list(expressions)

        def all_there():
            left[:] = [one for one in left if not self.has_data(one[1])]
            return not left

        try:
            self.eventually(all_there, "data", 60)
        except AssertionError:
            self.fail("no data: " + "\n".join(f"{name}: {expression}" for name, expression in left))

    def missing(self, daemon):
        """Metrics that this kernel's unified hierarchy cannot count."""
        group = getattr(daemon, "group", None)
        here = (group / "cgroup.controllers").read_text().split() if group else []
        return [metric for metric, controller in OF_CONTROLLERS.items() if controller not in here]

    def test_everything_returns_data(self):
        """While clients of every kind come: each query of the board, each rule, and each alert without its threshold."""
        daemon = self.superd_of_all_kinds()
        address = daemon.address("metrics").removeprefix("tcp://")
        self.load(daemon)
        self.prometheus(address.rpartition(":")[2])
        missing = self.missing(daemon)
        if getattr(daemon, "group", None) is None:
            missing += ["superd_cpu_seconds", "superd_throttled", "superd_memory_kills", "superd_memory_high",
                        "superd_pids_max"]

        def possible(expression):
            return not any(metric in expression for metric in missing)

        queries = [(panel["title"], resolved(target["expr"])) for panel in panels() for target in panel["targets"]]
        for variable in BOARD["templating"]["list"][1:]:
            queries.append((variable["name"], resolved(re.match(r"label_values\((.+), ", variable["definition"])[1])))
        self.assert_data([one for one in queries if possible(one[1])])

        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        self.assert_data([(rule["name"], rule["name"] if rule["type"] == "recording" else
                           without_threshold(rule["query"])) for rule in rules if possible(rule["query"])])
        self.eventually(lambda: all(rule["health"] == "ok" for group in self.ask("rules")["groups"]
                                    for rule in group["rules"]), "all rules are evaluated")
        # The one that has no address is in trouble, and its alert is on its way.
        self.eventually(lambda: [alert for alert in self.ask("alerts")["alerts"] if alert["labels"]["alertname"] ==
                                 "SuperdServiceNotListening" and alert["labels"]["service"] == "waits"], "an alert")

        (pod,) = [target for target in self.ask("targets")["activeTargets"] if target["scrapePool"] == "superd-pods"]
        self.assertEqual((pod["scrapeUrl"], pod["labels"], pod["health"]),
                         (f"http://{address}/metrics", {"job": "superd", "instance": "superd-7", "namespace": "fleet"},
                          "up"))
        # What superd counts is on the board.
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            families = re.findall(r"^# TYPE (\S+) ", answer.read().decode(), re.MULTILINE)
        board = json.dumps(BOARD)
        self.assertGreater(len(families), 40)
        self.assertEqual([name for name in families if name not in board], [])


def resolved(expression):
    """As Grafana would ask, with all that can be chosen."""
    for name, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$service", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def without_threshold(expression):
    """Comparisons give 0 or 1 instead of nothing; absent() has its own words."""
    parts = re.split(r"(\{[^}]*\}|\"[^\"]*\")", expression)
    parts[::2] = [re.sub(r"(==|!=|>=|<=|>|<)", r"\1 bool ", part) for part in parts[::2]]
    return "".join(parts).replace("absent(", "count(")
