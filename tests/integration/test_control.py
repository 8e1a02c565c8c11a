# SPDX-License-Identifier: MIT
"""superctl against the real daemon: what each verb does and prints, and its exit status."""

import os
import socket
import stat
import subprocess
import time

from control import SUPERCTL, Control
from harness import Reader, exchange

TCP = "tcp://127.0.0.1:0"


class Verbs(Control):
    def cat(self, **keys):
        return self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"], **keys)})

    def served(self, uri):
        """A client that its handler has answered."""
        client = self.client(uri)
        client.sendall(b"x\n")
        self.assertEqual(Reader(client).line(), b"x")
        return client

    def test_status(self):
        """status shows state, counts and processes of each service, to people and to programs."""
        begun, clock = int(time.time()), time.monotonic()
        daemon = self.cat(description="says it again")
        uri = daemon.address("cat")
        ready = time.monotonic()
        self.served(uri)
        asked = time.monotonic()
        answer = self.ask(daemon, "status", shape="status")
        superd = answer["superd"]
        self.assertEqual(superd["pid"], daemon.pid)
        self.assertGreaterEqual(superd["uptime_seconds"], asked - ready)
        self.assertLessEqual(superd["uptime_seconds"], time.monotonic() - clock)
        self.assertTrue(begun <= superd["started"] <= time.time())
        service = answer["services"][0]
        self.assertEqual((service["name"], service["state"], service["model"], service["handlers"],
                          service["accepted"]), ("cat", "listening", "fork", 1, 1))
        self.assertEqual(service["listeners"], [{"address": uri, "open": True, "awaited": False}])
        one = self.ask(daemon, "status", "cat", shape="status NAME")
        self.assertEqual([(p["kind"], p["pid"]) for p in one["processes"]],
                         [("handler", daemon.children()[0].pid)])
        table, _ = self.superctl(daemon, "status")
        self.assertRegex(table, rf"(?m)^cat +listening +fork +{uri} +1/256 +0 +1 +- +0 ")
        self.assertNotIn("\x1b", table)
        self.assertIn("says it again", self.superctl(daemon, "status", "cat")[0])

    def test_handler_times_and_exits(self):
        """Ended handlers are counted by how they ended, with the median of their time and of accept to exec."""
        daemon = self.superd({"sh": dict(listen=TCP, model="fork", exec=["sh", "-c", "read how; eval $how"])})
        uri = daemon.address("sh")
        for how in (b"exit 0\n", b"exit 3\n", b"kill -9 $$\n"):
            exchange(uri, how)
        service = self.eventually(
            lambda: (s := self.service_status(daemon, "sh"))["handler_seconds"]["count"] == 3 and s, "three ends")
        self.assertEqual(service["exits"], {"ok": 1, "failed": 1, "stopped": 0, "killed": 1})
        self.assertGreater(service["handler_seconds"]["median"], 0)
        times = self.eventually(
            lambda: (s := self.service_status(daemon, "sh")["accept_to_exec_seconds"])["count"] == 3 and s, "three execs")
        self.assertGreater(times["median"], 0)
        self.assertLess(times["sum"], service["handler_seconds"]["sum"] + 60)

    def test_list(self):
        """list names every service, including disabled ones."""
        daemon = self.superd({"on": dict(listen=TCP, model="fork", exec=["cat"], description="is on"),
                              "off": dict(listen=TCP, model="fork", exec=["cat"], enabled=False)})
        services = self.ask(daemon, "list", shape="list")["services"]
        self.assertEqual([(s["name"], s["enabled"], s["state"]) for s in services],
                         [("off", False, "disabled"), ("on", True, "listening")])
        self.assertRegex(self.superctl(daemon, "list")[0], r"(?m)^on +listening +tcp://\S+ +is on$")

    def test_plan_and_reload(self):
        """plan shows what a reload would do and changes nothing; reload prints the same when it is done."""
        daemon = self.superd({"same": dict(listen=TCP, model="fork", exec=["cat"]),
                              "new-handler": dict(listen=TCP, model="fork", exec=["cat"]),
                              "moved": dict(listen=TCP, model="fork", exec=["cat"]),
                              "gone": dict(listen=TCP, model="fork", exec=["cat"])})
        uri = daemon.address("new-handler")
        daemon.service("new-handler", listen=TCP, model="delayed", exec=["cat"], limits={"instances": 3})
        daemon.service("moved", listen=["tcp://[::1]:0"], model="fork", exec=["cat"])
        daemon.remove("gone")
        daemon.service("more", listen=TCP, model="fork", exec=["cat"])
        planned = self.ask(daemon, "plan", shape="plan")["changes"]
        self.assertEqual([(c["service"], c["change"], c["keys"]) for c in planned],
                         [("gone", "remove", []), ("more", "add", []), ("moved", "rebind", ["listen"]),
                          ("new-handler", "renew", ["model", "limits.instances"]), ("same", "unchanged", [])])
        self.assertEqual(self.service_status(daemon, "new-handler")["model"], "fork")
        text, _ = self.superctl(daemon, "plan")
        self.assertIn("renew   new-handler: model, limits.instances\n", text)
        self.assertEqual(self.superctl(daemon, "reload")[0], text)
        self.assertEqual(self.service_status(daemon, "new-handler")["model"], "delayed")
        self.assertEqual(self.converse(uri), b"hello")
        self.assertEqual({c["change"] for c in self.ask(daemon, "reload", shape="reload")["changes"]}, {"unchanged"})
        self.assertEqual(self.ask(daemon, "status", shape="status")["superd"]["reloads"],
                         {"done": 2, "refused": 0, "refused_because": "", "watching": None})

    def test_refused_reload(self):
        """A mistake in the files, or an unavailable port: reload exits 1, says where, and changes nothing."""
        daemon = self.cat()
        uri = daemon.address("cat")
        daemon.service("cat", 'listen = "tcp://127.0.0.1:0"\nmodel = "frok"\nexec = ["cat"]\n')
        for verb in ("plan", "reload"):
            problem = self.ask(daemon, verb, shape="errors", status=1)["errors"][0]
            self.assertEqual((problem["line"], problem["column"]), (2, 9))
            out, err = self.superctl(daemon, verb, status=1)
            self.assertEqual(out, "")
            self.assertIn(':2:9: error: model "frok" is not one of', err)
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon.service("cat", listen=f"tcp://127.0.0.1:{taken.getsockname()[1]}", model="fork", exec=["cat"])
        problem = self.ask(daemon, "reload", shape="errors", status=1)["errors"][0]
        self.assertEqual(problem["service"], "cat")
        self.assertIn("Address already in use", problem["message"])
        self.assertEqual(self.converse(uri), b"hello")

    def test_pause_and_resume(self):
        """Clients of a paused service wait in the backlog, also over a reload, and are served on resume."""
        daemon = self.cat()
        uri = daemon.address("cat")
        before = self.served(uri)
        self.assertEqual(self.ask(daemon, "pause", "cat", shape="pause")["state"], "paused")
        waiting = self.client(uri)
        waiting.sendall(b"waits\n")
        daemon.service("cat", listen=TCP, model="delayed", exec=["cat"])
        daemon.reload()
        before.sendall(b"goes on\n")
        self.assertEqual(Reader(before).line(), b"goes on")
        status = self.service_status(daemon, "cat")
        self.assertEqual((status["state"], status["model"], status["accepted"]), ("paused", "delayed", 1))
        self.assertEqual(self.superctl(daemon, "resume", "cat")[0], "cat: resumed\n")
        self.assertEqual(Reader(waiting).line(), b"waits")

    def test_pause_of_a_pool_that_accepts(self):
        """The workers of a paused pool leave, those with a client after serving it; resume brings new ones."""
        daemon = self.superd({"pool": dict(listen=TCP, model="prefork", handoff="listen", exec=["superd-echo"])})
        uri = daemon.address("pool")
        client = self.served(uri)
        self.superctl(daemon, "pause", "pool")
        self.eventually(lambda: len(daemon.children()) == 1, "only the busy worker is left")
        waiting = self.client(uri)
        waiting.sendall(b"waits\n")
        client.sendall(b"goes on\n")
        self.assertEqual(Reader(client).line(), b"goes on")
        client.close()
        self.eventually(lambda: not daemon.children(), "no worker is left")
        self.superctl(daemon, "resume", "pool")
        self.assertEqual(Reader(waiting).line(), b"waits")

    def test_drain(self):
        """drain returns once the last handler has ended; with --no-wait at once, and new clients wait."""
        daemon = self.cat()
        uri = daemon.address("cat")
        client = self.served(uri)
        self.assertEqual(self.ask(daemon, "drain", "--no-wait", "cat", shape="drain")["handlers"], 1)
        waits = subprocess.Popen([SUPERCTL, "drain", "cat"], env=daemon.environment, stdout=subprocess.PIPE, text=True)
        self.addCleanup(waits.wait)
        self.addCleanup(waits.stdout.close)
        self.assertEqual(waits.stdout.readline(), "cat: draining, 1 handler to finish\n")
        late = self.client(uri)
        late.sendall(b"late\n")
        self.assertIsNone(waits.poll())
        client.close()
        self.assertEqual(waits.wait(60), 0)
        status = self.service_status(daemon, "cat")
        self.assertEqual((status["state"], status["handlers"], status["accepted"]), ("draining", 0, 1))
        self.superctl(daemon, "resume", "cat")
        self.assertEqual(Reader(late).line(), b"late")

    def test_kill(self):
        """kill ends a service's handlers, or one process of superd's, by the stop signal or by the one named."""
        daemon = self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"]),
                              "deaf": dict(listen=TCP, model="fork", stop_timeout="100ms",
                                           exec=["sh", "-c", "trap '' TERM; echo x; while :; do sleep 1; done"])})
        clients = [self.served(daemon.address("cat")) for _ in range(2)]
        first = self.ask(daemon, "status", "cat", shape="status NAME")["processes"][0]["pid"]
        self.assertEqual(self.ask(daemon, "kill", str(first), "TERM", shape="kill")["signalled"], [first])
        self.eventually(lambda: len(daemon.children()) == 1, "one is left")
        self.assertEqual(len(self.ask(daemon, "kill", "cat", shape="kill")["signalled"]), 1)
        for client in clients:
            self.assertEqual(client.recv(1), b"")
        deaf = self.client(daemon.address("deaf"))
        self.assertEqual(Reader(deaf).line(), b"x")
        self.superctl(daemon, "kill", "deaf")
        self.assertEqual(deaf.recv(1), b"", "KILL follows")
        exits = self.eventually(lambda: (e := self.service_status(daemon, "deaf")["exits"])["stopped"] and e, "counted")
        self.assertEqual(exits["killed"], 0)

    def test_kill_spares_others(self):
        """A pid that is not superd's child is never signalled, and an invalid signal is never sent."""
        daemon = self.cat()
        other = subprocess.Popen(["sleep", "60"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        for target in (str(other.pid), "1", "0", "-1", "99999999999999"):
            _, err = self.superctl(daemon, "kill", "--", target, status=1)
            self.assertIn("superctl: ", err)
        self.assertIsNone(other.poll())
        self.assertIn("is not a signal", self.superctl(daemon, "kill", "cat", "NOSUCH", status=1)[1])

    def test_explain(self):
        """explain names what decides: the rule, the limit with its count, the pause, or the missing listener."""
        daemon = self.cat(limits={"per_source": 1, "instances": 2},
                          access={"allow": ["127.0.0.0/15", "10.0.0.0/8"], "deny": ["127.1.0.0/16"]})
        uri = daemon.address("cat")

        def verdict(address):
            return self.ask(daemon, "explain", "cat", address, shape="explain")["verdict"]

        self.assertEqual(verdict("127.0.0.1"), "served")
        self.assertEqual(verdict("127.1.2.3"), "refused: access (deny 127.1.0.0/16 decides)")
        self.assertEqual(verdict("127.2.0.1"), "refused: access (no list names it, and there is an allow list)")
        for unreached in ("::1", "10.0.0.1"):
            self.assertEqual(verdict(unreached), "refused: listener (no address of this service takes such a client)")
        self.served(uri)
        self.assertEqual(verdict("127.0.0.1"), "held: per_source (1 of 1)")
        self.assertEqual(verdict("127.0.0.2"), "served")
        second = self.client(uri, source=("127.0.0.2", 0))
        second.sendall(b"x\n")
        self.assertEqual(Reader(second).line(), b"x")
        self.assertEqual(verdict("127.0.0.3"), "waits: instances (2 of 2)")
        self.superctl(daemon, "pause", "cat")
        self.assertEqual(verdict("127.0.0.3"), "waits: state (paused, by superctl)")
        self.assertEqual(verdict("127.1.2.3"), "refused: access (deny 127.1.0.0/16 decides)", "first it would wait")
        text, _ = self.superctl(daemon, "explain", "cat", "127.1.2.3")
        self.assertRegex(text, r"(?m)^  access +refused +deny 127\.1\.0\.0/16 decides$")

    def test_cannot_start(self):
        """If a handler can no longer be started after its check, status and explain say so until one starts."""
        daemon = self.prepare()
        script = daemon.script("handler", "#!/bin/sh\necho hello\n")
        daemon.service("lost", listen="tcp://127.0.0.1:0", model="fork", exec=[script], limits={"on_excess": "close"})
        daemon.start()
        self.assertEqual(self.converse(daemon.address("lost")), b"hello")
        daemon.script("handler", "#!/nowhere/sh\n")
        with self.client(daemon.address("lost")) as sock:
            self.assertEqual(sock.recv(10), b"")
        def reason():
            return self.ask(daemon, "status", "lost", shape="status NAME")["services"][0]["reason"]
        self.eventually(lambda: reason().startswith("no handler can be started: exec "), "status says why")
        self.assertIn("No such file or directory", reason())
        verdict = self.ask(daemon, "explain", "lost", "127.0.0.1", shape="explain")["verdict"]
        self.assertRegex(verdict, r"^refused: (handler|state) \(.*no handler can be started: exec ")
        daemon.script("handler", "#!/bin/sh\necho hello\n")
        def served():
            with self.client(daemon.address("lost")) as sock:
                return sock.recv(10) == b"hello\n"
        self.eventually(served, "the handler works again")
        self.eventually(lambda: reason() == "", "status says nothing more")

    def test_explain_agrees(self):
        """Under on_excess = "close", the client is treated as explain predicts."""
        daemon = self.cat(limits={"per_source": 1, "on_excess": "close"})
        uri = daemon.address("cat")
        self.served(uri)
        answer = self.ask(daemon, "explain", "cat", "127.0.0.1", shape="explain")
        self.assertEqual((answer["outcome"], answer["verdict"]), ("refused", "refused: per_source (1 of 1)"))
        self.assertEqual(self.client(uri).recv(1), b"")

    def test_stop(self):
        """stop returns once superd has gone, with exit status 0 of both, and leaves no socket behind."""
        daemon = self.cat()
        self.served(daemon.address("cat"))
        out, _ = self.superctl(daemon, "stop")
        self.assertEqual(out, f"superd (pid {daemon.pid}) has stopped\n")
        self.assertEqual(daemon.wait(), 0)
        self.assertFalse(os.path.exists(daemon.control))
        second = self.cat()
        self.ask(second, "stop", shape="stop")
        self.assertEqual(second.wait(), 0)

    def test_errors(self):
        """Refusals exit 1, wrong usage 2; if superd does not run, one line says so and what to do."""
        daemon = self.cat()
        for words in (["status", "cta"], ["pause", "cta"], ["resume", "cta"], ["drain", "cta"], ["kill", "cta"],
                      ["explain", "cta", "::1"]):
            self.assertEqual(self.superctl(daemon, *words, status=1)[1],
                             'superctl: no service "cta" (did you mean "cat"?)\n')
        self.assertEqual(self.ask(daemon, "pause", "cta", shape="error", status=1)["error"],
                         'no service "cta" (did you mean "cat"?)')
        self.superctl(daemon, "explain", "cat", "nowhere", status=1)
        for words in (["pause"], ["explain", "cat"], ["kill"], ["frobnicate"], [], ["status", "a", "b"],
                      ["metrics", "--format", "xml"], ["plan", "--offline"], ["plan", "--conf-dir", "/x"],
                      ["--json", "top"]):
            self.superctl(daemon, *words, status=2)
        daemon.stop()
        for verb in (["status"], ["list"], ["plan"], ["reload"], ["pause", "x"], ["resume", "x"], ["drain", "x"],
                     ["stop"], ["kill", "x"], ["explain", "x", "::1"], ["metrics"], ["top"]):
            out, err = self.superctl(daemon, *verb, status=1)
            self.assertEqual(err, f"superctl: superd is not running: nothing listens on {daemon.control}; start it, or "
                                  "name another with --control PATH\n")
            if verb != ["top"]:
                self.ask(daemon, *verb, shape="error", status=1)

    def test_check(self):
        """check prints how many services there are, or every error, without a daemon."""
        daemon = self.prepare(user=None)  # superctl trusts the user who runs it, which is this process's
        daemon.service("a", listen=TCP, model="fork", exec=["cat"])
        words = ["check", "--config", daemon.config, "--conf-dir", daemon.conf_dir]
        self.assertEqual(self.superctl(daemon, *words)[0], "1 service, no errors\n")
        self.assertEqual(self.ask(daemon, *words, shape="check")["services"], 1)
        daemon.service("a", 'listen = 5\nmodel = "frok"\n')
        problems = self.ask(daemon, *words, shape="errors", status=1)["errors"]
        self.assertEqual([problem["line"] for problem in problems], [0, 1, 2])
        self.assertIn("a.toml:1:10: error: ", self.superctl(daemon, *words, status=1)[1])

    def test_plan_offline(self):
        """plan --offline compares two folders of definitions without a daemon."""
        daemon = self.prepare(user=None)
        daemon.service("a", listen=TCP, model="fork", exec=["cat"])
        os.mkdir(daemon.path("new.d"), 0o755)
        daemon.write("new.d/a.toml", f'listen = "{TCP}"\nmodel = "iterative"\nexec = ["cat"]\n')
        for words in ([daemon.conf_dir, daemon.path("new.d")], [daemon.conf_dir, "--conf-dir", daemon.path("new.d")]):
            answer = self.ask(daemon, "plan", "--offline", *words, shape="plan")
            self.assertEqual(answer["changes"], [{"service": "a", "change": "renew", "keys": ["model"]}])
        self.assertEqual(self.superctl(daemon, "plan", "--offline", *words[:1], daemon.path("new.d"))[0],
                         "renew   a: model\n")
        daemon.write("new.d/a.toml", "model = 1\n")
        self.ask(daemon, "plan", "--offline", daemon.conf_dir, daemon.path("new.d"), shape="errors", status=1)


class VerbsUnprivileged(Verbs):
    as_user = "nobody"


class Places(Control):
    def test_stale_and_live_sockets(self):
        """A socket on which nobody listens is replaced; a second superd on a live one does not start, and says why."""
        daemon = self.prepare()
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(daemon.control)
        stale.close()
        daemon.start()
        self.assertEqual(stat.S_IMODE(os.stat(daemon.control).st_mode), 0o600)
        self.superctl(daemon, "status")
        second = self.prepare(arguments=["--control", daemon.control])
        second.start(wait=False)
        self.assertEqual(second.wait(), 1)
        self.assertIn(f"control socket {daemon.control}: another superd listens there", second.transcript())
        self.superctl(daemon, "status")
        second.process = None

    def test_folder_is_made_and_removed(self):
        """The socket's folder is created if it is missing, and removed with the socket."""
        daemon = self.prepare()
        path = daemon.path("run/control.sock")
        daemon.arguments = ["--control", path]
        daemon.start()
        self.superctl(daemon, "--control", path, "status")
        daemon.stop()
        self.assertFalse(os.path.exists(os.path.dirname(path)))

    def test_default_that_cannot_be_had(self):
        """Without --control superd runs without its socket and warns; with --control the socket is required."""
        daemon = self.prepare(environment={"SUPERD_CONTROL": "/proc/none/control.sock"})
        daemon.service("cat", listen=TCP, model="fork", exec=["cat"])
        daemon.start()
        daemon.wait_for(message="control socket /proc/none/control.sock: ")
        self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        strict = self.prepare(arguments=["--control", "/proc/none/control.sock"])
        strict.start(wait=False)
        self.assertEqual(strict.wait(), 1)
        strict.process = None


class Readers(Control):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root to ask as other users")

    def test_who_may_look_and_who_may_command(self):
        """Members of [control] readers may look but not command; others may do neither, before and after a reload."""
        daemon = self.superd({"cat": dict(listen=TCP, model="fork", exec=["cat"])})
        self.superctl(daemon, "status", user="daemon", status=1)
        daemon.write("superd.toml", '[control]\nreaders = ["daemon"]\n')
        self.superctl(daemon, "reload")
        for words in (["status"], ["list"], ["plan"], ["metrics"], ["explain", "cat", "127.0.0.1"]):
            self.superctl(daemon, *words, user="daemon")
            self.assertIn("not permitted", self.superctl(daemon, *words, user="bin", status=1)[1])
        for words in (["reload"], ["pause", "cat"], ["resume", "cat"], ["drain", "cat"], ["kill", "cat"], ["stop"]):
            self.assertIn("not permitted", self.superctl(daemon, *words, user="daemon", status=1)[1])
        self.assertEqual(self.service_status(daemon, "cat")["state"], "listening")
        daemon.write("superd.toml", "")
        self.superctl(daemon, "reload")
        self.superctl(daemon, "status", user="daemon", status=1)

    def test_a_plan_looks_nobody_up(self):
        """A plan that a reader asks for takes users and groups from the last reload, or from the last plan of root; a
        name that is new then is an error."""
        keys = dict(listen=TCP, model="fork", exec=["cat"], user="daemon")
        daemon = self.superd({"cat": keys}, config='[control]\nreaders = ["daemon"]\n')
        daemon.service("cat", **keys, nice=1)
        self.assertIn("cat", self.superctl(daemon, "plan", user="daemon")[0])
        daemon.service("cat", **{**keys, "user": "games"})
        said = self.superctl(daemon, "plan", user="daemon", status=1)
        self.assertIn("user games has not been looked up yet", "".join(said))
        self.superctl(daemon, "plan")
        self.superctl(daemon, "plan", user="daemon")

    def test_supplementary_group(self):
        """A supplementary group counts like the primary one."""
        daemon = self.superd({}, config='[control]\nreaders = ["adm"]\n')
        done = subprocess.run([SUPERCTL, "status"], env=daemon.environment, user="bin", group="bin",
                              extra_groups=["games", "adm"], stdout=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0)
