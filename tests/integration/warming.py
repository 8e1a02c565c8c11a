# SPDX-License-Identifier: MIT
"""Services with warm handlers, as tests use them."""

import concurrent.futures
import contextlib
import os
import threading
import time

from harness import Reader, connect
from upgrading import UpgradeCase

PYTHON = "/usr/bin/python3"
PAUSE = 0.03  # of one of several clients of a load, so that it leaves something of the processors
ECHO = """import os, sys
line = sys.stdin.readline()
sys.stdout.write("{} {} {}".format(WORD, os.getpid(), line))
"""
SHELL = """#!/bin/sh
word=%s
read -r line
echo "$word $$ $line"
"""


class WarmCase(UpgradeCase):  # has no tests itself
    """`self.warm(...)` gives a daemon with one service, "warm"."""

    def python(self, daemon, word="one", name="echo.py", start=""):
        """A script that answers with a word, its pid, and the line that it was sent."""
        return daemon.write(name, f"WORD = {word!r}\n{start}\n{ECHO}")

    def shell(self, daemon, word="one", name="echo.sh"):
        return daemon.script(name, SHELL % word)

    def service(self, daemon, exec_, value="clone", prefork=None, **keys):
        settings = {"warm": value, "min_spare": 2, "max_spare": 8}
        settings.update(prefork or {})
        keys.setdefault("limits", {"instances": 400})
        daemon.service("warm", listen="tcp://127.0.0.1:0", model="prefork", exec=exec_, prefork=settings, **keys)

    def start(self, exec_of, value="clone", prefork=None, config=None, **keys):
        """`exec_of`: from the daemon to exec."""
        daemon = self.prepare(config=config)
        self.service(daemon, exec_of(daemon), value, prefork, **keys)
        return daemon.start()

    def status(self, daemon):
        return daemon.ask("status", service="warm")

    def warmth(self, daemon):
        return self.status(daemon)["services"][0]["warm"]

    def kinds(self, daemon, kind):
        return [one["pid"] for one in self.status(daemon)["processes"] if one["kind"] == kind]

    def template(self, daemon, but=0):
        """The template's pid, once there is one, and another than `but`."""
        def known():
            warm = self.warmth(daemon)
            if warm is None:  # its sandbox is being made
                return 0
            self.assertEqual(warm["in_force"], "clone", warm["reason"])
            pid = (warm["template"] or {"pid": 0})["pid"]
            return pid if pid != but else 0
        return self.eventually(known, "a template")

    def parked(self, daemon, least=2):
        def known():
            pids = self.kinds(daemon, "parked")
            spare = self.status(daemon)["services"][0]["spare"]
            return pids if len(pids) >= least and spare >= least else None
        return self.eventually(known, "parked processes")

    def ask(self, uri, text="hello"):
        """The words of an answer; [] where none came."""
        with contextlib.suppress(ConnectionError):
            with connect(uri) as client:
                client.sendall(text.encode() + b"\n")
                return Reader(client).line().decode().split()
        return []

    def ask_at_once(self, uri, count):
        """`count` clients, all connected before the first is answered; each has to get its own line back."""
        clients = [connect(uri) for _ in range(count)]
        try:
            for number, client in enumerate(clients):
                client.sendall(f"line-{number}\n".encode())
            answers = [Reader(client).line().decode().split() for client in clients]
        finally:
            for client in clients:
                client.close()
        self.assertEqual([answer[2] for answer in answers], [f"line-{number}" for number in range(count)])
        return answers

    @contextlib.contextmanager
    def load(self, uri, clients=4):
        """Clients one after the other, with little pauses, until the end of the block. Gives a list of (time, words)."""
        answers, over = [], threading.Event()

        def one():
            while not over.wait(PAUSE):
                answers.append((time.monotonic(), self.ask(uri)))

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(one) for _ in range(clients)]
            try:
                yield answers
            finally:
                over.set()
        for each in running:
            each.result()

    def check_all_answered(self, answers):
        self.assertGreater(len(answers), 20)
        self.assertEqual([words for _, words in answers if len(words) != 3 or words[2] != "hello"], [])


def is_there(pid):
    return os.path.exists(f"/proc/{pid}")
