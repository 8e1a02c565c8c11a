# SPDX-License-Identifier: MIT
"""superd-status as a service of the superd that it shows."""

import http.client
import json
import os
import re
import socket

from control import Control

TCP = "tcp://127.0.0.1:0"
DEFINITION = os.path.join(os.path.dirname(__file__), "..", "..", "conf.d", "status.toml")


class Status(Control):
    def status(self, services=None, more="", **changes):
        """The shipped definition beside others, at any port."""
        with open(DEFINITION, encoding="utf-8") as file:
            text = re.sub(r'"tcp://127\.0\.0\.1:\d+"', f'"{TCP}"', file.read())
        self.assertIn(TCP, text)
        for old, new in changes.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.text = text
        return self.superd({"status": text, **(services or {})}, config='[control]\nreaders = ["nogroup"]\n' + more)

    def get(self, daemon, path, connection=None):
        host, port = daemon.address("status").removeprefix("tcp://").rsplit(":", 1)
        to = connection or http.client.HTTPConnection(host, int(port), timeout=30)
        if connection is None:
            self.addCleanup(to.close)
        to.request("GET", path)
        answer = to.getresponse()
        return answer.status, answer.read().decode()

    def test_it_shows_the_superd_that_runs_it(self):
        """What the page and the JSON say is what superctl says; clients of other services appear by themselves."""
        daemon = self.status({"cat": dict(listen=TCP, model="fork", exec=["cat"], access={"deny": ["127.0.0.9"]},
                                          description="<b>&")})
        client = self.client(daemon.address("cat"))
        with self.client(daemon.address("cat"), source=("127.0.0.9", 0)) as denied:
            self.assertEqual(denied.recv(1), b"")

        def seen():
            status, text = self.get(daemon, "/status.json")
            self.assertEqual(status, 200, text)
            found = json.loads(text)
            cat = next(one for one in found["services"] if one["name"] == "cat")
            return cat["accepted"] == 2 and cat["handlers"] == 1 and found

        found = self.eventually(seen, "the client is shown")
        told = self.ask(daemon, "status", shape="status")
        self.assertEqual([one["name"] for one in found["services"]], [one["name"] for one in told["services"]])
        self.assertEqual(found["superd"]["pid"], daemon.pid)
        handler = next(one for one in found["processes"] if one["service"] == "cat")
        self.assertEqual(handler["peer"], "%s:%d" % client.getsockname())
        self.assertGreater(handler["usage"]["memory"], 0)
        status, page = self.get(daemon, "/service/cat")
        self.assertEqual(status, 200)
        for text in ("&lt;b&gt;&amp;", "denied&nbsp;1", "1 of 256", "%s:%d" % client.getsockname()):
            self.assertIn(text, page)
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.get(daemon, path)[0], 200, path)
        _, page = self.get(daemon, "/service/cat?client=127.0.0.9")
        self.assertIn("refused: access (deny 127.0.0.9", page)
        _, page = self.get(daemon, "/service/cat?client=nonsense")
        self.assertIn('class="warning"', page)

    def test_an_address_that_superd_has_never_had(self):
        """/readyz waits for it, and for no address that has been there once."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        uri = "tcp://127.0.0.1:%d" % taken.getsockname()[1]
        daemon = self.status({"late": dict(listen=uri, model="fork", exec=["cat"])})
        self.assertEqual(self.get(daemon, "/readyz"), (503, f"the service late waits for {uri}\n"))
        listener = self.service_status(daemon, "late")["listeners"][0]
        self.assertEqual((listener["open"], listener["awaited"]), (False, True))
        taken.close()
        self.eventually(lambda: self.get(daemon, "/readyz") == (200, "ready\n"), "the address is there")

    def test_a_superd_that_drains_is_not_ready(self):
        """Load balancers turn away while it still serves, and the page says why."""
        daemon = self.status(more='[shutdown]\ndrain = "1h"\n')
        self.assertEqual(self.get(daemon, "/readyz"), (200, "ready\n"))
        self.superctl(daemon, "drain", "--all", "--no-wait")
        self.eventually(lambda: self.get(daemon, "/readyz") == (503, "superd is draining\n"), "not ready")
        self.assertEqual(self.get(daemon, "/livez")[0], 200)
        self.assertIn("superd is draining: ", self.get(daemon, "/")[1])
        self.superctl(daemon, "stop")

    def test_a_reload_and_an_upgrade_under_somebody_who_looks(self):
        """The page goes on over a new definition of its own, and shows the new services; an upgrade is not noticed."""
        daemon = self.status()
        self.assertIn("/service/status", self.get(daemon, "/")[1])
        daemon.service("more", listen=TCP, model="fork", exec=["cat"])
        self.superctl(daemon, "reload")
        self.eventually(lambda: "/service/more" in self.get(daemon, "/")[1], "the new service is shown")
        # Its own process is replaced, once it has been told to leave.
        before = {child.pid for child in daemon.children() if child.name == "superd-status"}
        daemon.service("status", self.text.replace('"superd-status"', '"superd-status", "--connections-max", "200"'))
        self.superctl(daemon, "reload")
        self.eventually(lambda: (now := {c.pid for c in daemon.children() if c.name == "superd-status"}) and
                        not now & before, "a new superd-status alone")
        self.assertIn("/service/more", self.get(daemon, "/")[1])
        self.superctl(daemon, "upgrade")
        self.eventually(lambda: json.loads(self.get(daemon, "/status.json")[1])["superd"]["upgrades"]["done"] == 1,
                        "the upgrade is shown")

    def test_under_fork_and_parked(self):
        """One connection, one process: the same pages, at once and over a connection that is kept."""
        for model in ('model = "fork"', 'model = "prefork"\nprefork = { min_spare = 2 }'):
            daemon = self.status(**{'model = "prefork"\nhandoff = "listen"': model, "instances = 1": "instances = 8"})
            host, port = daemon.address("status").removeprefix("tcp://").rsplit(":", 1)
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            self.addCleanup(connection.close)
            for path in ("/", "/service/status", "/readyz"):
                self.assertEqual(self.get(daemon, path, connection)[0], 200, path)
            connection.close()
            daemon.stop()

    def test_not_allowed_to_look(self):
        """If superd is root and no reader is named, every page says what to do."""
        if not self.root:
            self.skipTest("superd's own user may always look")
        with open(DEFINITION, encoding="utf-8") as file:
            text = re.sub(r'"tcp://127\.0\.0\.1:\d+"', f'"{TCP}"', file.read())
        daemon = self.superd({"status": text})
        for path in ("/", "/livez"):
            status, page = self.get(daemon, path)
            self.assertEqual(status, 503)
            self.assertIn("[control] readers", page)


class StatusUnprivileged(Status):
    as_user = "nobody"
