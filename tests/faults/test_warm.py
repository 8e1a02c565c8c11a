# SPDX-License-Identifier: MIT
"""Warm handlers under scarcity, stopped, and reached for by a process of their user: no client is lost or served
wrong."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import unittest

from faults import figure
from harness import Reader, connect, process
from harness.daemon import PATIENCE
from harness.installation import python
from warming import PYTHON, WarmCase

HERE = os.path.dirname(os.path.abspath(__file__))
RARE = "news"  # a user of every Debian that no other test has, so that its processes can be counted
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}
needs_root = unittest.skipUnless(os.geteuid() == 0, "needs root: handlers are of another user than superd")
HUNGRY = """import resource, sys
own = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (own, own))
"""


class Limits(WarmCase):
    def test_no_memory_to_park_in(self):
        """Where the handler's address space has no room for what parking takes, clients are served as without, and the
        reason is told."""
        daemon = self.start(lambda d: [PYTHON, self.python(d, start=HUNGRY)])
        told = daemon.wait_for(lambda r: "instead of \"clone\"" in r["message"])
        self.assertRegex(told["message"], "\"off\" instead of \"clone\": it refused the memory that parking takes")
        self.assertEqual(self.warmth(daemon)["fallbacks"]["no_room"], 1)
        self.ask_at_once(daemon.address("warm"), 20)

    def test_limited_memory_holds_for_each_copy(self):
        """rlimits.as of a handler is each copy's own: one that takes too much fails by itself."""
        start = "import sys\ndef more(line):\n    return 'x' * (200 << 20) if line == 'much\\n' else ''\n"
        daemon = self.prepare()
        script = daemon.write("echo.py", start + "line = sys.stdin.readline()\nmore(line)\n"
                              "sys.stdout.write('one own ' + line)\n")
        self.service(daemon, [PYTHON, script], rlimits={"as": "150M"})
        daemon.start()
        template = self.template(daemon)
        uri = daemon.address("warm")
        for _ in range(4):
            self.assertEqual(self.ask(uri, "much"), [])
            self.assertEqual(self.ask(uri), ["one", "own", "hello"])
        self.assertEqual(self.template(daemon), template)

    @needs_root
    def test_few_processes(self):
        """With room for few processes of their user, all of more clients than that are served, one after another, and
        no template or level is lost."""
        daemon = self.start(lambda d: [self.shell(d)], user=RARE, rlimits={"nproc": 6})
        template = self.template(daemon)
        self.ask_at_once(daemon.address("warm"), 40)
        self.assertEqual(self.template(daemon), template)
        self.parked(daemon, 1)
        self.ask_at_once(daemon.address("warm"), 10)

    @needs_root
    def test_no_process_for_a_template(self):
        """Without room for a template and its tracer clients wait only as they do under fork; once there is room they
        are served."""
        blocker = subprocess.Popen(["sleep", "60"], user=RARE, extra_groups=[])
        self.addCleanup(lambda: (blocker.kill(), blocker.wait()))
        daemon = self.start(lambda d: [self.shell(d)], user=RARE, rlimits={"nproc": 1})
        client = self.client(daemon.address("warm"))
        client.sendall(b"hello\n")
        daemon.wait_for(lambda r: r["level"] in ("warning", "notice", "error") and r.get("service") == "warm")
        self.assertIsNone(daemon.process.poll())
        blocker.kill()
        blocker.wait()
        self.assertEqual(Reader(client).line().split()[0::2], [b"one", b"hello"])


class StoppedByItsUser(WarmCase):
    def test_template(self):
        """A template that is stopped holds up nobody: who is past the parked ones is served by fork; it is replaced."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template, uri = self.template(daemon), daemon.address("warm")
        self.parked(daemon)
        os.kill(template, signal.SIGSTOP)
        begin = time.monotonic()
        self.ask_at_once(uri, 40)
        figure(f"{self.id()}: 40 clients were served in {time.monotonic() - begin:.2f} s")
        again = self.template(daemon, template)
        self.assertNotEqual(again, template)
        self.assertFalse(process.alive(template))
        self.ask_at_once(uri, 40)
        self.assertEqual(self.warmth(daemon)["renewals"]["ended"], 1)

    def test_tracer(self):
        """Whoever is to trace a template is stopped: it is given up, clients are served by fork, and superd ends when
        it is told to."""
        daemon = self.start(lambda d: [PYTHON, self.python(d, start="import time\ntime.sleep(1)")],
                            prefork={"warm_within": "1s"})

        def tracer():
            for pid in self.kinds(daemon, "template"):
                with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/status", encoding="ascii") as lines:
                    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid"))
            return 0
        pid = self.eventually(tracer, "a tracer")
        os.kill(pid, signal.SIGSTOP)
        try:
            self.ask_at_once(daemon.address("warm"), 4)
            told = daemon.wait_for(lambda r: "instead of \"clone\"" in r["message"])
            self.assertRegex(told["message"], "it was not ready in time")
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.wait(PATIENCE)
        finally:
            os.kill(pid, signal.SIGKILL)
        daemon.stop()

    def test_every_template(self):
        """Somebody stops each template as soon as it is there: all clients are served, and the level falls."""
        daemon = self.start(lambda d: [self.shell(d)])
        uri = daemon.address("warm")
        deadline, stopped = time.monotonic() + 6, set()
        while time.monotonic() < deadline:
            if template := self.warmth(daemon)["template"]:  # not one that is being started
                with contextlib.suppress(ProcessLookupError):
                    os.kill(template["pid"], signal.SIGSTOP)
                    stopped.add(template["pid"])
            self.ask_at_once(uri, 10)
        figure(f"{self.id()}: {len(stopped)} templates stopped")
        self.assertGreaterEqual(len(stopped), 2)


class FailingCalls(WarmCase):
    """Calls of the stub's that fail in the template or in its copies; strace makes them fail in every third."""

    FAILURES = {"clone": ("ENOMEM", "EAGAIN"), "setsid": ("EPERM",), "set_robust_list": ("ENOSYS",),
                "openat": ("EMFILE", "ENOENT"), "lseek": ("EINVAL",), "recvmsg": ("EINTR", "ENOMEM"),
                "sendto": ("ENOBUFS", "EPIPE"), "dup3": ("EBUSY",), "prctl": ("EINVAL",)}

    @contextlib.contextmanager
    def failing(self, pid, call, error):
        strace = subprocess.Popen(["strace", "-f", "-qq", "-o", os.devnull, "-p", str(pid), "-e", f"trace={call}",
                                   "-e", f"inject={call}:error={error}:when=1+3"], stderr=subprocess.PIPE)
        try:
            # A template may end at once by what fails in it; so does strace then.
            self.eventually(lambda: process.status(pid).get("TracerPid", "0") != "0" or not process.alive(pid) or
                            strace.poll(), "strace has attached")
            if strace.poll():
                self.skipTest(f"strace cannot attach: {strace.stderr.read()}")
            yield
        finally:
            strace.terminate()
            strace.wait()
            strace.stderr.close()

    def test_none_is_served_wrong(self):
        """Whichever fails, every client gets its own line, and afterwards superd serves as ever."""
        if os.geteuid() != 0 or shutil.which("strace") is None:
            self.skipTest("needs root and strace")
        wrong = {}
        for call, errors in self.FAILURES.items():
            for error in errors:
                daemon = self.start(lambda d: [self.shell(d)])
                uri, template = daemon.address("warm"), self.template(daemon)
                self.parked(daemon)
                with self.failing(template, call, error):
                    clients = [self.client(uri) for _ in range(12)]
                    for number, client in enumerate(clients):
                        client.sendall(f"line-{number}\n".encode())
                    answers = []
                    for client in clients:
                        try:
                            answers.append(Reader(client).line().decode().split()[2:])
                        except OSError as failed:
                            answers.append(failed)
                if answers != [[f"line-{number}"] for number in range(12)]:
                    wrong[f"{call} {error}"] = answers
                self.ask_at_once(uri, 10)

                def ends():
                    service = self.status(daemon)["services"][0]
                    return service["handlers"] == 0 and service["exits"]
                # None waits for what another one has read.
                exits = self.eventually(ends, f"{call} {error}: all handlers have left")
                self.assertEqual((exits["ok"], sum(exits.values())), (22, 22), f"{call} {error}")
                warm = self.warmth(daemon)
                figure(f"{call} {error}: {warm['in_force']}, {warm['reason']}, {warm['copies']} copies, "
                       f"{warm['started']} started")
                daemon.stop()
        self.assertEqual(wrong, {})


@needs_root
class ReachedFor(WarmCase):
    def attacker(self, daemon, name, *words):
        for file in (name, "reach.py"):
            shutil.copyfile(os.path.join(HERE, file), daemon.path(file))
        running = subprocess.Popen([python(), daemon.path(name), *map(str, words)], stdout=subprocess.PIPE, text=True,
                                   cwd="/", **NOBODY)

        def end():
            running.kill()
            running.wait()
            running.stdout.close()
        self.addCleanup(end)
        return running

    def test_what_waits(self):
        """A process of their user takes no descriptor of a template or of a parked copy, does not trace it or look into
        it, and clients are served as before."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        pids = [self.template(daemon), *self.parked(daemon)]
        self.assertEqual(process.status(pids[0])["Uid"].split()[0], str(self.handler_uid))
        for pid in pids:
            lines = self.attacker(daemon, "neighbours_reach.py", pid).communicate(timeout=60)[0].splitlines()
            self.assertEqual(lines.pop(), "done")
            self.assertEqual([line for line in lines if line.split()[1] not in ("EPERM", "EACCES")], [])
        self.ask_at_once(daemon.address("warm"), 20)
        self.assertEqual(self.template(daemon), pids[0])

    def test_what_starts(self):
        """Somebody of their user traces and stops whatever superd starts, as soon as it is there: that takes no
        channel, and each client gets its own line."""
        for value in ("start", "clone"):
            with self.subTest(warm=value):
                daemon = self.start(lambda d: [PYTHON, self.python(d)], value)
                attackers = [self.attacker(daemon, "warm_reach.py", daemon.pid, 3) for _ in range(2)]
                uri, served = daemon.address("warm"), 0
                while any(attacker.poll() is None for attacker in attackers):
                    self.ask_at_once(uri, 5)
                    served += 5
                lines = [line for attacker in attackers for line in attacker.stdout.read().splitlines()]
                figure(f"{self.id()}, {value}: {served} clients; {', '.join(lines)}; {self.warmth(daemon)['reason']}")
                self.assertEqual([line for line in lines if "taken" in line], [])
                self.assertEqual(lines.count("done"), 2)
                self.ask_at_once(uri, 20)
                daemon.stop()

    def test_a_copy_that_looks_for_others(self):
        """A copy that serves its client has no other descriptor than that and its script's, so it learns nothing of
        later clients; of its environment none is of an earlier one."""
        tell = ("import os, sys\nline = sys.stdin.readline()\n"
                "names = sorted((int(n), os.readlink(f'/proc/self/fd/{n}')) for n in os.listdir('/proc/self/fd')\n"
                "               if os.path.islink(f'/proc/self/fd/{n}'))\n"
                "sockets = [n for n, name in names if name.startswith('socket:')]\n"
                "others = [n for n, name in names if n > 2 and not name.startswith('/')]\n"
                "remote = [name for name in os.environ if 'REMOTE' in name]\n"
                "sys.stdout.write(f'{sockets} {others} {remote} {line}')\n")
        daemon = self.start(lambda d: [PYTHON, d.write("tell.py", tell)])
        self.template(daemon)
        self.parked(daemon)
        clients = [connect(daemon.address("warm")) for _ in range(20)]
        for client in clients:
            client.sendall(b"hello\n")
        # stderr is superd's pipe.
        self.assertEqual({Reader(client).line() for client in clients}, {b"[0, 1] [] [] hello"})
        for client in clients:
            client.close()
