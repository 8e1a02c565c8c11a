# SPDX-License-Identifier: MIT
"""What only a whole machine shows: limits of memory, processes and processor time, and systemd's side of it."""

import os
import re
import unittest

from harness import TestCase, definition

from vm import Vm, writing

WHOLE = os.environ.get("SUPERD_VM") == "whole"
KILLS = 20 if WHOLE else 2
# By bash alone, which the machine has: connects, sends a line, and reads one.
ASK = "exec 3<>/dev/tcp/127.0.0.1/%d; echo %s >&3; IFS= read -r -t 60 -u 3 line; printf '%%s' \"$line\""
LEAVES = """setsid bash -c 'trap "" TERM HUP INT; while :; do sleep 100; done' leaf </dev/null >/dev/null 2>&1 &
echo "$$ $!"
while read -r line; do echo "$line"; done
"""
ANSWER = 'read -r line; echo "$line"'
SPIN = "echo begun; while :; do :; done"
# As a new machine is. To make the manager read its units again, and only then, takes seconds where the processor is
# emulated.
CLEAN = """rm -rf /etc/superd/conf.d/*
kill -KILL %s 2>/dev/null
if cd /run/systemd/system/superd.service.d; then rm -r "$PWD"; systemctl daemon-reload; fi 2>/dev/null
systemctl restart superd && echo $EPOCHREALTIME
"""


class Machine(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vm = Vm()
        cls.addClassCleanup(cls.vm.discard)
        cls.clients, cls.used = [], False

    def setUp(self):
        self.defined = []
        self.since = self.vm.run(CLEAN % " ".join(self.clients), 240).strip() if self.used else self.vm.time()
        self.clients.clear()
        type(self).used = True

    def define(self, name, port, script, **keys):
        """With the next reload."""
        self.defined.append(writing(f"/etc/superd/conf.d/{name}.toml", definition(
            listen=f"tcp://127.0.0.1:{port}", model="fork", exec=["bash", "-c", script], **keys)))

    def reload(self, *then):
        """Says what the commands after it say. One command of many takes less than many commands."""
        commands, self.defined = [*self.defined, "superctl reload >/dev/null", *then], []
        return self.vm.run(" && ".join(f"{{ {one}; }}" for one in commands))

    def ask(self, port, line="hello"):
        return self.vm.run(ASK % (port, line))

    def client(self, port):
        """One that stays: (its pid, the handler's first line)."""
        pid, line = self.vm.run(f"exec 3<>/dev/tcp/127.0.0.1/{port}; IFS= read -r -t 60 -u 3 line; "
                                "sleep 1000 >/dev/null 2>&1 & echo \"$!:$line\"").strip().split(":")
        self.clients.append(pid)
        return pid, line

    def group(self, name):
        return f"/sys/fs/cgroup/system.slice/superd.service/s-{name}"

    def told(self, text):
        return self.eventually(lambda: [one for one in self.vm.messages(self.since) if text in one], text)

    def test_limits_hold_and_are_told(self):
        """memory_max ends a handler that takes too much; pids_max holds a fork bomb while another service answers; cpu_max
        holds a busy one up. Each is told, counted, and changed by a reload while handlers run."""
        self.define("hungry", 7001, "perl -e '$x = \"x\" x 200_000_000; print length $x'; echo $?",
                    resources={"memory_max": "48M", "memory_swap_max": "0K"})
        self.define("bomb", 7002, "bomb() { bomb | bomb & }; echo begun; bomb 2>/dev/null; sleep 1000",
                    resources={"pids_max": 30}, stop_timeout="1s")
        self.define("busy", 7003, SPIN, resources={"cpu_max": "20%"})
        self.define("honest", 7004, ANSWER)
        self.reload()
        self.assertNotEqual(self.ask(7001), "0")
        self.told("memory_max (48M) is reached")
        self.assertRegex(self.vm.run("superctl status hungry"), r"[1-9]\d* killed for want of memory")

        _, begun = self.client(7002)
        self.assertEqual(begun, "begun")
        self.told("pids_max (30) is reached")
        pids, *answers = self.vm.run(f"cat {self.group('bomb')}/pids.current; " +
                                     "; echo; ".join([ASK % (7004, "hello")] * 3)).split()
        self.assertLessEqual(int(pids), 30)
        self.assertEqual(answers, ["hello"] * 3)
        self.vm.run("rm /etc/superd/conf.d/bomb.toml; superctl reload; superctl kill bomb || true")
        self.eventually(lambda: self.vm.attempt(f"test -e {self.group('bomb')}")[0] != 0, "the bomb is gone")

        self.client(7003)
        self.eventually(lambda: "held up by cpu_max" in self.vm.run("superctl status busy"), "it is held up")
        usage = f"echo $EPOCHREALTIME; sed -n 's/usage_usec //p' {self.group('busy')}/cpu.stat"
        said = self.vm.run(f"{usage}; sleep 2; {usage}; superctl metrics")
        began, before, ended, after, metrics = said.split("\n", 4)
        self.assertLess((int(after) - int(before)) / 1e6, 0.4 * (float(ended) - float(began)))
        self.assertRegex(metrics, r'superd_throttled_seconds_total\{service="busy"\} [0-9.]*[1-9]')
        self.assertRegex(metrics, r'superd_throttled_periods_total\{service="busy"\} [1-9]')
        self.assertRegex(metrics, r'superd_memory_bytes\{service="busy"\} [1-9]')

        files = "cat " + " ".join(f"{self.group('busy')}/{name}" for name in ("cpu.max", "memory.max", "pids.max"))
        self.define("busy", 7003, SPIN, resources={"cpu_max": "150%", "memory_max": "32M", "pids_max": 7})
        self.assertEqual(self.reload(files).split(), ["150000", "100000", "33554432", "7"])
        self.define("busy", 7003, SPIN)
        said = self.reload(files, "superctl kill busy KILL >/dev/null")
        self.assertEqual(said.split(), ["max", "100000", "max", "max"])

    @unittest.skipUnless(WHOLE, "tests/vm/run has it")
    def test_limits_that_only_slow_down(self):
        """memory_high slows a handler down, which is told; of two that want all of the processor, the one of more
        cpu_weight gets more of it; memory_swap_max and io_weight are the group's."""
        self.define("slow", 7011, "echo begun; perl -e 'my $x = \"x\" x 40_000_000; sleep 1000'",
                    resources={"memory_high": "16M", "memory_swap_max": "8M", "io_weight": 200})
        self.define("light", 7012, SPIN, resources={"cpu_weight": 20})
        self.define("heavy", 7013, SPIN, resources={"cpu_weight": 400})
        self.reload()
        self.client(7011)
        self.told("memory_high (16M) is reached")
        self.assertEqual(self.vm.run(f"cat {self.group('slow')}/memory.swap.max").strip(), str(8 << 20))
        weight = self.vm.run(f"cat {self.group('slow')}/io.weight 2>/dev/null || cat {self.group('slow')}/io.bfq.weight "
                             "2>/dev/null || true")
        self.assertIn(weight.split()[-1:], ([], ["200"]))  # this kernel may have no scheduler that weighs
        self.vm.run("superctl kill slow KILL")
        self.client(7012)
        self.client(7013)
        used = f"for one in light heavy; do sed -n 's/usage_usec //p' {self.group('$one')}/cpu.stat; done"
        before = list(map(int, self.vm.run(used).split()))
        self.vm.run("sleep 6")
        light, heavy = (after - b for after, b in zip(map(int, self.vm.run(used).split()), before))
        self.assertGreater(heavy, 5 * light)
        self.vm.run("superctl kill light KILL; superctl kill heavy KILL")

    @unittest.skipUnless(WHOLE, "tests/vm/run has it")
    def test_a_thousand_groups_come_and_go(self):
        """1,000 services with a limit of their own have each a group while they have a client, and none after;
        a superd that is killed meanwhile comes back to them all."""
        count = 1000
        self.vm.run(f"for n in $(seq {count}); do printf '%s\\n' \"listen = \\\"unix:///run/many/$n\\\"\" "
                    "'model = \"fork\"' 'exec = [\"cat\"]' '[resources]' 'pids_max = 7' 'memory_max = \"8M\"' "
                    ">/etc/superd/conf.d/n$n.toml; done; mkdir -p /run/many")
        self.vm.run("superctl reload", 300)
        groups = f"ls -d {self.group('n')}* 2>/dev/null | wc -l"
        self.addCleanup(self.vm.attempt, "systemctl stop client-many")
        self.vm.run("systemd-run --quiet --unit client-many perl -MIO::Socket::UNIX -e "
                    f"'@c = map {{ IO::Socket::UNIX->new(\"/run/many/$_\") or die }} 1..{count}; sleep 1000'")
        self.eventually(lambda: self.vm.run(groups).strip() == str(count), f"{count} groups", 300)
        self.assertEqual(self.vm.run(f"cat {self.group('n')}*/pids.max | sort -u").strip(), "7")
        # More sockets than a soft limit of 1024 lets the manager pass.
        self.vm.run(f"kill -KILL {self.vm.show('MainPID')}")
        self.eventually(lambda: self.vm.attempt("superctl list", 60)[1].count("\n") >= count, "superd is back", 120)
        self.assertEqual(self.vm.run(groups).strip(), str(count))
        self.vm.run("rm /etc/superd/conf.d/n*.toml; superctl reload; systemctl stop client-many", 300)
        self.eventually(lambda: self.vm.run(groups).strip() == "0", "no group is left", 300)

    def test_nothing_escapes_its_service(self):
        """A process in a session of its own that ignores TERM is gone with its handler under leftovers = "end", and with
        its service under "keep"."""
        for name, port in (("end", 7005), ("keep", 7006)):
            self.define(name, port, LEAVES, resources={"leftovers": name}, stop_timeout="1s")
        self.reload()
        lives = "kill -0 %s 2>/dev/null"
        client, pids = self.client(7005)
        self.vm.run(f"kill {client}")
        self.eventually(lambda: self.vm.attempt(lives % pids.split()[1])[0] != 0, "it ends with its handler")
        client, pids = self.client(7006)
        self.vm.run(f"kill {client}")
        self.eventually(lambda: self.vm.attempt(lives % pids.split()[0])[0] != 0, "the handler ends")
        self.vm.run(lives % pids.split()[1])
        self.vm.run("rm /etc/superd/conf.d/keep.toml; superctl reload")
        self.eventually(lambda: self.vm.attempt(lives % pids.split()[1])[0] != 0, "it ends with its service")

    def test_a_killed_superd_comes_back_over_living_handlers(self):
        """systemd restarts it each time, though handlers are in groups below with controllers on; their limits hold
        again, the earlier handlers are still there, and a stop of the unit ends them."""
        self.define("it", 7007, "echo $$; exec sleep 1000", resources={"pids_max": 900})
        self.reload()
        handlers = []
        for _ in range(KILLS):
            handlers.append(self.client(7007)[1])
            pid = self.vm.run("pid=$(systemctl show --property MainPID --value superd) && kill -KILL $pid && "
                              "echo $pid").strip()
            self.eventually(lambda pid=pid: self.vm.show("MainPID") not in (pid, "0") and
                            self.vm.attempt("superctl status")[0] == 0, "superd is back")
        restarts = self.vm.show("NRestarts")
        if restarts != str(KILLS):
            self.fail(restarts + " restarts: " + self.vm.run("journalctl -u superd | tail -40"))
        self.assertFalse([one for one in self.vm.messages(self.since) if "CGROUP" in one])
        limit, *members = self.vm.run(f"cd {self.group('it')} && cat pids.max cgroup.procs").split()
        self.assertEqual(sorted(members), sorted(handlers))
        self.assertEqual(limit, "900")
        self.vm.run("systemctl stop superd", 240)
        for pid in handlers:
            self.assertNotEqual(self.vm.attempt(f"kill -0 {pid}")[0], 0)

    def test_the_manager_takes_the_delegation_away(self):
        """superd serves on without limits, whether they go alone or the delegation as a whole; a reload sets them again
        where it can."""
        self.define("it", 7008, ANSWER, resources={"pids_max": 50})
        limit = f"cat {self.group('it')}/pids.max"
        self.assertEqual(self.reload(ASK % (7008, "hello"), "echo", limit).split(), ["hello", "50"])
        self.vm.run(f"echo -pids >{self.group('it')}/../cgroup.subtree_control")
        self.assertNotEqual(self.vm.attempt(limit)[0], 0)
        self.assertEqual(self.ask(7008), "hello")
        self.assertEqual(self.reload(limit).strip(), "50")
        self.vm.write("/run/systemd/system/superd.service.d/x.conf", "[Service]\nDelegate=no\n")
        self.vm.run("systemctl daemon-reload; systemctl set-property --runtime superd.service CPUWeight=50")
        for _ in range(3):
            self.assertEqual(self.ask(7008), "hello")
        self.assertEqual(self.vm.show("ActiveState"), "active")
