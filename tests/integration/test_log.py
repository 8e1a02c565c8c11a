# SPDX-License-Identifier: MIT
"""The log: its formats, handlers' stderr in it, and hostile content."""

import contextlib
import os
import re
import time

from harness import Reader, SuperdCase, connect, exchange, handler
from harness.loopback import own_loopback

HOSTILE = r"""#!/bin/sh
exec >&2
printf 'colour \033[31mred\033[0m bell \007 return \r tab \t delete \177\n'
printf 'quote " backslash \\ equals a=b level=error {"level": "error"}\n'
printf 'bad utf-8 \377\376 and c1 \302\233 and unfinished \303\n'
printf 'ends in a backslash \134\n'
printf 'nul \000 inside\n'
"""


class Formats(SuperdCase):
    def served(self, log_format):
        daemon = self.prepare(log_format=log_format)
        uri = f"tcp://{own_loopback()}:7830"
        script = daemon.script("hostile", HOSTILE)
        daemon.service("hostile", listen=uri, model="fork", exec=[script])
        daemon.start(wait=False)
        daemon.wait_line("ready") if log_format != "json" else daemon.wait_for(message="ready")
        exchange(uri)
        return daemon

    def test_text(self):
        """text: lines for people, with the service's name and its address."""
        daemon = self.served("text")
        daemon.wait_line(r"listening on")
        daemon.wait_line(r"inside")
        self.clean(daemon)

    def test_logfmt(self):
        """logfmt: each line is key=value pairs; values with spaces or quotes are quoted."""
        daemon = self.served("logfmt")
        daemon.wait_line(r"inside")
        daemon.wait_line(r'(^| )(msg|message)="?listening on .* address="?tcp://')
        pair = r'[A-Za-z_][A-Za-z0-9_.]*=(?:"(?:[^"\\]|\\.)*"|[^" =]*)'
        for line in daemon.lines:
            self.assertRegex(line, rf"^{pair}( {pair})*$")
        hostile = daemon.wait_line("backslash")
        self.assertNotRegex(re.sub(r'"(?:[^"\\]|\\.)*"', "", hostile), "level=error")
        self.clean(daemon)

    def test_json(self):
        """json: each line is an object with time, level and message; a handler's text stays inside message."""
        daemon = self.served("json")
        daemon.wait_for(lambda r: "inside" in r["message"], service="hostile")
        self.assertEqual(daemon.lines, [])
        for record in daemon.records:
            self.assertRegex(record["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
            self.assertTrue(record["level"] and record["message"])
        record = daemon.wait_for(lambda r: "backslash" in r["message"], service="hostile")
        self.assertNotEqual(record["level"], "error")
        self.assertIn('quote " backslash \\ equals a=b', record["message"].replace("\\\\", "\\").replace('\\"', '"'))

    def clean(self, daemon):
        """No control character reaches a reader of the log, and no invalid UTF-8."""
        for line in daemon.lines:
            self.assertNotRegex(line, "[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\udc80-\udcff]")

    def test_level(self):
        """--log-level error omits mere information."""
        daemon = self.prepare(log_level="error", log_format="text")
        uri = f"tcp://{own_loopback()}:7831"
        daemon.service("cat", listen=uri, model="fork", exec=["cat"])
        daemon.start(wait=False)
        self.eventually(lambda: self.answers(uri), "serving")
        daemon.stop()
        self.assertEqual(daemon.lines, [])

    def answers(self, uri):
        try:
            return self.converse(uri) == b"hello"
        except OSError:
            return False

    def test_connections_all(self):
        """log.connections: "all" logs each connection with its peer, "none" not even failures."""
        daemon = self.superd({
            "all": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["true"], log={"connections": "all"}),
            "none": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["false"], log={"connections": "none"}),
        })
        with connect(daemon.address("none")) as client:
            Reader(client).rest()
        with connect(daemon.address("all")) as client:
            name = client.getsockname()
            Reader(client).rest()
        record = daemon.wait_for(lambda r: "peer" in r, service="all")
        self.assertIn(f"{name[0]}:{name[1]}", record["peer"])
        self.assertFalse(daemon.find(lambda r: r.get("service") == "none" and "peer" in r and r["level"] != "debug"))


class Stderr(SuperdCase):
    def test_log(self):
        """stderr = "log": each line is a record with the service's name; the connection gets none of it."""
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                daemon = self.prepare()
                script = daemon.script("talk", "#!/bin/sh\necho to the log >&2\necho to the client\n")
                daemon.service("talk", listen="tcp://127.0.0.1:0", model=model, exec=[script])
                daemon.start()
                self.assertEqual(exchange(daemon.address("talk")), b"to the client\n")
                daemon.wait_for(lambda r: "to the log" in r["message"], service="talk")

    def test_unfinished_lines(self):
        """Output of a handler without a newline is logged soon, and not joined to the next handler's output."""
        daemon = self.prepare()
        script = daemon.script("talk", "#!/bin/sh\nprintf unfinished >&2\necho done\n")
        daemon.service("talk", listen="tcp://127.0.0.1:0", model="fork", exec=[script])
        daemon.start()
        for _ in range(2):
            since = daemon.mark()
            self.assertEqual(exchange(daemon.address("talk")), b"done\n")
            record = daemon.wait_for(lambda r: "unfinished" in r["message"], service="talk", since=since)
            self.assertEqual(record["message"], "unfinished")

    def test_socket(self):
        """stderr = "socket": it goes to the client."""
        daemon = self.prepare()
        script = daemon.script("talk", "#!/bin/sh\necho complaint >&2\n")
        daemon.service("talk", listen="tcp://127.0.0.1:0", model="fork", exec=[script], stderr="socket")
        daemon.start()
        self.assertEqual(exchange(daemon.address("talk")), b"complaint\n")

    def test_null(self):
        """stderr = "null": it goes nowhere."""
        daemon = self.prepare()
        script = daemon.script("talk", "#!/bin/sh\necho complaint >&2\necho done\n")
        daemon.service("talk", listen="tcp://127.0.0.1:0", model="fork", exec=[script], stderr="null")
        daemon.start()
        self.assertEqual(exchange(daemon.address("talk")), b"done\n")
        daemon.stop()
        self.assertFalse(daemon.find(lambda r: "complaint" in r["message"]))
        self.assertFalse([line for line in daemon.lines if "complaint" in line])

    def test_inherit(self):
        """stderr = "inherit": output goes unchanged where superd's own goes."""
        daemon = self.prepare()
        script = daemon.script("talk", "#!/bin/sh\necho as it is >&2\n")
        daemon.service("talk", listen="tcp://127.0.0.1:0", model="fork", exec=[script], stderr="inherit")
        daemon.start()
        exchange(daemon.address("talk"))
        daemon.wait_line("^as it is$")

    def test_a_mebibyte_without_an_end(self):
        """1 MiB in one line is logged in bounded pieces or cut, and other services are served meanwhile."""
        daemon = self.prepare()
        script = daemon.script("long", "#!/bin/sh\nhead -c 1048576 /dev/zero | tr '\\0' x >&2\necho >&2\n"
                                       "echo after >&2\necho done\n")
        daemon.service("long", listen="tcp://127.0.0.1:0", model="fork", exec=[script])
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon.start()
        client = self.client(daemon.address("long"))
        self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        self.assertEqual(Reader(client).line(), b"done")
        daemon.wait_for(message="after", service="long")
        self.assertTrue(daemon.find(lambda r: "xxxxxxxx" in r["message"]))
        self.assertLess(max(len(record["message"]) for record in daemon.records), 65536)

    def test_a_flood_does_not_stop_the_rest(self):
        """A handler that floods its stderr costs neither superd's memory nor other services' time."""
        daemon = self.superd({
            "flood": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["sh", "-c", "exec yes flooding >&2"]),
            "cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
        })
        client = self.client(daemon.address("flood"))
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:
            self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        for child in daemon.children():
            with contextlib.suppress(ProcessLookupError):  # the last cat
                os.kill(child.pid, 9)
        self.assertEqual(client.recv(1), b"")

    def test_handlers_share_one_stream(self):
        """A hundred handlers of a service at once cost superd no descriptor each for their stderr."""
        daemon = self.superd({"hold": dict(listen="tcp://127.0.0.1:0", model="fork", exec=[handler("probe"), "--hold"],
                                           limits={"instances": 200})})
        uri = daemon.address("hold")
        before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        clients = [self.client(uri) for _ in range(100)]
        for client in clients:
            self.assertTrue(client.recv(1))
        self.assertEqual(len(daemon.children()), 100)
        self.eventually(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before + 20, "no descriptor each")
