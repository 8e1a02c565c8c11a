# SPDX-License-Identifier: MIT
"""A control group for each service: who is in it, who ends with it, and how it outlives superd."""

import errno
import os
import pathlib
import re
import signal
import sys
import time

from harness import Reader, definition, process
from cgroups import CgroupCase
from upgrading import UpgradeCase

TCP = "tcp://127.0.0.1:0"
# Leaves a process in a session of its own that ignores TERM, tells its pid, and ends once the client is gone.
LEAVES = r"""#!/bin/bash
setsid bash -c 'trap "" TERM HUP INT; echo $$ >"$1.new"; mv "$1.new" "$1"; while :; do sleep 100; done' leaf \
    "$(mktemp -d "$FOLDER/XXXXXXXX")/pid" </dev/null >/dev/null 2>&1 &
disown
echo "$$ $(sed -n s/^0:://p /proc/self/cgroup)"
while read -r line; do echo "$line"; done
"""
# A kernel before 5.7, where no process is born in a group: clone3 is ENOSYS.
OLDER = r"""
import ctypes, os, platform, struct, sys
call = {"x86_64": 435, "aarch64": 435}[platform.machine()]
code = b"".join(struct.pack("HBBI", *step) for step in [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x50026),
                                                       (0x06, 0, 0, 0x7FFF0000)])
program = ctypes.create_string_buffer(code)
head = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
if ctypes.CDLL(None).prctl(22, 2, head, 0, 0) != 0:
    sys.exit("no filter")
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Groups(CgroupCase):
    def start(self, leftovers=None, **options):
        """A daemon with one service, "it", whose handlers leave a process behind."""
        keys = options.pop("keys", {})
        daemon = self.prepare(**options)
        daemon.left = pathlib.Path(daemon.shared("left"))
        self.define(daemon, leftovers, **keys)
        return daemon.start()

    def define(self, daemon, leftovers=None, **keys):
        resources = {"leftovers": leftovers} if leftovers else {}
        daemon.service("it", listen=TCP, model=keys.pop("model", "fork"), exec=[daemon.script("leaves", LEAVES)],
                       environment={"FOLDER": str(daemon.left)}, resources=resources, **keys)

    def talk(self, daemon):
        """A new client: (its socket, its handler's pid, the handler's group, the pid of what it leaves)."""
        before = set(daemon.left.iterdir())
        client = self.client(daemon.addresses("it")[-1])
        pid, group = Reader(client).line().decode().split()
        folder = self.eventually(lambda: set(daemon.left.iterdir()) - before, "a folder").pop()
        file = folder / "pid"
        self.eventually(file.exists, "a process that is left")
        return client, int(pid), group, int(file.read_text())

    def test_a_service_has_a_group_once_it_has_a_client(self):
        """superd is in a leaf beside the services' groups; a service without clients has none, and one whose handlers
        have gone loses it."""
        daemon = self.prepare()
        daemon.service("it", listen=TCP, model="fork", exec=["sh", "-c", "sed -n s/^0:://p /proc/self/cgroup; cat"])
        daemon.service("other", listen=TCP, model="fork", exec=["cat"])
        daemon.start()
        self.assertEqual(self.members(daemon.group / "superd"), [daemon.pid])
        self.assertEqual([path.name for path in daemon.group.glob("s-*")], [])
        client = self.client(daemon.address("it"))
        self.assertTrue(Reader(client).line().decode().endswith(f"{daemon.group.name}/s-it"))
        self.assertEqual([path.name for path in daemon.group.glob("s-*")], ["s-it"])
        self.assertIn("processor time", self.superctl(daemon, "status", "it"))
        client.close()
        self.eventually(lambda: not self.of_service(daemon).exists(), "the empty group is removed")
        self.assertRegex(self.superctl(daemon, "status", "it"), r"resources +\S+ of processor time")

    def test_what_a_handler_leaves_lives_on_until_its_service_goes(self):
        """leftovers = "keep": a process that a handler leaves outlives it, but not its service, though it has a session
        of its own and ignores TERM."""
        daemon = self.start(keys={"stop_timeout": "1s"})
        client, handler, group, left = self.talk(daemon)
        self.assertTrue(group.endswith("/s-it"))
        client.close()
        self.eventually(lambda: self.gone(handler), "the handler ends")
        self.assertFalse(self.gone(left))
        since = daemon.mark()
        daemon.remove("it")
        daemon.reload()
        daemon.wait_for(lambda r: r["message"].startswith("what handlers have left is ended by SIGTERM: "), since=since)
        self.eventually(lambda: self.gone(left), "it is killed after stop_timeout")
        self.eventually(lambda: not self.of_service(daemon).exists(), "the group goes with the service")
        self.assertEqual(len(daemon.find(lambda r: "did not end in time" in r["message"], since)), 1)

    def test_what_a_handler_has_left_ends_with_superd(self):
        """A stop ends it; a second TERM at once."""
        for signals, longest in ((1, 60), (2, 8)):
            daemon = self.start(keys={"stop_timeout": "1s" if signals == 1 else "1m"})
            client, _, _, left = self.talk(daemon)
            client.close()
            begun = time.monotonic()
            for _ in range(signals):
                daemon.process.send_signal(signal.SIGTERM)
                daemon.wait_for(message="stopping")
            self.assertEqual(daemon.wait(), 0)
            self.assertTrue(self.gone(left))
            self.assertLess(time.monotonic() - begun, longest)
            daemon.stop()

    def test_a_handler_s_end_reaches_all_of_it(self):
        """leftovers = "end": each handler has a leaf; with its exit, with `superctl kill PID` and with max_lifetime
        everything goes that it has started, and nothing of another's."""
        daemon = self.start("end")
        first, second = self.talk(daemon), self.talk(daemon)
        self.assertRegex(first[2], r"/s-it/h-\d+$")
        self.assertNotEqual(first[2], second[2])
        first[0].close()
        self.eventually(lambda: self.gone(first[3]), "what it left is gone")
        self.assertFalse(self.gone(second[1]) or self.gone(second[3]))
        self.superctl(daemon, "kill", str(second[1]))
        self.eventually(lambda: self.gone(second[3]), "what the killed one left is gone")
        self.eventually(lambda: not list(self.of_service(daemon).glob("h-*")), "their leaves are gone")
        self.define(daemon, "end", max_lifetime="500ms")
        daemon.reload()
        third = self.talk(daemon)
        self.eventually(lambda: self.gone(third[1]) and self.gone(third[3]), "max_lifetime reaches all")

    def test_an_operator_s_signal_reaches_all_of_a_handler(self):
        """leftovers = "end": superctl kill PID SIGNAL reaches what the handler has started in another session, and
        nothing of another handler's."""
        daemon = self.prepare()
        folder = pathlib.Path(daemon.shared("told"))
        script = ('#!/bin/bash\nsetsid bash -c \'trap "touch $1.told" USR1; touch "$1"; while :; do sleep 0.05; done\' '
                  'leaf "$FOLDER/$$" </dev/null >/dev/null 2>&1 &\ntrap : USR1\necho $$\n'
                  'while ! read -r -t 1000 line && [ $? -gt 128 ]; do :; done\n')
        daemon.service("it", listen=TCP, model="fork", exec=[daemon.script("tells", script)],
                       environment={"FOLDER": str(folder)}, resources={"leftovers": "end"})
        daemon.start()
        clients = [self.client(daemon.address("it")) for _ in range(2)]
        first, second = (Reader(client).line().decode() for client in clients)
        for pid in first, second:
            self.eventually((folder / pid).exists, "it is ready")
        self.superctl(daemon, "kill", first, "USR1")
        self.eventually((folder / f"{first}.told").exists, "it has been told")
        self.assertFalse((folder / f"{second}.told").exists())

    def test_a_group_is_entered_without_clone3_too(self):
        """Before Linux 5.7 a child writes itself into its group."""
        daemon = self.start("end", prefix=[sys.executable, "-c", OLDER])
        client, _, group, left = self.talk(daemon)
        self.assertRegex(group, r"/s-it/h-\d+$")
        client.close()
        self.eventually(lambda: self.gone(left), "what it left is gone")

    def test_every_model_has_its_processes_there(self):
        """Parked processes, workers, owners, and what waits for a datagram's handler."""
        daemon = self.prepare()
        tell = ["sh", "-c", "sed -n s/^0:://p /proc/self/cgroup; exec sleep 100"]
        models = {"parked": {"model": "prefork", "exec": ["cat"]},
                  "worker": {"model": "prefork", "handoff": "listen", "exec": tell},
                  "owner": {"model": "iterative", "handoff": "listen", "exec": tell}}
        for name, keys in models.items():
            for leftovers in ("keep", "end"):
                daemon.service(f"{name}-{leftovers}", listen=TCP, resources={"leftovers": leftovers}, **keys)
        daemon.start()
        for leftovers in ("keep", "end"):
            self.client(daemon.address(f"owner-{leftovers}"))
        for name in models:
            for leftovers in ("keep", "end"):
                folder = self.of_service(daemon, f"{name}-{leftovers}")
                self.eventually(lambda folder=folder: self.members(folder), f"{folder} has processes")
                in_leaves = [path for path in folder.glob("h-*") if self.members(path)]
                self.assertEqual(bool(in_leaves), leftovers == "end", folder)
        self.assertEqual(self.members(daemon.group / "superd"), [daemon.pid])

    def test_warm_handlers_have_leaves_as_well(self):
        """Copies of a template, parked or begun with their client, end with all that they have started."""
        script = ("import os, subprocess, sys\nline = sys.stdin.readline()\n"
                  "left = subprocess.Popen(['setsid', 'sleep', '1000'], stdin=subprocess.DEVNULL,\n"
                  "                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
                  "print(os.getpid(), left.pid, open('/proc/self/cgroup').read().split('0::')[1].strip(), flush=True)\n")
        daemon = self.prepare()
        daemon.service("it", listen=TCP, model="prefork", exec=[sys.executable, daemon.write("warm.py", script)],
                       prefork={"warm": "clone", "min_spare": 2}, resources={"leftovers": "end"})
        daemon.start()
        daemon.wait_for(lambda r: "warm" in r["message"] or r.get("message", "").startswith("ready"))
        for _ in range(8):
            with self.client(daemon.address("it")) as client:
                client.sendall(b"x\n")
                pid, left, group = Reader(client).line().decode().split()
            self.assertRegex(group, r"/s-it/h-\d+$")
            self.eventually(lambda pid=pid, left=left: self.gone(int(pid)) and self.gone(int(left)), "both are gone")

    def test_handlers_in_a_sandbox_are_there_too(self):
        """Those that a launcher starts, and under leftovers = "end" those that superd starts itself, in its sandbox's
        own processes."""
        daemon = self.prepare()
        for leftovers in ("keep", "end"):
            daemon.service(leftovers, listen=TCP, model="fork", sandbox={"preset": "strict"},
                           exec=["sh", "-c", "sed -n s/^0:://p /proc/self/cgroup; exec cat"],
                           resources={"leftovers": leftovers})
        daemon.start()
        for leftovers, inside in (("keep", r"/s-keep$"), ("end", r"/s-end/h-\d+$")):
            clients = [self.client(daemon.address(leftovers)) for _ in range(5)]
            for client in clients:
                self.assertRegex(Reader(client).line().decode(), inside)
                client.close()
        self.eventually(lambda: not list(self.of_service(daemon, "end").glob("h-*")), "all leaves are gone")

    def test_an_upgrade_keeps_groups_and_leaves(self):
        """The successor knows which leaf belongs to which handler, and ends what is left with the service."""
        daemon = self.start("end", keys={"stop_timeout": "1s"})
        first, second = self.talk(daemon), self.talk(daemon)
        self.upgrade(daemon)
        self.assertEqual(self.members(daemon.group / "superd"), [daemon.pid])
        first[0].close()
        self.eventually(lambda: self.gone(first[1]) and self.gone(first[3]), "the first and what it left")
        third = self.talk(daemon)
        self.assertNotIn(third[2], (first[2], second[2]))
        daemon.remove("it")
        daemon.reload()
        self.upgrade(daemon)
        for client in second[0], third[0]:
            client.close()
        self.eventually(lambda: not self.of_service(daemon).exists(), "the group goes with the service")
        self.assertTrue(self.gone(second[3]) and self.gone(third[3]))

    def test_after_a_crash_the_next_superd_adopts_them(self):
        """Handlers that outlive a killed superd end with their service under the next one; a group whose service is not
        defined any more goes once it is empty."""
        daemon = self.start(keys={"stop_timeout": "1s"})
        client, handler, _, left = self.talk(daemon)
        undefined = daemon.group / "s-former"
        undefined.mkdir()
        daemon.process.kill()
        daemon.process.wait()
        self.assertFalse(self.gone(handler))
        self.eventually(lambda: daemon.ended, "its log has been read")
        daemon.ended = False
        since = daemon.mark()
        daemon.start(wait=False)
        daemon.wait_for(message="ready", since=since)
        self.assertEqual(self.members(daemon.group / "superd"), [daemon.pid])
        again = self.talk(daemon)
        self.assertTrue(again[2].endswith("/s-it"))
        self.assertFalse(self.gone(handler) or self.gone(left))
        self.eventually(lambda: not undefined.exists(), "an empty group is removed")
        daemon.remove("it")
        daemon.reload()
        client.close()
        again[0].close()
        for pid in handler, left, again[1], again[3]:
            self.eventually(lambda pid=pid: self.gone(pid), "all are gone")

    def test_someone_takes_the_group_away(self):
        """superd tells it once and serves on; a reload puts it right."""
        daemon = self.start()
        client, _, _, left = self.talk(daemon)
        os.killpg(left, signal.SIGKILL)
        (daemon.group / "others").mkdir(exist_ok=True)

        def taken():
            """By a manager that ends a delegation."""
            try:
                for pid in self.members(self.of_service(daemon)):
                    (daemon.group / "others/cgroup.procs").write_text(str(pid))
                os.rmdir(self.of_service(daemon))
            except ProcessLookupError:
                return False
            except OSError as error:
                return error.errno != errno.EBUSY and self.fail(str(error))
            return True
        self.eventually(taken, "the group is gone")
        since = daemon.mark()
        for _ in range(3):
            _, _, group, pid = self.talk(daemon)
            self.assertTrue(group.endswith("/superd"))
            os.killpg(pid, signal.SIGKILL)
        self.assertEqual(len(daemon.find(lambda r: "its cgroup cannot be used" in r["message"], since)), 1)
        daemon.reload()
        _, _, group, pid = self.talk(daemon)
        self.assertTrue(group.endswith("/s-it"))
        os.killpg(pid, signal.SIGKILL)
        client.close()

    def test_what_waits_outside_of_the_group_is_replaced_once_it_is_back(self):
        """A template and its copies, a launcher, parked processes and workers that were started while the group was out
        of order, or were moved out of it, are replaced by a reload that finds it in order, and so are all handlers in
        the group."""
        daemon = self.prepare()
        tell = ("import os, sys\nfor line in sys.stdin:\n"
                "    print(open('/proc/self/cgroup').read().split('0::')[1].strip(), flush=True)\n")
        words = [sys.executable, daemon.write("tell.py", tell)]
        shell = ["sh", "-c", "while read -r line; do sed -n s/^0:://p /proc/self/cgroup; done"]
        kinds = {"warm": ("template", dict(model="prefork", exec=words, prefork={"warm": "clone", "min_spare": 1})),
                 "boxed": ("launcher", dict(model="fork", exec=shell, sandbox={"preset": "strict"})),
                 "parked": ("parked", dict(model="prefork", exec=shell, prefork={"min_spare": 2})),
                 "worker": ("worker", dict(model="prefork", handoff="listen", exec=["superd-echo"],
                                           prefork={"min_spare": 1}))}
        for name, (_, keys) in kinds.items():
            daemon.service(name, listen=TCP, **keys)
        daemon.start()

        def ask(name):
            with self.client(daemon.address(name)) as client:
                client.sendall(b"x\n")
                return Reader(client).line().decode()

        def waiting(name):
            """Those of that kind, once there are some."""
            def there():
                ask(name)
                status = daemon.ask("status", service=name)
                return [one["pid"] for one in status["processes"] if one["kind"] == kinds[name][0] and
                        not one["former"]]
            return self.eventually(there, f"{name}: {kinds[name][0]}")

        before = {name: waiting(name) for name in kinds}
        (daemon.group / "others").mkdir(exist_ok=True)
        for name in kinds:
            def taken(name=name):
                group = self.of_service(daemon, name)
                try:
                    for pid in self.members(group):
                        (daemon.group / "others/cgroup.procs").write_text(str(pid))
                    os.rmdir(group)
                except FileNotFoundError:
                    pass
                except OSError:
                    return False
                return not group.exists()
            self.eventually(taken, f"{name}: its group is gone")
        daemon.reload()
        for name in kinds:
            folder = self.of_service(daemon, name)
            self.eventually(lambda name=name: set(waiting(name)).isdisjoint(before[name]), f"{name}: replaced")
            self.eventually(lambda name=name, folder=folder: set(waiting(name)) <= set(self.members(folder)),
                            f"{name}: in the group")
            if name != "worker":
                self.assertTrue(ask(name).endswith(f"/s-{name}"), name)

    def test_a_client_waits_where_no_group_can_be_made(self):
        """The kernel allows no more groups: clients wait as for any other scarcity, and none is served outside its
        group or lost."""
        daemon = self.start("end")
        most = daemon.group / "cgroup.max.descendants"
        most.write_text(re.search(r"^nr_descendants (\d+)$", (daemon.group / "cgroup.stat").read_text(),
                                  re.MULTILINE).group(1))
        clients = [self.client(daemon.address("it")) for _ in range(3)]
        daemon.wait_for(message="cannot start as many handlers as clients need: make the cgroup")
        most.write_text("max")
        for client in clients:
            self.assertRegex(Reader(client).line().decode(), r"/s-it/h-\d+$")
            client.close()
        self.eventually(lambda: not list(self.of_service(daemon).glob("h-*")), "all leaves are gone")

    def test_a_thousand_groups_come_and_go(self):
        """Each of 1,000 services has one with its client; removing them all removes all groups."""
        daemon = self.prepare(log_level="info")
        for number in range(1000):
            daemon.service(f"n{number}", definition(listen=f"unix://{daemon.path(f'{number}.sock')}", model="fork",
                                                    exec=["sh", "-c", "read line"], limits={"instances": 1}))
        daemon.start()
        clients = [self.client(f"unix://{daemon.path(f'{number}.sock')}") for number in range(1000)]
        self.eventually(lambda: len(list(daemon.group.glob("s-*"))) == 1000, "1,000 groups")
        for number in range(1000):
            daemon.remove(f"n{number}")
        daemon.reload()
        for client in clients:
            client.close()
        self.eventually(lambda: not list(daemon.group.glob("s-*")), "no group is left")


class Delegation(CgroupCase):
    KEYS = {"listen": TCP, "model": "fork", "exec": ["cat"]}

    def test_without_a_group_of_its_own_they_are_errors(self):
        """[resources] where superd has been given no group: an error that says how to get one. Without them superd
        serves as ever, and a default is left out."""
        daemon = self.prepare(group=self.new_group(delegated=False),
                              config='[defaults.resources]\nleftovers = "end"\nmemory_max = "64M"\n')
        beside = os.fork()
        if beside == 0:
            (daemon.group / "cgroup.procs").write_text("0")
            signal.pause()
        try:
            self.eventually(lambda: self.members(daemon.group) == [beside], "superd is not to be alone")
            daemon.service("it", **self.KEYS)
            daemon.start()
            daemon.wait_for(message="handlers have no cgroups of their own: superd is not alone")
            self.assertEqual(self.converse(daemon.address("it")), b"hello")
            for key in "leftovers", "memory_max":
                daemon.wait_for(lambda r, key=key: r["message"].startswith(f"resources.{key} is left out for it: ") and
                                "Delegate=yes" in r["message"])
                self.assertRegex(self.superctl(daemon, "status", "it"), rf"sandbox +base without .*resources\.{key}")
                self.assertRegex(self.superctl(daemon, "security", "it"),
                                 rf"(?m)^resources\.{key} is left out on this machine: it needs a cgroup")
            for key, value in {"leftovers": "end", "memory_max": "64M", "pids_max": 20, "cpu_max": "50%"}.items():
                daemon.service("it", **self.KEYS, resources={key: value})
                daemon.reload(refused=True)
                self.assertTrue(daemon.find(lambda r, key=key: f"resources.{key} needs a cgroup of superd's own" in
                                            r["message"] and "Delegate=yes" in r["message"]))
            self.assertEqual(self.converse(daemon.address("it")), b"hello")
            self.assertIn(daemon.pid, self.members(daemon.group))
            self.assertFalse((daemon.group / "superd").exists())
        finally:
            os.kill(beside, signal.SIGKILL)
            os.waitpid(beside, 0)

    def test_alone_in_its_group_superd_takes_it_for_its_own(self):
        """Where no service manager says so."""
        if os.path.exists("/run/systemd/system"):
            self.skipTest("systemd says which groups are delegated")
        daemon = self.prepare(group=self.new_group(delegated=False))
        daemon.service("it", **self.KEYS, resources={"leftovers": "end"})
        daemon.start()
        self.assertEqual(self.converse(daemon.address("it")), b"hello")
        self.assertEqual(self.members(daemon.group / "superd"), [daemon.pid])

    def test_a_controller_that_is_not_there_is_an_error(self):
        """On a system that has them by cgroup v1, limits cannot be had, but leftovers can."""
        group = self.new_group()
        lacking = {"memory", "pids", "cpu", "io"} - set((group / "cgroup.controllers").read_text().split())
        if not lacking:
            self.skipTest("cgroup v2 has all controllers here")
        daemon = self.prepare(group=group)
        daemon.service("it", **self.KEYS)
        daemon.start()
        keys = {"memory": ("memory_max", "64M"), "pids": ("pids_max", 9), "cpu": ("cpu_weight", 50),
                "io": ("io_weight", 50)}
        for controller in lacking:
            key, value = keys[controller]
            daemon.service("it", **self.KEYS, resources={key: value})
            daemon.reload(refused=True)
            self.assertTrue(daemon.find(lambda r, key=key, controller=controller: r["message"].find(
                f'resources.{key} needs the cgroup v2 controller "{controller}"') >= 0))

    def test_a_group_that_is_everybody_s_is_left_alone(self):
        """superd in a group that others are in: it serves without groups."""
        daemon = UpgradeCase.prepare(self)
        daemon.service("it", **self.KEYS)
        daemon.start()
        daemon.wait_for(message="handlers have no cgroups of their own:")
        self.assertEqual(self.converse(daemon.address("it")), b"hello")
