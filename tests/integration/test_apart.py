# SPDX-License-Identifier: MIT
"""What keeps handlers, and others of their user, from superd, from each other's parked processes, and from its keys."""

import errno
import json
import os
import shutil
import subprocess
from types import SimpleNamespace

from control import SUPERCTL
from harness import SuperdCase, exchange, installation
from harness.installation import python

# pidfd_getfd(2) and ptrace(2) of a process, and its memory, by errno's name; "" is success.
INTRUDER = """import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])

def tried(result):
    return "" if result >= 0 else errno.errorcode[ctypes.get_errno()]

pidfd = libc.syscall(434, pid, 0)
print(tried(libc.syscall(438, pidfd, 0, 0)), tried(libc.ptrace(16, pid, 0, 0)), sep=",")
"""

# A session keyring with a key in it for the program that follows, as a login has one.
LOGIN = """import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall({keyctl}, 1, None)
libc.syscall({add_key}, b"user", b"of-superd", b"secret", ctypes.c_size_t(6), ctypes.c_int(-3))
os.execv(sys.argv[1], sys.argv[1:])
"""
# The handler's own session keyring, and whether a key of superd's is found from there.
SEEKER = """import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({keyctl}, 0, ctypes.c_int(-3), 0), libc.syscall({keyctl}, 10, ctypes.c_int(-3), b"user", b"of-superd", 0))
"""
NUMBERS = {"x86_64": {"keyctl": 250, "add_key": 248}, "aarch64": {"keyctl": 219, "add_key": 217}}[os.uname().machine]


class ParkedProcesses(SuperdCase):
    """A parked process runs as its handler's user, and waits for a connection."""

    def parked(self, daemon):
        """The waiting processes, once they have reached the place where they wait."""
        def waiting():
            pids = [child.pid for child in daemon.children() if child.name == "superd-exec"]
            return len(pids) == 2 and pids
        return self.eventually(waiting, "two parked")

    def intrude(self, pid):
        user = {"user": self.handler_uid, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([python(), "-c", INTRUDER, str(pid)], text=True, check=True, stdout=subprocess.PIPE, **user)
        return done.stdout.strip().split(",")

    def check_pool(self, daemon):
        for pid in self.parked(daemon):
            self.assertEqual(self.intrude(pid), ["EPERM", "EPERM"])
        handler_pid = int(exchange(daemon.address("it")))
        self.assertGreater(handler_pid, 1)

    KEYS = dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["sh", "-c", "echo $$"],
                prefork={"min_spare": 2, "max_spare": 2})

    def test_nobody_takes_its_connection(self):
        """Other processes of its user can neither take its descriptors nor trace it, and it serves."""
        self.check_pool(self.superd({"it": self.KEYS}))

    def test_a_program_that_its_user_owns(self):
        """The same holds if the user owns superd-exec and so may read it."""
        daemon = self.prepare()
        programs = daemon.path("programs")
        shutil.copytree(installation().directory, programs)
        for folder, folders, files in os.walk(programs):
            for name in folders + files:
                os.chown(os.path.join(folder, name), self.handler_uid, -1)
        daemon.installation = SimpleNamespace(superd=os.path.join(programs, "sbin", "superd"))
        daemon.service("it", **self.KEYS)
        self.check_pool(daemon.start())

    def test_modes(self):
        """Its program is executable and not readable in the build folder."""
        mode = os.stat(os.path.join(os.environ["SUPERD_LIBEXEC"], "superd-exec")).st_mode
        self.assertEqual(mode & 0o777, 0o711)

    def test_handlers_can_be_traced(self):
        """The handler that it becomes is as any other process of its user."""
        daemon = self.superd({"it": dict(self.KEYS, exec=["cat"])})
        self.parked(daemon)
        client = self.client(daemon.address("it"))
        client.sendall(b"x")
        client.recv(1)
        handler = self.eventually(lambda: [child.pid for child in daemon.children() if child.name == "cat"], "its handler")
        self.assertEqual(self.intrude(handler[0]), ["", ""])


class ParkedProcessesAsUser(ParkedProcesses):
    as_user = "nobody"

    def test_superd_is_out_of_reach(self):
        """The same holds for superd itself if it runs as its handlers' user."""
        daemon = self.superd({"it": self.KEYS})
        self.assertEqual(self.intrude(daemon.pid), ["EPERM", "EPERM"])


class Keyrings(SuperdCase):
    def test_none_of_superd_s_keys(self):
        """Each handler has its own session keyring, in which a key of superd's is not found: as root, as another user,
        parked, and as a worker."""
        daemon = self.prepare()
        daemon.prefix = [python(), daemon.write("login.py", LOGIN.format(**NUMBERS))]
        seeker = daemon.write("seeker.py", SEEKER.format(**NUMBERS))
        done = subprocess.run([*daemon.prefix, python(), seeker], check=True, text=True, stdout=subprocess.PIPE)
        if done.stdout.split()[0] == "-1":
            self.skipTest("no keys here: the kernel has none, or a sandbox forbids them")
        self.assertNotEqual(done.stdout.split()[1], "-1", "the key is there to be found")
        keys = dict(listen="tcp://127.0.0.1:0", model="fork", exec=[python(), seeker])
        daemon.service("fork", **keys)
        daemon.service("parked", **{**keys, "model": "prefork"})
        if self.root:
            daemon.service("root", **keys, user="root")
        daemon.start()
        seen = set()
        for name in ("fork", "fork", "parked", *(["root"] if self.root else [])):
            keyring, key = exchange(daemon.address(name)).split()
            self.assertGreater(int(keyring), 0, name)
            self.assertEqual(int(key), -1, name)
            seen.add(int(keyring))
        self.assertGreater(len(seen), 1)


class Commands(SuperdCase):
    """If superd runs as its handlers' user, that user may command; its handlers may not."""

    as_user = "nobody"

    def services(self):
        daemon = self.prepare()
        superctl = daemon.path("superctl")
        shutil.copy(SUPERCTL, superctl)
        os.chmod(superctl, 0o755)
        environment = dict(daemon.environment)
        ask = f"{superctl} --json list; {superctl} --json stop"
        daemon.service("handler", listen="tcp://127.0.0.1:0", model="fork", exec=["sh", "-c", ask],
                       environment=environment, stderr="socket")
        # A grandchild that its parents have left.
        daemon.service("orphan", listen="tcp://127.0.0.1:0", model="fork", environment=environment, stderr="socket",
                       exec=["sh", "-c", f"(setsid sh -c 'sleep 0.2; {ask}' &)"])
        return daemon.start(), superctl

    def test_handlers_only_look(self):
        """A handler, and what it leaves behind, may look, and may not command; the user outside may."""
        daemon, superctl = self.services()
        for name in ("handler", "orphan"):
            answers = [json.loads(line) for line in exchange(daemon.address(name)).decode().splitlines()
                       if line.startswith("{")]
            self.assertEqual([answer["ok"] for answer in answers], [True, False], answers)
            self.assertIn("a handler, and what it has started, may only look", answers[1]["error"])
        done = subprocess.run([superctl, "reload"], env=daemon.environment, check=False, text=True, user="nobody",
                              group=65534, extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_after_an_upgrade(self):
        """So it is after an upgrade."""
        daemon, superctl = self.services()
        subprocess.run([superctl, "upgrade"], env=daemon.environment, check=True, user="nobody", group=65534,
                       extra_groups=[], stdout=subprocess.DEVNULL)
        daemon.wait_for(message="upgraded to")
        self.assertIn(b"may only look", exchange(daemon.address("orphan")))

    def test_the_user_commands_without_descriptors(self):
        """superd distinguishes the user from a handler even when clients hold every descriptor that superd may
        have."""
        daemon, superctl = self.services()
        daemon.service("held", listen="tcp://127.0.0.1:0", model="fork", exec=["cat"],
                       limits={"per_source": 1, "wait_timeout": "10m"})
        daemon.reload()
        daemon.soft_limit("nofile", 150)
        for index in range(300):
            self.client(daemon.address("held"), source=(f"127.0.0.{2 + index % 100}", 0))
        daemon.wait_for(lambda record: record.get("errno") == errno.EMFILE)
        done = subprocess.run([superctl, "--json", "pause", "held"], env=daemon.environment, check=False, text=True,
                              user="nobody", group=65534, extra_groups=[], stdout=subprocess.PIPE)
        self.assertTrue(json.loads(done.stdout)["ok"], done.stdout)
