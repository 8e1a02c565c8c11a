# SPDX-License-Identifier: MIT
"""superctl top in a real terminal: tmux."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess

from control import SUPERCTL, Control
from harness import Reader, process

TCP = "tcp://127.0.0.1:0"


class Top(Control):
    def setUp(self):
        super().setUp()
        if not shutil.which("tmux"):
            self.skipTest("no tmux")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", *words], check=True, text=True,
                              stdout=subprocess.PIPE, env={**self.daemon.environment, "TERM": "screen", "LC_ALL": "C.UTF-8"}).stdout

    def terminal(self, width, height):
        """top in a terminal of this size, and a shell behind it that reports how it ended."""
        self.daemon = self.superd({
            "cat": dict(listen=TCP, model="fork", exec=["cat"]),
            "busy": dict(listen=TCP, model="fork", exec=["sh", "-c", "read x; echo x; while :; do :; done"]),
            "a-service-with-quite-a-long-name": dict(
                listen=[TCP, f"unix:///proc/{'x' * 60}/none"], model="fork", exec=["cat"])})
        self.socket = self.daemon.path("tmux")
        command = f"stty -a > {self.daemon.path('before')}; {shlex.quote(SUPERCTL)} top; echo left with $?; " \
                  f"stty -a > {self.daemon.path('after')}; cat"
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), "sh", "-c", command)
        self.addCleanup(self.end_tmux, *map(int, self.tmux("display-message", "-p", "#{pid} #{pane_pid}").split()))
        self.see("PEER")

    def end_tmux(self, server, session):
        """With all that runs in it: superctl needs its time to see that its terminal has gone."""
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], stderr=subprocess.DEVNULL, check=False)
        os.waitpid(server, 0)  # it has left its parent, and so is ours
        self.eventually(lambda: not [p for p in process.processes() if p.session == session and p.state not in "ZX"],
                        "what ran in the terminal has left")

    def served(self, name):
        client = self.client(self.daemon.address(name))
        client.sendall(b"x\n")
        self.assertEqual(Reader(client).line(), b"x")
        return client

    def screen(self):
        return self.tmux("capture-pane", "-p").split("\n")

    def see(self, pattern):
        """The screen, once a line of it matches."""
        return self.eventually(lambda: (s := self.screen()) and any(re.search(pattern, line) for line in s) and s,
                               pattern)

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def rows(self):
        """(service, pid) of each connection, from top to bottom."""
        lines = self.screen()
        start = next(i for i, line in enumerate(lines) if "PEER" in line)
        found = [re.match(r"(\S+) +(?:handler +)?(\d+) ", line) for line in lines[start + 1:]]
        return [(match[1], int(match[2])) for match in found if match]

    def restored(self):
        """The terminal is restored, and so is its content."""
        self.see("left with 0")
        before, after = (pathlib.Path(self.daemon.path(name)) for name in ("before", "after"))
        self.eventually(lambda: after.exists() and after.read_text().endswith("\n"), "stty")
        self.assertEqual(before.read_text(), after.read_text())
        self.assertEqual(self.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}").strip(), "1 0")

    def test_shows_sorts_and_leaves(self):
        """Services and connections are shown; c and p sort; q quits and gives the terminal back."""
        self.terminal(100, 30)
        idle = [self.served("cat") for _ in range(2)]
        self.served("busy")
        self.see(r"^cat +listening .* 2/256")
        self.eventually(lambda: len(self.rows()) == 3 and self.rows()[0][0] == "busy", "the busy one is first")
        line = next(line for line in self.screen() if line.startswith("busy") and "handler" in line)
        self.assertRegex(line, r"127\.0\.0\.1:\d+ +\S+ +\d+\.\d +\d\S*[KMG]$")
        self.assertFalse([line for line in self.screen() if line.startswith("NAME") and line.endswith("…")])
        self.keys("n")
        self.eventually(lambda: self.rows()[0][0] == "busy" and [r[0] for r in self.rows()[1:]] == ["cat"] * 2, "by name")
        self.keys("p")
        self.eventually(lambda: self.rows() == sorted(self.rows(), key=lambda row: row[1]), "by pid")
        self.assertEqual(len(idle), 2)
        self.keys("q")
        self.restored()

    def test_ends_one_handler(self):
        """k asks, y ends the selected handler and no other; n does not."""
        self.terminal(100, 30)
        clients = [self.served("cat") for _ in range(2)]
        self.keys("p")
        self.eventually(lambda: len(self.rows()) == 2, "both")
        pids = sorted(child.pid for child in self.daemon.children())
        self.keys("Down")
        self.keys("k")
        self.see(rf"^End handler {pids[1]} of cat, client 127\.0\.0\.1:\d+\? y/n$")
        self.keys("n")
        self.see("q quit")
        self.assertEqual(len(self.daemon.children()), 2)
        self.keys("k")
        self.see(r"^End handler")
        self.keys("y")
        self.eventually(lambda: [child.pid for child in self.daemon.children()] == pids[:1], "one is left")
        self.see(f"{pids[1]} was asked to leave")
        self.assertEqual(len(clients), 2)

    def test_fits_its_terminal(self):
        """No line is longer than a small terminal is wide, the titles stay, and a change of size is followed."""
        self.terminal(60, 16)
        clients = [self.served("cat") for _ in range(20)]
        self.see(r"^cat +listening")
        self.eventually(lambda: len(self.rows()) >= 3, "connections")
        lines = self.screen()
        self.assertLessEqual(len("\n".join(lines).rstrip("\n").split("\n")), 16)
        # With -J, a line that the terminal had to wrap is one line again.
        for line in self.tmux("capture-pane", "-p", "-J").split("\n"):
            self.assertLessEqual(len(line.rstrip()), 60, line)
        self.assertRegex("\n".join(lines), r"(?m)^SERVICE.*PID.*PEER.*AGE.*CPU%.*MEMORY")
        self.assertRegex("\n".join(lines), r"q quit")
        self.assertEqual(self.tmux("display-message", "-p", "#{pane_height} #{history_size}").strip(), "16 0")
        self.tmux("resize-window", "-x", "120", "-y", "40")
        self.eventually(lambda: len(self.rows()) == 20, "all of them")
        self.assertEqual(len(clients), 20)

    def test_killed_by_a_signal(self):
        """TERM leaves the terminal as it was, after the end of superd too."""
        self.terminal(80, 24)
        top = self.eventually(
            lambda: [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self.is_top(pid)], "top runs")
        self.superctl(self.daemon, "stop")
        self.see("superd is not running")
        os.kill(top[0], signal.SIGTERM)
        self.restored()

    def test_interrupted(self):
        """Ctrl-C leaves the terminal as it was."""
        self.terminal(80, 24)
        self.keys("C-c")
        self.restored()

    def is_top(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/environ", "rb") as file:
                return words[:2] == [SUPERCTL.encode(), b"top"] and self.daemon.control.encode() in file.read()
        except OSError:
            return False
