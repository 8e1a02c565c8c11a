# SPDX-License-Identifier: MIT
"""superd --serve: one service from the command line, and no file."""

import os
import signal
import subprocess

from harness import exchange
from harness.daemon import PATIENCE
from harness.loopback import own_loopback
from upgrading import Session, UpgradeCase

HELLO = "#!/bin/sh\necho hello\n"


class Serve(UpgradeCase):
    def prepare(self, words, **options):
        """A superd whose command line these words end, in a folder with hello.sh."""
        daemon = super().prepare(arguments=words, **options)
        daemon.command = lambda *more: [daemon.installation.superd, *more]
        daemon.prefix = ["env", "-C", daemon.directory]
        daemon.script("hello.sh", HELLO)
        return daemon

    def serve(self, *words, **options):
        return self.prepare(words, **options).start()

    def run_superd(self, *words):
        """(exit status, output) of a superd that does not get to serve."""
        daemon = self.prepare(())
        done = subprocess.run([daemon.installation.superd, *words], env=daemon.environment, cwd=daemon.directory,
                              timeout=PATIENCE, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    def test_streams_and_datagrams(self):
        """A program in the current folder serves at several addresses at once; the log tells which port it got."""
        daemon = self.prepare(())
        path = os.path.join(daemon.directory, "socket")
        daemon.arguments = ["--serve", "tcp://127.0.0.1:0", f"unix://{path}", "--serve", "tcp://[::1]:0", "--set",
                            "environment.WORD=42", "--", "./hello.sh"]
        daemon.script("hello.sh", "#!/bin/sh\necho \"hello $WORD $SUPERD_SERVICE\"\n")
        daemon.start()
        addresses = daemon.addresses("service")
        self.assertEqual(len(addresses), 3)
        for address in addresses:
            self.assertEqual(exchange(address), b"hello 42 service\n", address)

    def test_datagrams(self):
        """Without another model a datagram has a handler of its own, as under fork."""
        daemon = self.serve("--serve", f"udp://{own_loopback()}:7860", "--", "tr", "a-z", "A-Z")
        client = self.client(daemon.address("service"))
        client.send(b"hello")
        self.assertEqual(client.recv(100), b"HELLO")

    def test_words_of_the_program(self):
        """Everything after the first -- is the program's, whatever it looks like, before and after an upgrade."""
        words = ["--", "--take-over", "7", "--prove", "--serve", "a b"]
        daemon = self.serve("--serve", "tcp://127.0.0.1:0", "--", "sh", "-c", 'echo "$*"', "sh", *words)
        said = " ".join(words).encode() + b"\n"
        self.assertEqual(exchange(daemon.address("service")), said)
        self.upgrade(daemon)
        daemon.reload()
        self.assertEqual(exchange(daemon.address("service")), said)

    def test_no_file_and_no_control_socket(self):
        """Neither definitions nor superd.toml are read, and there is no control socket that nobody asked for."""
        runtime = None
        daemon = self.prepare(("--serve", "tcp://127.0.0.1:0", "--", "./hello.sh"))
        runtime = daemon.shared("runtime")
        daemon.service("broken", "nothing of this is right")
        del daemon.environment["SUPERD_CONTROL"]
        daemon.environment["XDG_RUNTIME_DIR"] = runtime
        daemon.start()
        self.assertEqual(exchange(daemon.address("service")), b"hello\n")
        self.assertEqual(os.listdir(runtime), [])
        self.assertFalse([r for r in daemon.records if "control" in r["message"]], daemon.records)

    def test_control_socket(self):
        """With --control superctl sees it as any service."""
        daemon = self.prepare(())
        daemon.arguments = ["--control", daemon.control, "--serve", "tcp://127.0.0.1:0", "--set", "limits.instances=7",
                            "--", "./hello.sh"]
        daemon.start()
        status = self.superctl(daemon, "status", "service")
        self.assertRegex(status, r"^service\n +state +listening")
        self.assertIn("0 of 7", status)
        self.superctl(daemon, "reload")

    def test_errors(self):
        """All errors at once, each with the command line and a caret below the argument; exit status 1."""
        status, said = self.run_superd("--serve", "tcp://127.0.0.1:x", "--set", "model=frok", "--", "./nothing")
        self.assertEqual(status, 1, said)
        line = "    1 | superd --serve tcp://127.0.0.1:x --set model=frok -- ./nothing\n"
        self.assertIn(": error: model \"frok\" is not one of", said)
        self.assertIn(line + "      |" + " " * 46 + "^^^^\n", said)
        self.assertIn(line + "      |" + " " * 54 + "^^^^^^^^^\n", said)
        self.assertIn("nothing\" does not exist\n", said)
        self.assertEqual(said.count("command line:1:"), 3, said)
        self.assertIn("3 errors in the command line", said)

    def test_a_port_below_1024(self):
        """Who may not bind it is told what it takes."""
        if os.geteuid() != 0:
            self.skipTest("root makes the network namespace, in which such ports are root's")
        daemon = self.prepare(("--serve", "tcp://*:79", "--", "cat"))
        daemon.prefix = ["unshare", "--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        daemon.start()
        self.assertIn("CAP_NET_BIND_SERVICE", daemon.wait_for(message="waiting for tcp://*:79: bind [::]:79: Perm")["message"])

    def test_check(self):
        """--check judges the command line and starts nothing."""
        words = ("--serve", "tcp://127.0.0.1:1", "--", "./hello.sh")
        self.assertEqual(self.run_superd("--check", *words), (0, "1 service, no errors\n"))
        status, said = self.run_superd("--check", "--set", "limits.instances=many", *words)
        self.assertEqual(status, 1)
        self.assertIn("^^^^\n1 error\n", said)

    def test_wrong_usage(self):
        """Exit status 2, with a sentence about what is missing."""
        for words, why in ((("--serve", "tcp://127.0.0.1:1"), "--serve needs a program"),
                           (("--serve", "tcp://127.0.0.1:1", "--"), "--serve needs a program"),
                           (("--", "./hello.sh"), "the program that --serve serves"),
                           (("--set", "model=fork", "--", "x"), "--serve"),
                           (("--serve", "--", "x"), "--serve"),
                           (("--conf-dir", "x", "--serve", "tcp://127.0.0.1:1", "--", "x"), "--conf-dir")):
            with self.subTest(words=words):
                status, said = self.run_superd(*words)
                self.assertEqual(status, 2, said)
                self.assertIn(why, said)

    def test_hup_looks_the_program_up_again(self):
        """A reload finds that the program has gone, and that it is back; clients are served meanwhile as they were."""
        daemon = self.serve("--serve", "tcp://127.0.0.1:0", "--", "./hello.sh")
        os.rename(daemon.path("hello.sh"), daemon.path("aside"))
        since = daemon.mark()
        daemon.reload(refused=True)
        self.assertIn("does not exist", daemon.wait_for(message="command line:1:", since=since)["message"])
        os.rename(daemon.path("aside"), daemon.path("hello.sh"))
        daemon.reload()
        self.assertEqual(exchange(daemon.address("service")), b"hello\n")

    def test_upgrade(self):
        """An upgrade keeps the socket, the session and where a program without a way to it is looked up."""
        daemon = self.serve("--serve", "tcp://127.0.0.1:0", "--", "cat")
        address = daemon.address("service")
        session = Session(self.client(address))
        session.goes_on(self, b"before")
        self.upgrade(daemon)
        session.goes_on(self, b"after")
        daemon.reload()
        session.goes_on(self, b"reloaded")
        self.assertEqual(self.converse(address), b"hello")

    def test_watch(self):
        """With --watch the program is looked up again when its file has changed; what is written beside it does not
        count."""
        daemon = self.serve("--watch", "--serve", "tcp://127.0.0.1:0", "--", "./hello.sh")
        since = daemon.mark()
        daemon.write("other", "")
        os.unlink(daemon.path("hello.sh"))
        daemon.wait_for(message="reload refused", since=since)
        daemon.process.send_signal(signal.SIGUSR1)
        told = daemon.wait_for(message="status: the last reload was refused", since=since)["message"]
        self.assertIn("hello.sh", told)
        daemon.script("hello.sh", "#!/bin/sh\necho again\n")
        daemon.wait_for(message="reloaded", since=since)
        self.assertEqual(exchange(daemon.address("service")), b"again\n")
