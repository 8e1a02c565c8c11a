# SPDX-License-Identifier: MIT
"""The processes of a sandbox: the one that keeps it, and the one that starts handlers in it."""

import contextlib
import os
import signal
import textwrap
import threading

from harness import Reader, connect, exchange, handler, process
from harness.probe import Report
from sandboxing import PYTHON, TRY, SandboxCase, needs_root

STRICT = {"preset": "strict"}


class LifeCase(SandboxCase):  # has no tests itself
    @contextlib.contextmanager
    def load(self, uri):
        """Clients of superd-echo, one after the other, until the end of the block: each is answered. Gives their answers."""
        answers, over = [], threading.Event()

        def one():
            while not over.is_set():
                try:
                    answers.append(self.converse(uri))
                except OSError as error:
                    answers.append(error)

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertGreater(len(answers), 10)
        self.assertEqual(set(map(str, answers)), {str(b"hello")})


class Holders(LifeCase):
    def test_a_service_without_namespaces_has_none(self):
        """none and base start no process of superd's own for a service."""
        for preset in "none", "base":
            daemon = self.sandboxed({"preset": preset})
            self.assertEqual(self.attempt(daemon, "print('served')"), "served")
            self.assertEqual(self.pids(daemon, "holder") + self.pids(daemon, "launcher"), [])
            daemon.stop()

    def test_one_that_is_killed_is_made_again(self):
        """Clients that come meanwhile wait; nobody is refused, and the log says what has happened."""
        daemon = self.sandboxed(STRICT)
        for _ in range(3):
            first, since = self.holder(daemon), daemon.mark()
            os.kill(first, signal.SIGKILL)
            daemon.wait_for(lambda r: r["message"].startswith("superd-hold, process ") and "SIGKILL" in r["message"],
                            since=since)
            self.assertEqual(self.attempt(daemon, "print('served')"), "served")
            self.assertNotEqual(self.holder(daemon, but=first), first)
        self.assertEqual(self.status(daemon)["services"][0]["state"], "listening")

    def test_it_permits_itself_no_more_than_it_does(self):
        """Who of its user gets to write into it cannot act there without the filter of a handler."""
        for sandbox in STRICT, {"preset": "none", "private_tmp": True}:
            daemon = self.sandboxed(sandbox)
            with open(f"/proc/{self.holder(daemon)}/status", encoding="ascii") as status:
                self.assertIn("Seccomp:\t2\n", status.read())
            daemon.stop()

    def test_without_private_pids_handlers_outlive_it(self):
        """A handler that is busy goes on when the holder is killed."""
        daemon = self.sandboxed({"preset": "none", "private_tmp": True}, exec_=["superd-echo"])
        client = self.client(daemon.address("box"))
        client.sendall(b"one\n")
        reader = Reader(client)
        self.assertEqual(reader.line(), b"one")
        os.kill(self.holder(daemon), signal.SIGKILL)
        daemon.wait_for(lambda r: r["message"].startswith("superd-hold, process "))
        client.sendall(b"two\n")
        self.assertEqual(reader.line(), b"two")

    def test_one_that_is_killed_under_load(self):
        """Without private_pids no client notices."""
        for model in "fork", "iterative":
            daemon = self.sandboxed({"preset": "none", "private_tmp": True}, exec_=["superd-echo"], model=model)
            last = self.holder(daemon)
            with self.load(daemon.address("box")) as answers:
                for _ in range(4):
                    os.kill(last, signal.SIGKILL)
                    last = self.holder(daemon, but=last)
                    before = len(answers)
                    self.eventually(lambda: len(answers) > before + 4, "clients meanwhile")  # pylint: disable=W0640
            daemon.stop()

    def test_what_cannot_be_made_is_told(self):
        """A path that has gone: clients wait, status and log say which, and they are served once it is there."""
        daemon = self.prepare()
        path = daemon.shared("missing")
        self.box(daemon, {"preset": "none", "read_only_paths": [path]})
        daemon.start()
        os.kill(self.holder(daemon), signal.SIGKILL)
        os.rmdir(path)
        daemon.wait_for(lambda r: path in r["message"] and "its sandbox cannot be made" in r["message"])
        service = self.status(daemon)["services"][0]
        self.assertEqual(service["state"], "backoff")
        self.assertIn(path, service["reason"])
        client = self.client(daemon.address("box"))
        client.sendall(b"print('served')")
        client.shutdown(1)
        os.mkdir(path)
        self.assertEqual(Reader(client).rest(), b"served\n")
        daemon.wait_for(message="the sandbox is there again")

    def test_a_failed_step_names_itself(self):
        """superd-hold is not installed: so it is said, and clients wait."""
        daemon = self.prepare()
        os.unlink(daemon.path("programs/libexec/superd/superd-hold"))
        self.box(daemon, STRICT)
        daemon.start()
        daemon.wait_for(lambda r: "superd-hold is not installed" in r["message"])

    def test_reload(self):
        """A reload puts another sandbox in force for the next client; who is being served keeps the old one until he has
        gone, and so does its holder."""
        daemon = self.sandboxed({"preset": "none", "private_tmp": True}, exec_=["superd-echo"])
        first = self.holder(daemon)
        client = self.client(daemon.address("box"))
        client.sendall(b"one\n")
        reader = Reader(client)
        self.assertEqual(reader.line(), b"one")
        self.box(daemon, {"preset": "none", "private_tmp": True, "private_network": True}, exec_=["superd-echo"])
        daemon.reload()
        self.assertEqual(self.converse(daemon.address("box")), b"hello")
        second = self.holder(daemon, but=first)
        self.assertTrue(os.path.exists(f"/proc/{first}"))
        client.sendall(b"two\n")
        self.assertEqual(reader.line(), b"two")
        client.close()
        self.eventually(lambda: not os.path.exists(f"/proc/{first}"), "the old one has gone")
        self.box(daemon, {"preset": "none"}, exec_=["superd-echo"])
        daemon.reload()
        self.eventually(lambda: not os.path.exists(f"/proc/{second}"), "the last one has gone")
        self.assertEqual(self.converse(daemon.address("box")), b"hello")

    def test_upgrade(self):
        """An upgrade in place keeps holder, launcher and what is in the service's /tmp."""
        daemon = self.sandboxed(STRICT)
        self.attempt(daemon, "open('/tmp/kept', 'w').write('here')")
        holder = self.holder(daemon)
        launcher = self.eventually(lambda: self.pids(daemon, "launcher"), "a launcher")
        self.upgrade(daemon)
        self.assertEqual(self.attempt(daemon, "print(open('/tmp/kept').read())"), "here")
        self.assertEqual(self.holder(daemon), holder)
        self.assertEqual(self.pids(daemon, "launcher"), launcher)
        os.kill(holder, signal.SIGKILL)
        daemon.wait_for(lambda r: r["message"].startswith("superd-hold, process "))
        self.assertEqual(self.attempt(daemon, "print('served')"), "served")

    def test_nothing_stays(self):
        """When superd has ended, so have holder and launcher; what a handler has left lives on with its process 1."""
        daemon = self.sandboxed(STRICT)
        self.attempt(daemon, "print('served')")
        pids = [self.holder(daemon), *self.pids(daemon, "launcher")]
        daemon.stop()
        self.eventually(lambda: not any(is_running(pid) for pid in pids), "they are gone")


class Launchers(LifeCase):
    def launcher(self, daemon, but=0):
        def there():
            self.assertEqual(self.attempt(daemon, "print('served')"), "served")
            return next((pid for pid in self.pids(daemon, "launcher") if pid != but), None)
        return self.eventually(there, "a launcher")

    def test_it_starts_handlers_that_are_superds_children(self):
        """strict under fork: handlers come from the launcher, are superd's own children with a session of their own,
        and have nothing open but the connection and stderr."""
        daemon = self.sandboxed(STRICT)
        self.launcher(daemon)
        text = self.attempt(daemon, """
            import os
            print(os.getppid(), os.getsid(0) == os.getpid(), sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))
            print(os.environ['PROTO'], os.environ['TCPREMOTEIP'], os.environ['SUPERD_SERVICE'])
            """)
        self.assertEqual(text.splitlines(), ["0 True ['0', '1', '2'] 4", "TCP 127.0.0.1 box"])

    def test_a_handler_finds_what_it_finds_without_one(self):
        """Session, ids, mask, dispositions, limits, folder, words, variables and descriptors are the same under none,
        where superd starts the handler itself, and under strict, where the launcher does; stderr too."""
        facts = {}
        for preset in "none", "strict":
            daemon = self.sandboxed({"preset": preset}, exec_=[handler("probe"), "word", "--stderr", "told"],
                                    stderr="socket", rlimits={"nofile": 99, "core": 0}, umask="027", nice=3,
                                    environment={"KEY": "value"})
            uri = daemon.address("box")
            if preset == "strict":
                self.eventually(lambda u=uri, d=daemon: exchange(u) and self.pids(d, "launcher"), "a launcher")
            text = exchange(uri)
            self.assertTrue(text.startswith(b"told"), text[:40])
            report = Report(text[4:])
            self.assertEqual({report.facts["sid"], report.facts["pgrp"]}, {report.facts["pid"]})
            for name in "pid", "ppid", "sid", "pgrp":
                del report.facts[name]
            for name in "TCPLOCALPORT", "TCPREMOTEPORT", "REMOTE_PORT":
                self.assertRegex(report.environment.pop(name), r"^\d+$")
            descriptors = {number: [word for word in words if not word.startswith("ino=")]
                           for number, words in report.descriptors.items()}
            facts[preset] = (report.facts, report.arguments, report.environment, descriptors, report.limits)
            daemon.stop()
        self.assertEqual(facts["strict"], facts["none"])

    def test_each_handler_has_a_session_keyring_of_its_own(self):
        """Handlers that a launcher starts share no keys; where the user's quota of keys is used up, superd itself starts
        them, and each still has its own."""
        number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]  # keyctl
        tell = f"""
            import ctypes, os, sys
            libc = ctypes.CDLL(None, use_errno=True)
            print(os.getppid(), libc.syscall({number}, 0, -3, 0), libc.syscall({number}, 0, -3, 0), flush=True)
            """
        daemon = self.sandboxed(STRICT, exec_=[PYTHON, "-S", "-c", textwrap.dedent(tell) + "sys.stdin.read()"],
                                limits={"instances": 400})
        uri = daemon.address("box")

        def keyring(client):
            return Reader(client).line().split()[1]

        first = self.client(uri)
        if keyring(first) == b"-1":
            self.skipTest("this kernel has no keys, or none for these tests")
        self.eventually(lambda: self.pids(daemon, "launcher"), "a launcher")
        clients = [first] + [self.client(uri) for _ in range(6)]
        keyrings = [keyring(client) for client in clients[1:]]
        self.assertEqual(len(set(keyrings)), 6, keyrings)

    def test_what_it_starts_writes_to_the_log(self):
        """stderr = "log": what a handler of a launcher writes there is in the log, under the service's name."""
        daemon = self.sandboxed(STRICT)
        self.launcher(daemon)
        self.attempt(daemon, "import os; os.write(2, b'from a sandbox\\n')")
        daemon.wait_for(message="from a sandbox", service="box")

    def test_unix_sockets(self):
        """A client of a unix socket is known by its ids."""
        daemon = self.prepare()
        path = daemon.path("box.sock")
        daemon.service("box", listen=f"unix://{path}", model="fork", exec=TRY, sandbox=STRICT, socket={"mode": "0666"})
        daemon.start()
        program = b"import os; print(os.environ['UNIXREMOTEEUID'], os.environ['PROTO'])"
        expected = f"{os.geteuid()} UNIX\n".encode()
        self.eventually(lambda: exchange(f"unix://{path}", program) == expected and self.pids(daemon, "launcher"),
                        "a launcher")
        self.assertEqual(exchange(f"unix://{path}", program), expected)

    def test_upgrade_and_reload_under_load(self):
        """strict: clients come all the time while superd is upgraded and its definition changes; each is answered."""
        daemon = self.sandboxed(STRICT, exec_=["superd-echo"])
        uri = daemon.address("box")
        self.converse(uri)
        with self.load(uri):
            for more in range(1, 4):
                self.upgrade(daemon)
                self.box(daemon, STRICT, exec_=["superd-echo"], nice=os.nice(0) + more)
                daemon.reload()

    def test_who_is_held_is_served_when_workers_take_over(self):
        """A reload to handoff = "listen" has all who wait served by the old definition, its launcher included."""
        daemon = self.sandboxed(STRICT, exec_=["superd-echo"], limits={"per_source": 1})
        self.eventually(lambda: self.converse(daemon.address("box")) and self.pids(daemon, "launcher"), "a launcher")
        clients = [self.client(daemon.address("box")) for _ in range(4)]
        for client in clients:
            client.sendall(b"hello\n")
        self.assertEqual(Reader(clients[0]).line(), b"hello")
        self.eventually(lambda: self.status(daemon)["services"][0]["held"] == 3, "the others are held")
        self.box(daemon, STRICT, exec_=["superd-echo"], model="prefork", handoff="listen")
        daemon.reload()
        for client in clients[1:]:
            self.assertEqual(Reader(client).line(), b"hello")

    def test_few_descriptors(self):
        """rlimits.nofile leaves the launcher no number for a client: handlers are started without it."""
        for number in 3, 4, 5, 8:
            daemon = self.sandboxed(STRICT, exec_=[handler("probe")], rlimits={"nofile": number})
            for _ in range(5):
                self.assertEqual(Report(exchange(daemon.address("box"))).limits["nofile"], (str(number),) * 2)
            daemon.stop()

    def test_many_at_once(self):
        """200 clients at once are each answered with their own line."""
        daemon = self.sandboxed(STRICT, exec_=["superd-echo"], limits={"instances": 400})
        self.converse(daemon.address("box"))
        clients = [self.client(daemon.address("box")) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"%d\n" % number)
        for number, client in enumerate(clients):
            self.assertEqual(Reader(client).line(), b"%d" % number)
        self.assertEqual(self.status(daemon)["services"][0]["handlers"], 200)
        for client in clients:
            client.close()
        self.eventually(lambda: self.status(daemon)["services"][0]["handlers"] == 0, "all gone")

    def test_one_that_is_killed_or_stopped_loses_no_client(self):
        """Clients are served directly meanwhile, and by another launcher later."""
        daemon = self.sandboxed(STRICT)
        first = self.launcher(daemon)
        os.kill(first, signal.SIGSTOP)
        answers = []

        def one():
            answers.append(self.attempt(daemon, "print('served')"))

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, ["served"] * 8)
        daemon.wait_for(lambda r: "does not answer and is killed" in r["message"])
        second = self.launcher(daemon, but=first)
        os.kill(second, signal.SIGKILL)
        self.assertEqual(self.attempt(daemon, "print('served')"), "served")

    def test_a_program_that_cannot_be_executed(self):
        """The step names itself, the client is refused as under none, and a repaired program serves again."""
        daemon = self.prepare()
        program = daemon.script("program", f"#!/bin/sh\nexec {PYTHON} -c 'print(\"served\")'\n")
        self.box(daemon, STRICT, exec_=[program])
        daemon.start()
        uri = daemon.address("box")
        self.eventually(lambda: self.ask(uri) == b"served" and self.pids(daemon, "launcher"), "a launcher")
        os.chmod(program, 0o644)
        self.eventually(lambda: self.ask(uri) == b"", "a refusal")
        daemon.wait_for(lambda r: r["message"].endswith(f"cannot start {program}: exec: Permission denied"))
        os.chmod(program, 0o755)
        self.eventually(lambda: self.ask(uri) == b"served", "a handler")

    def ask(self, uri):
        with connect(uri) as client:
            return Reader(client).line()

    def test_limits_and_ends(self):
        """limits.instances, max_lifetime and superctl kill hold for what a launcher has started."""
        daemon = self.sandboxed(STRICT, exec_=["superd-echo"], limits={"instances": 2}, max_lifetime="3s")
        uri = daemon.address("box")
        self.converse(uri)
        self.eventually(lambda: self.converse(uri) and self.pids(daemon, "launcher"), "a launcher")
        first, second = self.client(uri), self.client(uri)
        for client in first, second:
            client.sendall(b"x\n")
            self.assertEqual(Reader(client).line(), b"x")
        self.eventually(lambda: self.status(daemon)["services"][0]["state"] == "full", "full")
        self.superctl(daemon, "kill", str(self.pids(daemon, "handler")[0]))
        self.eventually(lambda: self.status(daemon)["services"][0]["handlers"] == 0, "max_lifetime")
        self.assertEqual(self.status(daemon)["services"][0]["exits"]["stopped"], 2)

    @needs_root
    def test_others_of_its_user_cannot_take_from_it(self):
        """A handler of the same service can neither trace the launcher nor see its descriptors."""
        daemon = self.sandboxed({**STRICT, "syscalls": ["~@swap"], "protect_proc": "default"})
        self.launcher(daemon)
        text = self.attempt(daemon, """
            import os
            for name in os.listdir('/proc'):
                if not name.isdigit() or open(f'/proc/{name}/comm').read() != 'superd-launch\\n': continue
                try: print(os.listdir(f'/proc/{name}/fd'))
                except OSError as error: print(error.errno)
            """)
        self.assertEqual(text, "13")


class HoldersAsUser(Holders):
    as_user = "nobody"


class LaunchersAsUser(Launchers):
    as_user = "nobody"


def is_running(pid):
    return any(child.pid == pid and child.state not in "ZX" for child in process.children(os.getpid())) or (
        os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat", encoding="ascii").read().split(")")[1][:3])


assert TRY
