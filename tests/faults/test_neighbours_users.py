# SPDX-License-Identifier: MIT
"""What an ordinary user's processes and superd's own handlers reach for: parked processes, keys, definitions, the
control socket. Points 4, 5, 6 and 8 of hostile neighbours."""

import json
import os
import pwd
import shutil
import subprocess
import time
import unittest

from faults import figure
from harness import Reader, connect, process
from harness.daemon import definition
from neighbours_case import HERE, NOBODY, TCP, NeighbourCase, attack, needs_root, python

REACH, HANDLER = "neighbours_reach.py", "neighbours_handler.py"
SECRET = "superd-secret"


def line_of(uri, timeout=20):
    with connect(uri, timeout=timeout) as sock:
        return Reader(sock).line().decode()


@needs_root
class ParkedProcesses(NeighbourCase):
    def start(self, **keys):
        return self.neighbours({"parked": dict(listen=TCP, model="prefork", exec=["cat"],
                                               prefork={"min_spare": 2, "max_spare": 2}, **keys)}, files=[REACH, "reach.py"])

    def parked(self, daemon):
        def found():
            pids = [child.pid for child in daemon.children() if process.executable(child.pid) == "superd-exec"]
            return pids if len(pids) == 2 else None
        return self.eventually(found, "two parked processes")

    @attack
    def test_others_of_their_user(self):
        """Another process of its user cannot take a parked process's connection, trace it, or look into it; nor does
        it gain anything by trying."""
        daemon = self.start()
        with self.nobody_waits(daemon):
            for pid in self.parked(daemon):
                lines = self.said(self.attacker(daemon, REACH, pid))
                figure(f"{self.name()}: {', '.join(lines)}")
                self.assertEqual([line for line in lines if line.split()[1] not in ("EPERM", "EACCES")], [])
        self.serves_again(lambda: self.echoed(daemon.address("parked")))
        self.balances(daemon, {"parked": 1})
        self.stops(daemon)

    @attack
    def test_before_the_exec(self):
        """Nothing that tries it on every new child of superd's can take the child before it runs its handler."""
        daemon = self.start()
        attackers = [self.attacker(daemon, REACH, "race", daemon.pid, 2) for _ in range(2)]
        made = 0
        with self.nobody_waits(daemon):
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                self.assertTrue(self.echoed(daemon.address("parked"), patience=20))
                made += 1
            lines = [line for attacker in attackers for line in self.said(attacker)]
        figure(f"{self.name()}: {made} clients; {', '.join(lines)}")
        self.assertEqual([line for line in lines if "taken" in line], [])
        self.balances(daemon, {"parked": made})
        self.stops(daemon)


@needs_root
class Keyrings(NeighbourCase):
    @attack
    def test_handlers_have_none_of_superds_keys(self):
        """Handlers of every model, nobody's and root's, find no key of the session from which superd was started."""
        self.prefix = [python(), os.path.join(HERE, "neighbours_keyring.py"), SECRET]
        models = {"fork": {}, "iterative": {}, "delayed": {}, "prefork": {"prefork": {"min_spare": 1}}}
        pools = [f"pool-{user}" for user in ("nobody", "root")]

        def services(daemon):
            keys = [python(), daemon.path(HANDLER), "keys", SECRET]
            found = {f"{model}-{user}": dict(listen=TCP, model=model, user=user, exec=keys, **more)
                     for model, more in models.items() for user in ("nobody", "root")}
            for name in pools:
                found[name] = dict(listen=TCP, model="prefork", handoff="listen", user=name.split("-")[1], exec=keys,
                                   prefork={"min_spare": 1, "max_spare": 1})
            return found
        daemon = self.neighbours(services, files=[HANDLER])
        with self.nobody_waits(daemon):
            said = {f"{model}-{user}": line_of(daemon.address(f"{model}-{user}"))
                    for model in models for user in ("nobody", "root")}
            for name in pools:
                said[name] = daemon.wait_for(lambda r, name=name: r.get("service") == name and
                                             r["message"].startswith(("none", "found")))["message"]
        figure(f"{self.name()}: {said}")
        self.assertEqual(set(said.values()), {"none"})
        self.stops(daemon)

    @attack
    def test_a_user_whose_quota_is_used_up(self):
        """A handler that uses up its user's quota of keys keeps no later one of that user from being started."""
        daemon = self.neighbours(lambda daemon: {
            "fill": dict(listen=TCP, model="fork", exec=[python(), daemon.path(HANDLER), "fill"]),
            "fork": dict(listen=TCP, model="fork", exec=["cat"]),
            "parked": dict(listen=TCP, model="prefork", exec=["cat"], prefork={"min_spare": 1})}, files=[HANDLER])
        self.addCleanup(subprocess.run, [python(), os.path.join(HERE, HANDLER), "clear"], stdout=subprocess.DEVNULL,
                        cwd="/", check=False, **NOBODY)
        with self.nobody_waits(daemon):
            self.assertEqual(line_of(daemon.address("fill")), "answer")
        for name in ("fork", "parked"):
            self.serves_again(lambda name=name: self.echoed(daemon.address(name)), name)
            for _ in range(4):
                self.assertTrue(self.echoed(daemon.address(name), patience=20))
        self.balances(daemon, {"fill": 1, "fork": 5, "parked": 5})
        self.stops(daemon)


@needs_root
class Definitions(NeighbourCase):
    """A definition, or the way to one, that an ordinary user may change."""

    def evil(self, daemon):
        """A program that nobody should run as root."""
        return definition(listen=f"unix://{daemon.path('evil.sock')}", model="prefork", handoff="listen", user="root",
                          exec=["touch", daemon.path("owned")], prefork={"min_spare": 1, "max_spare": 1})

    def theirs(self, daemon, name, text):
        path = daemon.path(f"theirs/{name}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def a_file(self, daemon):
        path = daemon.write("conf.d/evil.toml", self.evil(daemon))
        os.chown(path, pwd.getpwnam("nobody").pw_uid, 0)
        return path, lambda: os.unlink(path)

    def a_writable_file(self, daemon):
        path = daemon.write("conf.d/evil.toml", self.evil(daemon), 0o664)
        os.chmod(path, 0o664)
        return path, lambda: os.unlink(path)

    def a_link(self, daemon):
        """To a file of root's in a folder that everyone may write to."""
        target = self.theirs(daemon, "evil.toml", self.evil(daemon))
        path = daemon.path("conf.d/evil.toml")
        os.symlink(target, path)
        return daemon.path("theirs"), lambda: os.unlink(path)

    def a_sticky_folder(self, daemon):
        os.makedirs(daemon.path("sticky"), exist_ok=True)
        os.chmod(daemon.path("sticky"), 0o1777)
        with open(daemon.path("sticky/evil.toml"), "w", encoding="utf-8") as file:
            file.write(self.evil(daemon))
        path = daemon.path("conf.d/evil.toml")
        os.symlink(daemon.path("sticky/evil.toml"), path)
        return daemon.path("sticky"), lambda: os.unlink(path)

    def a_drop_in(self, daemon):
        folder = daemon.path("conf.d/other.toml.d")
        os.mkdir(folder)
        with open(os.path.join(folder, "50-evil.toml"), "w", encoding="utf-8") as file:
            file.write(f'user = "root"\nexec = ["touch", "{daemon.path("owned")}"]\n')
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, 0)
        return folder, lambda: shutil.rmtree(folder)

    def the_folder(self, daemon):
        path = daemon.write("conf.d/evil.toml", self.evil(daemon))
        os.chmod(daemon.conf_dir, 0o775)

        def undo():
            os.unlink(path)
            os.chmod(daemon.conf_dir, 0o755)
        return daemon.conf_dir, undo

    def superd_toml(self, daemon):
        daemon.write("superd.toml", '[defaults]\nuser = "root"\n')
        os.chown(daemon.config, pwd.getpwnam("nobody").pw_uid, 0)

        def undo():
            daemon.write("superd.toml", "")
        return daemon.config, undo

    @attack
    def test_a_reload_believes_none(self):
        """Each is refused, the error says what is wrong with it, nothing of it runs, and everything continues as it
        was."""
        daemon = self.neighbours({})
        wrong = {}
        with self.nobody_waits(daemon):
            for way in (self.a_file, self.a_writable_file, self.a_link, self.a_sticky_folder, self.a_drop_in,
                        self.the_folder, self.superd_toml):
                spoils, undo = way(daemon)
                since = daemon.mark()
                daemon.process.send_signal(1)
                end = daemon.wait_for(lambda r: r["message"].startswith(("reloaded", "reload refused")), since=since)
                status, said = daemon.check()
                name = way.__name__
                if not end["message"].startswith("reload refused"):
                    wrong[name] = "believed"
                elif spoils not in json.dumps(daemon.find(lambda r: True, since)):
                    wrong[name] = f"the log does not name {spoils}"
                elif status == 0 or spoils not in said:
                    wrong[name] = f"--check says {status}: {said}"
                undo()
                daemon.reload()
        if os.path.exists(daemon.path("owned")):
            wrong["root"] = "ran what an ordinary user may write"
        self.assertEqual(wrong, {})
        self.balances(daemon)
        self.stops(daemon)


@needs_root
class CommandingHandlers(NeighbourCase):
    """superd runs as the user of its handlers, who may otherwise command it."""

    as_user = "nobody"
    VERBS = ("stop", "pause", "kill", "reload", "upgrade")
    HOW = ("itself", "orphan", "gone", "namespace")

    @attack
    def test_none_is_obeyed(self):
        """A handler, its orphan, one whose peer has ended, and one in a separate namespace command nothing; the same
        user from outside may; and all may look."""
        def services(daemon):
            command = [python(), daemon.path(HANDLER), "command", daemon.control]
            found = {f"{verb}-{how}": dict(listen=TCP, model="fork", exec=[*command, verb, how, "victim"])
                     for verb in (*self.VERBS, "status") for how in self.HOW}
            return {**found, "victim": dict(listen=TCP, model="fork", exec=["cat"])}
        daemon = self.neighbours(services, files=[HANDLER])
        victim = self.client(daemon.address("victim"))
        said = {}
        with self.nobody_waits(daemon):
            for how in self.HOW:
                for verb in ("status", "pause", "kill", "reload", "upgrade", "stop"):
                    try:
                        said[f"{verb}-{how}"] = line_of(daemon.address(f"{verb}-{how}"))
                    except OSError as error:
                        said[f"{verb}-{how}"] = repr(error)
                    if said[f"{verb}-{how}"] == "done" and verb in ("upgrade", "stop"):
                        self.fail(f"a handler has commanded superd: {said}")
            self.assertIsNone(daemon.process.poll(), f"superd was stopped: {said}")
        figure(f"{self.name()}: {said}")
        obeyed = [name for name, text in said.items() if not name.startswith("status") and
                  not text.startswith("refused") and text not in ("closed", "no namespace")]
        self.assertEqual(obeyed, [])
        self.assertEqual(said["status-itself"], "done")
        self.assertEqual(self.control(daemon).services()["victim"]["state"], "listening")
        victim.sendall(b"still here\n")
        self.assertEqual(Reader(victim).line(), b"still here")
        victim.close()
        outside = subprocess.run([python(), os.path.join(HERE, HANDLER), "command", daemon.control, "reload", "itself",
                                  ""], cwd="/", text=True, stdout=subprocess.PIPE, check=True, **NOBODY)
        self.assertEqual(outside.stdout, "done\n")
        self.serves_again(lambda: self.echoed(daemon.address("victim")))
        self.balances(daemon)
        self.stops(daemon)

    @attack
    def test_superd_cannot_be_looked_into(self):
        """Another process of its user takes no descriptor of superd's, and does not trace it."""
        daemon = self.neighbours({}, files=[REACH, "reach.py"])
        with self.nobody_waits(daemon):
            lines = self.said(self.attacker(daemon, REACH, daemon.pid))
        figure(f"{self.name()}: {', '.join(lines)}")
        self.assertEqual([line for line in lines if line.split()[1] not in ("EPERM", "EACCES")], [])
        self.stops(daemon)


if __name__ == "__main__":
    unittest.main()
