# SPDX-License-Identifier: MIT
"""TERM and the stop ladder, max_lifetime, handlers that cannot be started."""

import os
import signal
import time

from harness import Reader, SuperdCase, connect, exchange, handler
from harness import process
from harness.probe import Report


class Stop(SuperdCase):
    def held(self, *words, **keys):
        daemon = self.superd({"held": dict(listen="tcp://127.0.0.1:0", model="fork",
                                           exec=[handler("probe"), "--hold", *words], **keys)})
        client = self.client(daemon.address("held"))
        data = b""
        while not data.endswith(b"\nend\n"):
            data += client.recv(65536)
        return daemon, client

    def test_term_ends_handlers(self):
        """TERM: handlers get stop_signal, superd exits 0 and says "stopped"."""
        daemon, client = self.held()
        begin = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.assertLess(time.monotonic() - begin, 9)
        self.assertEqual(client.recv(1), b"")
        self.assertTrue(daemon.find(lambda r: r["message"].startswith("stopped")))

    def test_int_does_the_same(self):
        """INT: the same as TERM."""
        daemon, _ = self.held()
        daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(daemon.wait(), 0)

    def test_a_handler_that_ignores_term_is_killed(self):
        """A handler that ignores TERM is killed after stop_timeout, not before."""
        daemon, client = self.held("--ignore", str(int(signal.SIGTERM)), stop_timeout="700ms")
        begin = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.recv(1), b"")
        self.assertGreaterEqual(time.monotonic() - begin, 0.65)
        self.assertEqual(daemon.wait(), 0)

    def test_a_second_term_ends_at_once(self):
        """A second TERM does not wait for stop_timeout and leaves no handler."""
        daemon, client = self.held("--ignore", str(int(signal.SIGTERM)), stop_timeout="1h")
        daemon.process.send_signal(signal.SIGTERM)
        host, port = daemon.address("held").removeprefix("tcp://").rsplit(":", 1)
        self.eventually(lambda: not process.listening_inodes(host, int(port)), "no longer accepting")
        self.assertIsNone(daemon.process.poll())
        begin = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(client.recv(1), b"")

    def test_stop_signal(self):
        """With stop_signal = "USR1" the handler gets USR1."""
        daemon = self.prepare()
        script = daemon.script("trap", "#!/bin/sh\ntrap 'echo got usr1; exit 0' USR1\ntrap 'echo got term' TERM\n"
                                       "echo ready\nwhile :; do sleep 0.05; done\n")
        daemon.service("trap", listen="tcp://127.0.0.1:0", model="fork", exec=[script], stop_signal="USR1")
        daemon.start()
        reader = Reader(self.client(daemon.address("trap")))
        self.assertEqual(reader.line(), b"ready")
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(reader.line(), b"got usr1")
        self.assertEqual(daemon.wait(), 0)

    def test_new_clients_are_refused_while_stopping(self):
        """After TERM no client is accepted while old ones are still being ended."""
        daemon, _ = self.held("--ignore", str(int(signal.SIGTERM)), stop_timeout="2s")
        uri = daemon.address("held")
        daemon.process.send_signal(signal.SIGTERM)
        host, port = uri.removeprefix("tcp://").rsplit(":", 1)
        self.eventually(lambda: not process.listening_inodes(host, int(port)), "no longer listening")
        with self.assertRaises(ConnectionRefusedError):
            connect(uri)
        self.assertEqual(daemon.wait(), 0)

    def test_pools_and_waits_end_too(self):
        """TERM with every model busy: nothing is left."""
        daemon = self.superd({
            "prefork": dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"]),
            # Its workers let their clients finish, and are killed after this.
            "pool": dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen", exec=["superd-echo"],
                         stop_timeout="1s"),
            "iterative": dict(listen="tcp://127.0.0.1:0", model="iterative", exec=["cat"]),
            "delayed": dict(listen="tcp://127.0.0.1:0", model="delayed", exec=["cat"]),
            "wait": dict(listen="udp://127.0.0.1:0", model="iterative", exec=["superd-echo"]),
            "datagrams": dict(listen="udp://127.0.0.1:0", model="prefork", exec=["superd-echo"]),
        })
        for name in ("prefork", "pool", "iterative", "delayed"):
            client = self.client(daemon.address(name))
            client.sendall(b"x\n")
            self.assertEqual(Reader(client).line(), b"x")
        for name in ("wait", "datagrams"):
            client = self.client(daemon.address(name))
            client.send(b"x")
            self.assertEqual(client.recv(10), b"x")
        daemon.stop()


class StopAsUser(Stop):
    as_user = "nobody"


class MaxLifetime(SuperdCase):
    def test_ends_old_handlers(self):
        """max_lifetime: a handler older than that is ended, a younger one is not, under each model."""
        models = {"fork": {}, "iterative": {}, "delayed": {}, "prefork": {}}
        daemon = self.superd({model: dict(listen="tcp://127.0.0.1:0", model=model, exec=["cat"], max_lifetime="600ms")
                              for model in models})
        for model in models:
            with self.subTest(model=model):
                begin = time.monotonic()
                client = self.client(daemon.address(model))
                client.sendall(b"x\n")
                self.assertEqual(Reader(client).line(), b"x")
                self.assertEqual(client.recv(1), b"")
                lived = time.monotonic() - begin
                self.assertGreaterEqual(lived, 0.55)
                self.assertLess(lived, 10)

    def test_parked_time_does_not_count(self):
        """prefork: the time that a process was parked is not part of its handler's lifetime."""
        daemon = self.superd({"pool": dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"],
                                           max_lifetime="500ms", prefork={"min_spare": 1, "max_spare": 1})})
        self.eventually(lambda: daemon.children(), "parked")
        time.sleep(0.7)  # this tests the passing of time
        begin = time.monotonic()
        client = self.client(daemon.address("pool"))
        client.sendall(b"x\n")
        self.assertEqual(Reader(client).line(), b"x")
        self.assertEqual(client.recv(1), b"")
        self.assertGreaterEqual(time.monotonic() - begin, 0.45)

    def test_owners_of_a_datagram_socket(self):
        """iterative on udp: the owner of the socket is ended too, and the next datagram has another."""
        daemon = self.superd({"owner": dict(listen="udp://127.0.0.1:0", model="iterative", max_lifetime="500ms",
                                            exec=[handler("probe"), "--receive", "0"])})
        client = self.client(daemon.address("owner"))
        client.send(b"x")
        first = Report(client.recv(65536)).pid
        self.eventually(lambda: not process.alive(first), "ended at its age", timeout=10)
        client.send(b"x")
        self.assertNotEqual(Report(client.recv(65536)).pid, first)

    def test_the_ladder_applies(self):
        """A handler that ignores TERM past its lifetime is killed after stop_timeout."""
        daemon = self.superd({"held": dict(listen="tcp://127.0.0.1:0", model="fork", max_lifetime="200ms",
                                           stop_timeout="400ms",
                                           exec=[handler("probe"), "--hold", "--ignore", str(int(signal.SIGTERM))])})
        begin = time.monotonic()
        with connect(daemon.address("held")) as client:
            Reader(client).rest()
        self.assertGreaterEqual(time.monotonic() - begin, 0.55)


class Failures(SuperdCase):
    def test_handler_removed_after_load(self):
        """A handler that is gone when its client comes: the log names the step and the reason, only that client
        loses, other services and, once it is back, the service itself go on."""
        for model in ("fork", "iterative", "delayed", "prefork"):
            with self.subTest(model=model):
                daemon = self.prepare()
                script = daemon.script("handler", "#!/bin/sh\necho here\n")
                daemon.service("it", listen="tcp://127.0.0.1:0", model=model, exec=[script])
                daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])
                daemon.start()
                uri = daemon.address("it")
                self.assertEqual(exchange(uri), b"here\n")
                os.rename(script, script + ".away")
                since = daemon.mark()
                self.assertEqual(self.lost(uri), b"")
                record = daemon.wait_for(lambda r: r["level"] in ("error", "err"), service="it", since=since)
                self.assertEqual(record["step"], "exec")
                self.assertIn("No such file or directory", record["message"])
                self.assertEqual(self.converse(daemon.address("cat")), b"hello")
                os.rename(script + ".away", script)
                self.eventually(lambda uri=uri: self.lost(uri) == b"here\n", "served again")

    @staticmethod
    def lost(uri):
        try:
            return exchange(uri)
        except ConnectionError:
            return b""

    def test_bad_interpreter(self):
        """A script whose interpreter has disappeared fails at exec and is reported."""
        daemon = self.prepare()
        interpreter = daemon.script("interpreter", "#!/bin/sh\n")
        script = daemon.script("handler", f"#!{interpreter}\n")
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[script])
        daemon.start()
        os.unlink(interpreter)
        self.assertEqual(self.lost(daemon.address("it")), b"")
        record = daemon.wait_for(lambda r: r["level"] in ("error", "err"), service="it")
        self.assertEqual(record["step"], "exec")

    def test_working_directory_removed_after_load(self):
        """A working directory that is gone is reported as the step that failed."""
        daemon = self.prepare()
        folder = daemon.shared("work")
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"], working_directory=folder)
        daemon.start()
        self.assertEqual(self.converse(daemon.address("it")), b"hello")
        os.rmdir(folder)
        since = daemon.mark()
        self.assertEqual(self.lost(daemon.address("it")), b"")
        record = daemon.wait_for(lambda r: r["level"] in ("error", "err"), service="it", since=since)
        self.assertNotEqual(record["step"], "exec")
        self.assertIn("No such file or directory", record["message"])

    def test_abnormal_ends_are_logged(self):
        """log.connections = "failures" logs a handler that is killed or exits with a status, not a clean end."""
        daemon = self.prepare()
        killed = daemon.script("killed", "#!/bin/sh\nkill -SEGV $$\n")
        failed = daemon.script("failed", "#!/bin/sh\nexit 3\n")
        for name, path in (("killed", killed), ("failed", failed), ("clean", "true")):
            daemon.service(name, listen="tcp://127.0.0.1:0", model="fork", exec=[path])
        daemon.start()
        for name in ("clean", "killed", "failed"):
            self.lost(daemon.address(name))
        record = daemon.wait_for(lambda r: "child_pid" in r, service="failed")
        self.assertEqual((str(record["status"]), record["ended"]), ("3", "exit"))
        self.assertTrue(record["message"].endswith(": exit status 3"), record["message"])
        record = daemon.wait_for(lambda r: "child_pid" in r and "peer" in r, service="killed")
        self.assertEqual((str(record["status"]), record["ended"]), (str(int(signal.SIGSEGV)), "signal"))
        self.assertTrue(record["message"].endswith(": killed by SIGSEGV"), record["message"])
        self.assertFalse(daemon.find(lambda r: r.get("service") == "clean" and "child_pid" in r
                                     and r["level"] != "debug"))

    def test_few_descriptors(self):
        """With 48 descriptors superd serves 200 clients at the same time, and neither ends nor spins."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                                          limits={"instances": 1000})}, prefix=["prlimit", "--nofile=48:48"])
        uri = daemon.address("cat")
        clients = []
        for _ in range(200):
            clients.append(self.client(uri))
            clients[-1].sendall(b"x\n")
        for client in clients:
            self.assertEqual(Reader(client).line(), b"x")
