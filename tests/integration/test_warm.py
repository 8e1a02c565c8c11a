# SPDX-License-Identifier: MIT
"""Warm handlers: programs that are ready before their client comes, and copies of them."""

import json
import os
import signal
import time

from harness import Reader, process
from warming import PYTHON, WarmCase, is_there

# For long: SUPERD_WARM_RELOADS=100 SUPERD_WARM_UPGRADES=50 ctest --preset dev -R integration/warm.Changes --timeout 3600
RELOADS = int(os.environ.get("SUPERD_WARM_RELOADS", "10"))
UPGRADES = int(os.environ.get("SUPERD_WARM_UPGRADES", "5"))


class Clones(WarmCase):
    def test_copies_serve_clients_from_what_the_template_has_read(self):
        """clone: a Python script is started once; its copies, parked or made for a client, serve all that come, and
        status tells of it."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template = self.template(daemon)
        parked = self.parked(daemon)
        word, _, line = self.ask(daemon.address("warm"))
        self.assertEqual((word, line), ("one", "hello"))
        self.assertEqual(process.words(parked[0]), process.words(template))
        warm = self.warmth(daemon)
        self.assertEqual(warm["wanted"], "clone")
        self.assertGreater(warm["facts"]["files"], 3)
        self.assertEqual(warm["facts"]["threads"], 1)
        self.assertEqual(warm["renewals"], {"changed": 0, "aged": 0, "ended": 0, "crashed": 0})
        self.assertEqual(self.kinds(daemon, "template"), [template])
        text = self.superctl(daemon, "status", "warm")
        self.assertRegex(text, r"warm +clone, \d+ served by copies of \d+, started \S+ ago; it was ready after \S+, "
                               r"with \d+ files")

    def test_each_of_many_clients_gets_its_own_bytes(self):
        """clone: 100 clients at once are each answered with their own line by a process of their own, in Python and in
        a shell."""
        for of in (lambda d: [PYTHON, self.python(d)], lambda d: [self.shell(d)]):
            daemon = self.start(of)
            self.template(daemon)
            answers = self.ask_at_once(daemon.address("warm"), 100)
            self.assertEqual({answer[0] for answer in answers}, {"one"})
            self.assertGreater(self.warmth(daemon)["copies"], 20)
            daemon.stop()

    def test_a_copy_is_a_handler_like_any_other(self):
        """clone: limits.instances, max_lifetime, superctl kill and the exit counts hold for copies; waiting ones do not
        count."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)], prefork={"max_spare": 2}, limits={"instances": 3},
                            max_lifetime="5s")
        self.template(daemon)
        self.parked(daemon)
        self.assertEqual(self.status(daemon)["services"][0]["handlers"], 0)
        uri = daemon.address("warm")
        first, second = self.client(uri), self.client(uri)
        self.eventually(lambda: len(self.kinds(daemon, "handler")) == 2, "two handlers")
        victim = self.kinds(daemon, "handler")[0]
        self.superctl(daemon, "kill", str(victim))
        self.eventually(lambda: self.status(daemon)["services"][0]["handlers"] == 0, "max_lifetime")
        self.assertEqual(self.status(daemon)["services"][0]["exits"]["stopped"], 2)
        first.close()
        second.close()
        third = [self.client(uri) for _ in range(3)]
        self.eventually(lambda: self.status(daemon)["services"][0]["state"] == "full", "full")
        self.assertEqual(len(third), 3)

    def test_what_a_handler_finds(self):
        """start and clone: the connection on 0 and 1 (and on 2 under stderr = "socket"), with the client as its peer, and
        nothing else open; a session of its own; the protocol and the service's address, and nothing about a client, in
        the environment."""
        script = ("import json, os, socket, sys\nsys.stdin.readline()\n"
                  "same = {os.fstat(fd).st_ino for fd in (0, 1, 2)}\n"
                  "peer = socket.socket(fileno=os.dup(0)).getpeername()\n"
                  "found = {'peer': peer, 'files': [fd for fd in range(100) if os.path.exists(f'/proc/self/fd/{fd}')],"
                  " 'same': len(same), 'session': os.getsid(0) == os.getpid(), 'environment': dict(os.environ)}\n"
                  "print(json.dumps(found))\n")
        for value in "start", "clone":
            daemon = self.prepare()
            self.service(daemon, [PYTHON, daemon.write("finds.py", script)], value, stderr="socket")
            daemon.start()
            uri = daemon.address("warm")
            for waits in True, False:  # for it, or made for it
                if waits:
                    self.parked(daemon)
                client = self.client(uri)
                client.sendall(b"\n")
                found = json.loads(Reader(client).line())
                self.assertEqual(found["peer"], list(client.getsockname()))
                self.assertEqual(found["files"], [0, 1, 2])
                self.assertEqual((found["same"], found["session"]), (1, True))
                named = {name: text for name, text in found["environment"].items()
                         if name.startswith(("TCP", "REMOTE", "PROTO"))}
                self.assertEqual(named, {"PROTO": "TCP", "TCPLOCALIP": "127.0.0.1",
                                         "TCPLOCALPORT": uri.rpartition(":")[2]})
            daemon.stop()

    def test_superd_stops_with_all_of_them(self):
        """superd ends at once although templates and copies block all signals, and leaves no process."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        pids = [self.template(daemon), *self.parked(daemon)]
        began = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - began, 8)
        self.assertEqual([pid for pid in pids if is_there(pid)], [])

    def test_an_idle_warm_service_wakes_nobody(self):
        """clone: without clients neither superd nor template nor copies run."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        self.at_rest(daemon.pid, self.template(daemon), *self.parked(daemon))

    def test_waiting_copies_share_their_memory(self):
        """clone: 20 waiting copies take, by their proportional share, a quarter of what 20 handlers that have made their
        own start do."""
        def proportional(pid):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as text:
                return next(int(line.split()[1]) for line in text if line.startswith("Pss:"))

        taken = {}
        for value in "clone", "start":
            daemon = self.start(lambda d: [PYTHON, self.python(d)], value, {"min_spare": 20, "max_spare": 20})
            taken[value] = sum(proportional(pid) for pid in self.parked(daemon, 20))
            daemon.stop()
        self.assertLess(taken["clone"], 0.25 * taken["start"], taken)


class Starts(WarmCase):
    def test_each_process_makes_its_own_start_and_serves_one_client(self):
        """start: parked handlers have run up to their client, and 30 clients at once are served."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)], "start")
        pids = self.parked(daemon)
        self.assertIn(int(self.ask(daemon.address("warm"))[1]), pids)
        self.ask_at_once(daemon.address("warm"), 30)
        self.assertEqual(self.warmth(daemon)["in_force"], "start")
        self.assertEqual(self.warmth(daemon)["copies"], 0)
        self.parked(daemon)

    def test_a_program_with_threads_is_warm_by_its_own_start(self):
        """clone: a program that has threads cannot be copied, is told of once, and is served as with start."""
        threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
        daemon = self.start(lambda d: [PYTHON, self.python(d, start=threads)])
        told = daemon.wait_for(lambda r: "instead of \"clone\"" in r["message"])
        self.assertIn("\"start\" instead of \"clone\": it has threads", told["message"])
        self.parked(daemon)
        self.assertEqual(self.ask(daemon.address("warm"))[2], "hello")
        warm = self.warmth(daemon)
        self.assertEqual((warm["in_force"], warm["fallbacks"]["threads"]), ("start", 1))
        self.assertEqual(warm["facts"]["threads"], 2)


    def test_superd_stops_although_a_tracer_outlives_its_handler(self):
        """clone: superd ends while processes with threads, whose tracers stay with them, start, wait and serve: the last
        to be heard of is a channel that closes after its process has ended."""
        threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
        for _ in range(5):
            daemon = self.start(lambda d: [PYTHON, self.python(d, start=threads)])
            self.ask_at_once(daemon.address("warm"), 6)
            daemon.stop()


class Fallbacks(WarmCase):
    def falls(self, exec_of, reason, prefork=None):
        daemon = self.start(exec_of, prefork=prefork)
        told = daemon.wait_for(lambda r: "instead of \"clone\"" in r["message"])
        self.assertRegex(told["message"], "\"off\" instead of \"clone\": " + reason)
        self.assertEqual(self.ask(daemon.address("warm"))[2], "hello")
        self.assertEqual(self.warmth(daemon)["in_force"], "off")
        self.parked(daemon)
        self.ask_at_once(daemon.address("warm"), 20)
        self.assertEqual(len([r for r in daemon.records if "instead of" in r["message"]]), 1)
        return daemon

    def test_a_program_that_does_not_touch_its_client_in_time(self):
        """clone: one that takes longer than warm_within is served as without, from its first client on."""
        self.falls(lambda d: [PYTHON, self.python(d, start="import time\ntime.sleep(1)")],
                   "it did not touch its client in time", {"warm_within": "300ms"})

    def test_a_program_that_starts_another_first(self):
        """clone: one that forks before it touches its client is served as without."""
        self.falls(lambda d: [d.script("forks.sh", "#!/bin/sh\n/bin/true\nread -r line\necho one $$ $line\n")],
                   "it started another process before it touched its client")

    def test_a_program_with_set_id_bits(self):
        """clone: one that would lose its privilege is served as without."""
        if not self.root:
            self.skipTest("needs a program of root's with set-id bits")
        import shutil
        def copied(daemon):
            path = daemon.path("set-id")
            shutil.copy("/bin/dash", path)
            os.chmod(path, 0o4755)
            return [path, daemon.script("echo.sh", "read -r line\necho one $$ $line\n")]
        self.falls(copied, "it has a program with set-id bits")

    def test_superd_warm_that_is_not_there(self):
        """clone: without superd-warm clients are served as without, and superd says why."""
        daemon = self.prepare()
        os.unlink(daemon.path("programs/libexec/superd/superd-warm"))
        self.service(daemon, [PYTHON, self.python(daemon)])
        daemon.start()
        daemon.wait_for(lambda r: "superd-warm is not installed" in r["message"])
        self.assertEqual(self.ask(daemon.address("warm"))[2], "hello")
        self.parked(daemon)


class Renewals(WarmCase):
    def test_an_edited_script_is_served_within_a_second(self):
        """clone: of a script that is edited under load, in place or by renaming another over it, no old answer comes
        after a second, and no client goes without one."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template = self.template(daemon)
        self.parked(daemon)  # before the load, which leaves no pause for it
        with self.load(daemon.address("warm")) as answers:
            self.python(daemon, "two")  # renames
            renamed = time.monotonic()
            template = self.template(daemon, but=template)
            time.sleep(max(0, renamed + 1.5 - time.monotonic()))
            with open(daemon.path("echo.py"), "r+", encoding="ascii") as script:
                script.write(script.read().replace("two", "six"))  # appends
                script.seek(0)
                text = script.read()
                script.seek(0)
                script.truncate()
                script.write(text[len(text) // 2:])
            written = time.monotonic()
            self.template(daemon, but=template)
            time.sleep(max(0, written + 1.5 - time.monotonic()))
        self.check_all_answered(answers)
        late = {words[0] for at, words in answers if renamed + 1 < at < written - 0.05}
        self.assertEqual(late, {"two"})
        self.assertEqual({words[0] for at, words in answers if at > written + 1}, {"six"})
        self.assertGreaterEqual(self.warmth(daemon)["renewals"]["changed"], 2)

    def test_an_edited_module_is_served_within_a_second(self):
        """start and clone: a module that the script imports is watched like the script itself."""
        for value in "start", "clone":
            daemon = self.prepare()
            os.mkdir(daemon.path("lib"), 0o755)
            daemon.write("lib/word.py", "WORD = 'old'\n")
            script = daemon.write("main.py", "import sys\nsys.path.insert(0, %r)\nsys.dont_write_bytecode = True\n"
                                             "import os, word\nWORD = word.WORD\nline = sys.stdin.readline()\n"
                                             "print(WORD, os.getpid(), line)\n" % daemon.path("lib"))
            self.service(daemon, [PYTHON, script], value)
            daemon.start()
            self.parked(daemon)
            daemon.write("lib/word.py", "WORD = 'newer'\n")
            time.sleep(1)
            self.assertEqual(self.ask(daemon.address("warm"))[0], "newer")
            self.parked(daemon)
            self.assertEqual(self.ask(daemon.address("warm"))[0], "newer")
            daemon.stop()

    def test_a_switched_link_is_served_within_a_second(self):
        """start and clone: when a link on the way to the script is switched, in place or by renaming another over it,
        the other script is served; also where that happens while superd is upgraded."""
        for value in "start", "clone":
            daemon = self.prepare()
            for release in "123":
                os.makedirs(daemon.path(f"releases/{release}"), 0o755)
                self.python(daemon, f"release-{release}", name=f"releases/{release}/echo.py")
            os.symlink("releases/1", daemon.path("current"))
            self.service(daemon, [PYTHON, daemon.path("current/echo.py")], value)
            daemon.start()
            self.parked(daemon)
            self.assertEqual(self.ask(daemon.address("warm"))[0], "release-1")
            os.symlink("releases/2", daemon.path("new"))
            os.rename(daemon.path("new"), daemon.path("current"))
            time.sleep(1)
            self.assertEqual(self.ask(daemon.address("warm"))[0], "release-2")
            self.parked(daemon)
            self.assertEqual(self.ask(daemon.address("warm"))[0], "release-2")
            os.unlink(daemon.path("current"))
            os.symlink("releases/3", daemon.path("current"))
            self.upgrade(daemon)
            time.sleep(1)
            self.assertEqual(self.ask(daemon.address("warm"))[0], "release-3")
            self.assertGreaterEqual(self.warmth(daemon)["renewals"]["changed"], 2)
            daemon.stop()

    def test_max_age(self):
        """clone: a template older than max_age is replaced, and its copies with it."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)], prefork={"max_age": "700ms"})
        first = self.template(daemon)
        self.template(daemon, but=first)
        self.eventually(lambda: not is_there(first), "the old template gone")
        self.assertGreaterEqual(self.warmth(daemon)["renewals"]["aged"], 1)

    def test_a_copy_that_crashes_takes_its_template_with_it(self):
        """clone: after a copy has died by SEGV the next clients are served by copies of another template, which lies at
        other addresses."""
        daemon = self.start(lambda d: [PYTHON, d.write("crash.py", "import os, sys, signal\nline = sys.stdin.readline()\n"
                                                       "os.kill(os.getpid(), signal.SIGSEGV) if line == 'die\\n' else "
                                                       "print('one', os.getpid(), line)\n")])
        first = self.template(daemon)
        self.assertEqual(self.ask(daemon.address("warm"), "die"), [])
        self.template(daemon, but=first)
        self.eventually(lambda: not is_there(first), "the old template gone")
        self.assertEqual(self.warmth(daemon)["renewals"]["crashed"], 1)
        self.assertEqual(self.ask(daemon.address("warm"))[2], "hello")

    def test_too_many_renewals_lower_the_value(self):
        """clone: more than six renewals in a minute, and clients are served as with start, then as with off; superd says
        so, and nobody goes without an answer."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        uri = daemon.address("warm")
        self.template(daemon)
        for value in "start", "off":
            since = daemon.mark()

            def told():
                return daemon.find(lambda r: f"\"{value}\" instead" in r["message"], since)
            for number in range(12):
                self.parked(daemon, 1)
                self.python(daemon, f"one{number}")
                renewed = self.warmth(daemon)["renewals"]["changed"]
                self.assertEqual(self.ask(uri)[2], "hello")
                self.eventually(lambda: self.warmth(daemon)["renewals"]["changed"] >= renewed, "a renewal")
                if told():
                    break
            self.assertIn("more than six times", told()[0]["message"])
        self.assertEqual(self.ask(uri)[2], "hello")


class Deaths(WarmCase):
    def test_of_a_template_under_load(self):
        """clone: template and waiting copies are killed by SIGKILL, and stopped by SIGSTOP, under load: every client is
        answered, and a new template follows."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template = self.template(daemon)
        with self.load(daemon.address("warm")) as answers:
            for number in signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP:
                os.kill(template, number)
                template = self.template(daemon, but=template)
            before = len(answers)
            self.eventually(lambda: len(answers) > before + 20, "answers")
        self.check_all_answered(answers)
        self.assertEqual(self.warmth(daemon)["renewals"]["ended"], 3)

    def test_of_a_template_that_is_being_started(self):
        """clone: tracer and handler are killed before the handler has parked: it is told of, and clients are served."""
        daemon = self.start(lambda d: [PYTHON, self.python(d, start="import time\ntime.sleep(5)")])
        uri = daemon.address("warm")
        pid = self.eventually(lambda: self.kinds(daemon, "template"), "the start of a template")[0]

        def tracer():
            return int(process.status(pid)["TracerPid"])
        os.kill(self.eventually(tracer, "its tracer"), signal.SIGKILL)
        told = daemon.wait_for(lambda r: "instead of \"clone\"" in r["message"])
        self.assertIn("it lost its tracer", told["message"])
        self.assertEqual(self.ask(uri)[2], "hello")

    def test_of_waiting_and_running_copies(self):
        """clone: of clients only those are lost whose own copy is killed."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template = self.template(daemon)
        uri = daemon.address("warm")
        clients = [self.client(uri) for _ in range(6)]
        running = self.eventually(lambda: len(self.kinds(daemon, "handler")) == 6 and self.kinds(daemon, "handler"), "six")
        os.kill(running[0], signal.SIGKILL)
        parked = self.parked(daemon)
        for pid in parked:
            os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: not set(parked) & set(self.kinds(daemon, "parked")), "superd knows")
        answers = []
        for client in clients:
            try:
                client.sendall(b"hello\n")
                answers.append(client.recv(100))
            except ConnectionError:
                answers.append(b"")
        self.assertEqual(len([answer for answer in answers if not answer]), 1)
        self.assertEqual(len(self.ask_at_once(uri, 10)), 10)
        self.assertEqual(self.template(daemon), template)


class Changes(WarmCase):
    def test_reloads_under_load(self):
        """clone: RELOADS reloads that change the definition, under load: every client is answered, and the old templates
        leave."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        first = self.template(daemon)
        with self.load(daemon.address("warm")) as answers:
            for number in range(RELOADS):
                self.service(daemon, [PYTHON, daemon.path("echo.py")], description=f"number {number}")
                daemon.reload()
                before = len(answers)
                self.eventually(lambda: len(answers) > before + 3, "answers")
        self.check_all_answered(answers)
        self.eventually(lambda: not is_there(first), "the old template gone")
        self.eventually(lambda: len(self.kinds(daemon, "template")) == 1, "one template")

    def test_upgrades_under_load(self):
        """clone: UPGRADES upgrades under load keep template, waiting copies and clients; none is without an answer."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template = self.template(daemon)
        waiting = self.client(daemon.address("warm"))
        with self.load(daemon.address("warm")) as answers:
            for _ in range(UPGRADES):
                self.upgrade(daemon)
        self.check_all_answered(answers)
        self.assertEqual(self.template(daemon), template)
        waiting.sendall(b"late\n")
        self.assertIn(b"late", waiting.recv(100))
        self.assertIn(self.parked(daemon)[0], [child.pid for child in daemon.children()])
        self.python(daemon, "two")
        self.eventually(lambda: self.ask(daemon.address("warm"))[0] == "two", "what was edited after the upgrade")
        self.template(daemon, but=template)

    def test_an_edit_while_superd_is_upgraded(self):
        """clone: a script that was edited before the successor could watch it is not served from an old template."""
        daemon = self.start(lambda d: [PYTHON, self.python(d)])
        template = self.template(daemon)
        self.python(daemon, "two")
        self.upgrade(daemon)
        self.template(daemon, but=template)
        self.assertEqual(self.ask(daemon.address("warm"))[0], "two")


class ClonesAsUser(Clones):
    as_user = "nobody"


class RenewalsAsUser(Renewals):
    as_user = "nobody"
