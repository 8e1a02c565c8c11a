# SPDX-License-Identifier: MIT
"""What only a whole machine shows: limits of memory, processes and processor time, and systemd's side of it."""

import os
import re
import unittest

from harness import TestCase, definition

from vm import Vm

WHOLE = os.environ.get("SUPERD_VM") == "whole"
KILLS = 20 if WHOLE else 2
# By bash alone, which the machine has: connects, sends a line, and reads one.
ASK = "exec 3<>/dev/tcp/127.0.0.1/%d; echo %s >&3; IFS= read -r -t 60 -u 3 line; printf '%%s' \"$line\""
LEAVES = """#!/bin/bash
setsid bash -c 'trap "" TERM HUP INT; while :; do sleep 100; done' leaf </dev/null >/dev/null 2>&1 &
echo "$$ $!"
while read -r line; do echo "$line"; done
"""


class Machine(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vm = Vm()
        cls.addClassCleanup(cls.vm.discard)

    def setUp(self):
        self.since = self.vm.time()
        self.addCleanup(self.clean_up)

    def clean_up(self):
        self.vm.run("rm -rf /etc/superd/conf.d/*; systemctl kill -s KILL 'client*' 2>/dev/null; "
                    "rm -rf /run/systemd/system/superd.service.d; systemctl daemon-reload; "
                    "systemctl restart superd", 240)

    def define(self, name, port, script, **keys):
        self.vm.write(f"/srv/{name}", script)
        self.vm.run(f"chmod 755 /srv/{name}")
        self.vm.write(f"/etc/superd/conf.d/{name}.toml", definition(
            listen=f"tcp://127.0.0.1:{port}", model="fork", exec=[f"/srv/{name}"], **keys))

    def reload(self):
        self.vm.run("superctl reload")

    def ask(self, port, line="hello"):
        return self.vm.run(ASK % (port, line))

    def client(self, port):
        """One that stays, in a unit of its own. Its first line is in /run/clientPORT-N."""
        count = self.vm.run("ls /run/client-* 2>/dev/null | wc -l").strip()
        file = f"/run/client-{count}"
        self.vm.run(f"touch {file}; systemd-run --quiet --unit client-{count} bash -c "
                    f"'exec 3<>/dev/tcp/127.0.0.1/{port}; IFS= read -r -u 3 line; echo \"$line\" >{file}; "
                    "exec sleep 1000'")
        return f"client-{count}", self.eventually(lambda: self.vm.run(f"cat {file}").strip(), "a handler's first line")

    def group(self, name):
        return f"/sys/fs/cgroup/system.slice/superd.service/s-{name}"

    def told(self, text):
        return self.eventually(lambda: [one for one in self.vm.messages(self.since) if text in one], text)

    def test_limits_hold_and_are_told(self):
        """memory_max ends a handler that takes too much; pids_max holds a fork bomb while another service answers; cpu_max
        holds a busy one up. Each is told, counted, and changed by a reload while handlers run."""
        self.define("hungry", 7001, "#!/bin/bash\nperl -e '$x = \"x\" x 200_000_000; print length $x'\necho $?\n",
                    resources={"memory_max": "48M", "memory_swap_max": "0K"})
        self.define("bomb", 7002, "#!/bin/bash\nbomb() { bomb | bomb & }\necho begun\nbomb 2>/dev/null\nsleep 1000\n",
                    resources={"pids_max": 30}, stop_timeout="1s")
        self.define("busy", 7003, "#!/bin/bash\necho begun\nwhile :; do :; done\n", resources={"cpu_max": "20%"})
        self.define("honest", 7004, "#!/bin/bash\nread -r line\necho \"$line\"\n")
        self.reload()
        self.assertNotEqual(self.ask(7001), "0")
        self.told("memory_max (48M) is reached")
        self.assertRegex(self.vm.run("superctl status hungry"), r"[1-9]\d* killed for want of memory")

        _, begun = self.client(7002)
        self.assertEqual(begun, "begun")
        self.told("pids_max (30) is reached")
        self.assertLessEqual(int(self.vm.run(f"cat {self.group('bomb')}/pids.current")), 30)
        for _ in range(3):
            self.assertEqual(self.ask(7004), "hello")
        self.vm.run("rm /etc/superd/conf.d/bomb.toml; superctl reload; superctl kill bomb || true")
        self.eventually(lambda: self.vm.attempt(f"test -e {self.group('bomb')}")[0] != 0, "the bomb is gone")

        self.client(7003)
        self.eventually(lambda: "held up by cpu_max" in self.vm.run("superctl status busy"), "it is held up")
        used = r"usage_usec (\d+)"
        before, after = (int(re.search(used, text).group(1)) for text in self.vm.run(
            f"cat {self.group('busy')}/cpu.stat; sleep 5; echo; cat {self.group('busy')}/cpu.stat").split("\n\n"))
        self.assertLess(after - before, 2_000_000)
        metrics = self.vm.run("superctl metrics")
        self.assertRegex(metrics, r'superd_throttled_seconds_total\{service="busy"\} [0-9.]*[1-9]')
        self.assertRegex(metrics, r'superd_throttled_periods_total\{service="busy"\} [1-9]')
        self.assertRegex(metrics, r'superd_memory_bytes\{service="busy"\} [1-9]')

        self.define("busy", 7003, "#!/bin/bash\necho begun\nwhile :; do :; done\n",
                    resources={"cpu_max": "150%", "memory_max": "32M", "pids_max": 7})
        self.reload()
        files = [f"{self.group('busy')}/{name}" for name in ("cpu.max", "memory.max", "pids.max")]
        self.assertEqual(self.vm.run("cat " + " ".join(files)).split(), ["150000", "100000", "33554432", "7"])
        self.define("busy", 7003, "#!/bin/bash\necho begun\nwhile :; do :; done\n")
        self.reload()
        self.assertEqual(self.vm.run("cat " + " ".join(files)).split(), ["max", "100000", "max", "max"])
        self.vm.run("superctl kill busy KILL")

    @unittest.skipUnless(WHOLE, "tests/vm/run has it")
    def test_limits_that_only_slow_down(self):
        """memory_high slows a handler down, which is told; of two that want all of the processor, the one of more
        cpu_weight gets more of it; memory_swap_max and io_weight are the group's."""
        spin = "#!/bin/bash\necho begun\nwhile :; do :; done\n"
        self.define("slow", 7011, "#!/bin/bash\necho begun\nperl -e 'my $x = \"x\" x 40_000_000; sleep 1000'\n",
                    resources={"memory_high": "16M", "memory_swap_max": "8M", "io_weight": 200})
        self.define("light", 7012, spin, resources={"cpu_weight": 20})
        self.define("heavy", 7013, spin, resources={"cpu_weight": 400})
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
        unit, pids = self.client(7005)
        self.vm.run(f"systemctl stop {unit}")
        self.eventually(lambda: self.vm.attempt(lives % pids.split()[1])[0] != 0, "it ends with its handler")
        unit, pids = self.client(7006)
        self.vm.run(f"systemctl stop {unit}")
        self.eventually(lambda: self.vm.attempt(lives % pids.split()[0])[0] != 0, "the handler ends")
        self.vm.run(lives % pids.split()[1])
        self.vm.run("rm /etc/superd/conf.d/keep.toml; superctl reload")
        self.eventually(lambda: self.vm.attempt(lives % pids.split()[1])[0] != 0, "it ends with its service")

    def test_a_killed_superd_comes_back_over_living_handlers(self):
        """systemd restarts it each time, though handlers are in groups below with controllers on; their limits hold
        again, the earlier handlers are still there, and a stop of the unit ends them."""
        self.define("it", 7007, "#!/bin/bash\necho $$\nexec sleep 1000\n", resources={"pids_max": 900})
        self.reload()
        handlers = []
        for _ in range(KILLS):
            handlers.append(self.client(7007)[1])
            pid = self.vm.show("MainPID")
            self.vm.run(f"kill -KILL {pid}")
            self.eventually(lambda pid=pid: self.vm.show("MainPID") not in (pid, "0") and
                            self.vm.attempt("superctl status")[0] == 0, "superd is back")
        self.assertEqual(self.vm.show("NRestarts"), str(KILLS), self.vm.run("journalctl -u superd | tail -40"))
        self.assertFalse([one for one in self.vm.messages(self.since) if "CGROUP" in one])
        members = self.vm.run(f"cat {self.group('it')}/cgroup.procs").split()
        self.assertEqual(sorted(members), sorted(handlers))
        self.assertEqual(self.vm.run(f"cat {self.group('it')}/pids.max").strip(), "900")
        self.vm.run("systemctl stop superd", 240)
        for pid in handlers:
            self.assertNotEqual(self.vm.attempt(f"kill -0 {pid}")[0], 0)

    def test_the_manager_takes_the_delegation_away(self):
        """superd serves on without limits, whether they go alone or the delegation as a whole; a reload sets them again
        where it can."""
        self.define("it", 7008, "#!/bin/bash\nread -r line\necho \"$line\"\n", resources={"pids_max": 50})
        self.reload()
        self.assertEqual(self.ask(7008), "hello")
        limit = f"cat {self.group('it')}/pids.max"
        self.assertEqual(self.vm.run(limit).strip(), "50")
        self.vm.run(f"echo -pids >{self.group('it')}/../cgroup.subtree_control")
        self.assertNotEqual(self.vm.attempt(limit)[0], 0)
        self.assertEqual(self.ask(7008), "hello")
        self.reload()
        self.assertEqual(self.vm.run(limit).strip(), "50")
        self.vm.write("/run/systemd/system/superd.service.d/x.conf", "[Service]\nDelegate=no\n")
        self.vm.run("systemctl daemon-reload; systemctl set-property --runtime superd.service CPUWeight=50")
        for _ in range(3):
            self.assertEqual(self.ask(7008), "hello")
        self.assertEqual(self.vm.show("ActiveState"), "active")
