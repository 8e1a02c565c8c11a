# SPDX-License-Identifier: MIT
"""superd's metrics: promtool and an OpenMetrics parser accept them, and they are true."""

import os
import shutil
import subprocess
import unittest

from control import Control
from harness import exchange

TCP = "tcp://127.0.0.1:0"

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None


class Metrics(Control):
    def samples(self, text):
        """Name with labels to value, of either format."""
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def promtool(self, text):
        if not shutil.which("promtool"):
            self.skipTest("no promtool")
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def get(self, uri, head):
        answer = exchange(uri, head.encode() + b"Connection: close\r\n\r\n").decode()
        fields, _, body = answer.partition("\r\n\r\n")
        return fields, body

    def used(self):
        daemon = self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"], access={"deny": ["127.0.0.9"]}),
                              "bad": dict(listen=TCP, model="fork", exec=["sh", "-c", "exit 1"])})
        for _ in range(3):
            self.assertEqual(exchange(daemon.address("cat"), b"x\n"), b"x\n")
        with self.client(daemon.address("cat"), source=("127.0.0.9", 0)) as denied:
            self.assertEqual(denied.recv(1), b"")
        exchange(daemon.address("bad"))
        return daemon

    def test_they_tell_the_truth(self):
        """Counters, gauges and histograms show what has just been done."""
        daemon = self.used()

        def now():
            text, _ = self.superctl(daemon, "metrics")
            found = self.samples(text)
            return found if found['superd_exits_total{service="bad",kind="failed"}'] == 1 and \
                found['superd_handler_seconds_count{service="cat"}'] == 3 and \
                found['superd_accept_to_exec_seconds_count{service="cat"}'] == 3 else None

        found = self.eventually(now, "the handlers have ended")
        for name, value in {'superd_connections_accepted_total{service="cat"}': 4,
                            'superd_refused_total{service="cat",reason="denied"}': 1,
                            'superd_refused_total{service="cat",reason="rate"}': 0,
                            'superd_exits_total{service="cat",kind="ok"}': 3,
                            'superd_handlers{service="cat"}': 0, 'superd_handlers_limit{service="cat"}': 256,
                            'superd_spawn_failures_total{service="cat"}': 0, 'superd_reloads_total{result="done"}': 0,
                            'superd_upgrades_total{result="done"}': 0, 'superd_upgrades_total{result="refused"}': 0,
                            'superd_service_state{service="cat",state="listening"}': 1,
                            'superd_handler_seconds_bucket{service="cat",le="+Inf"}': 3,
                            'superd_spare{service="cat"}': 0}.items():
            self.assertEqual(found[name], value, name)
        buckets = [value for name, value in found.items()
                   if name.startswith('superd_handler_seconds_bucket{service="cat"')]
        self.assertEqual(buckets, sorted(buckets))
        self.assertGreater(found['superd_handler_seconds_sum{service="cat"}'], 0)
        # One for the connection that has asked, which superd closes soon.
        self.eventually(lambda: found["superd_open_descriptors"] == len(os.listdir(f"/proc/{daemon.pid}/fd")) + 1,
                        "superd has as many descriptors as it says")

    def test_promtool(self):
        """promtool check metrics has nothing to say, and the text ends as OpenMetrics does."""
        text, _ = self.superctl(self.used(), "metrics")
        self.assertTrue(text.endswith("# EOF\n"))
        self.promtool(text)

    @unittest.skipIf(text_string_to_metric_families is None, "needs python3-prometheus-client")
    def test_openmetrics(self):
        """A strict parser accepts --format openmetrics, with the same families and types."""
        daemon = self.used()
        text, _ = self.superctl(daemon, "metrics", "--format", "openmetrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        self.assertEqual(families["superd_refused"].type, "counter")
        self.assertEqual(families["superd_accept_to_exec_seconds"].type, "histogram")
        self.assertEqual(families["superd_handlers"].type, "gauge")
        self.assertEqual(self.ask(daemon, "metrics", "--format", "openmetrics", shape="metrics")["format"], "openmetrics")

    def scraped(self, config=""):
        definition = os.path.join(os.path.dirname(__file__), "..", "..", "conf.d", "metrics.toml")
        with open(definition, encoding="utf-8") as file:
            text = file.read().replace('["tcp://127.0.0.1:7090", "tcp://[::1]:7090"]', f'"{TCP}"')
        self.assertIn(TCP, text)
        daemon = self.superd({"metrics": text}, config=config)
        return daemon, daemon.address("metrics")

    def test_scrape(self):
        """The shipped definition serves them over HTTP, in the format that the client accepts."""
        _, uri = self.scraped('[control]\nreaders = ["nogroup"]\n')
        fields, body = self.get(uri, "GET /metrics HTTP/1.1\r\nHost: x\r\n")
        self.assertIn("HTTP/1.1 200 OK", fields)
        self.assertIn("text/plain; version=0.0.4", fields)
        self.assertIn(f"Content-Length: {len(body.encode())}\r\n", fields + "\r\n")
        self.assertEqual(self.samples(body)['superd_handlers{service="metrics"}'], 1)
        self.promtool(body)
        fields, body = self.get(uri, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n")
        self.assertIn("application/openmetrics-text; version=1.0.0", fields)
        self.assertIn("# TYPE superd_refused counter\n", body)

    def test_two_scrapes_on_one_connection(self):
        """HTTP/1.1 keeps the connection, and requests may come in pieces."""
        _, uri = self.scraped('[control]\nreaders = ["nogroup"]\n')
        client = self.client(uri)
        for piece in (b"GET /metr", b"ics HTTP/1.1\r\n\r", b"\nHEAD /metrics HTTP/1.1\r\n\r\n",
                      b"GET /metrics HTTP/1.0\r\n\r\n"):
            client.sendall(piece)
        text = b""
        while data := client.recv(65536):
            text += data
        self.assertEqual(text.count(b"HTTP/1.1 200 OK\r\n"), 3)
        self.assertEqual(text.count(b"# EOF\n"), 2)

    def test_what_is_no_scrape(self):
        """Other paths, other methods, bodies and input that is not HTTP each get the right answer."""
        _, uri = self.scraped('[control]\nreaders = ["nogroup"]\n')
        for head, status in (("GET / HTTP/1.1\r\n", "404"), ("POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n", "405"),
                             ("GET /metrics HTTP/1.1 x\r\n", "400"), ("GET /metrics HTTP/1.1\r\nContent-Length: 1\r\n", "413"),
                             ("GET /metrics?x=1 HTTP/1.1\r\n", "200")):
            self.assertIn(f"HTTP/1.1 {status} ", self.get(uri, head)[0])
        self.assertEqual(exchange(uri, b"hello\r\n\r\n"), b"")

    def test_not_allowed_to_look(self):
        """If superd is root and no reader is named, the answer is 503 and says what to do."""
        if not self.root:
            self.skipTest("superd's own user may always look")
        _, uri = self.scraped()
        fields, body = self.get(uri, "GET /metrics HTTP/1.1\r\n")
        self.assertIn("HTTP/1.1 503 ", fields)
        self.assertIn("[control] readers", body)


class MetricsUnprivileged(Metrics):
    as_user = "nobody"
