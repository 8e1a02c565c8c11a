# SPDX-License-Identifier: MIT
"""A machine for recipes: namespaces of this process's own, in which the programs that tests/install has unpacked lie
over /usr, and /etc, /var, /run and /srv may be written to. So a recipe is served as it is, on its own port."""

import ctypes
import glob
import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
import unittest

from harness import SuperdCase
from harness.daemon import PATIENCE, Superd
from harness.place import new_folder

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "contrib", "recipes")
PROGRAMS = os.environ.get("SUPERD_PROGRAMS", "")
SUPERCTL = os.environ.get("SUPERD_CTL", "")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Whom the packages would have made, and `tester`, who logs in.
USERS = ("Debian-exim", "_tang", "bitlbee", "dictd", "distccd", "ftp", "nagios", "oident", "popa3d", "saned", "sshd",
         "tester", "tftp")
GROUPS = ("scanner",)
PASSWORD = "correct horse"
PASSWORD_HASH = "$6$salt$pfWEh40/jW3sybE9zOQ9fIpZ9F6fyy/jogzYisHAyINpuc9icJd187oNK8pukepHV.QSHFtNVGUeWCRJCE9G4/"
MOUNTED = []  # by this process, in its own namespace


def recipe_names():
    return sorted(os.path.basename(path).removesuffix(".toml") for path in glob.glob(os.path.join(RECIPES, "*.toml")))


def recipe_text(name):
    with open(os.path.join(RECIPES, name + ".toml"), encoding="utf-8") as file:
        return file.read()


def write(path, text, mode=0o644, owner=None):
    """A file of the machine, and the folders on its way."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(path, mode)
    if owner:
        shutil.chown(path, owner)
    return path


def folder(path, owner=None, mode=0o755):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)
    if owner:
        shutil.chown(path, owner)
    return path


def run(*command, **options):
    """A command that makes something of the machine."""
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          env={"PATH": PATH, "HOME": "/srv", "LC_ALL": "C"}, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout!r}\n{done.stderr!r}")


def mount(*words):
    done = subprocess.run(["mount", *words], check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise unittest.SkipTest(f"cannot mount here: {done.stderr.strip()}")
    MOUNTED.append(words[-1])


def add_users():
    with open("/etc/passwd", encoding="utf-8") as file:
        there = {line.split(":")[0] for line in file}
    with open("/etc/group", encoding="utf-8") as file:
        groups = {line.split(":")[0] for line in file}
    with open("/etc/passwd", "a", encoding="utf-8") as passwd, open("/etc/shadow", "a", encoding="utf-8") as shadow, \
            open("/etc/group", "a", encoding="utf-8") as group:
        for number, name in enumerate(USERS + GROUPS, 61300):
            home = "/home/tester" if name == "tester" else "/srv/ftp" if name == "ftp" else "/nonexistent"
            if name not in there and name not in GROUPS:
                passwd.write(f"{name}:x:{number}:{number}::{home}:/bin/sh\n")
                shadow.write(f"{name}:{PASSWORD_HASH if name == 'tester' else '*'}:20000:0:99999:7:::\n")
            if name not in groups:
                group.write(f"{name}:x:{number}:\n")


def enter(at):
    """Goes into the machine, whose changes are in memory, mounted at `at`."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root for its namespaces")
    if not os.path.isdir(os.path.join(PROGRAMS, "usr")):
        raise unittest.SkipTest("no programs are unpacked (tests/install recipes)")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise unittest.SkipTest(f"needs namespaces: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    # An address that is not a loopback one: without, getaddrinfo(3) under AI_ADDRCONFIG knows no localhost.
    subprocess.run(["ip", "-batch", "-"], input=b"link set lo up\naddr add 10.0.0.1/32 dev lo\n", check=True)
    mount("-t", "tmpfs", "-o", "mode=755", "machine", at)
    for name in ("usr", "etc", "var", "run"):
        own = folder(os.path.join(PROGRAMS, name))
        changes, work = folder(f"{at}/{name}"), folder(f"{at}/.{name}")
        mount("-t", "overlay", "-o", f"lowerdir={own}:/{name},upperdir={changes},workdir={work}", "machine", f"/{name}")
    for name in "/home", "/srv":
        mount("-t", "tmpfs", "-o", "mode=755", "machine", name)
    write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    add_users()
    folder("/home/tester", "tester")


def leave(at):
    """What has been mounted goes with the namespace, but the folder can go only once nothing is on it here."""
    while MOUNTED:
        subprocess.run(["umount", "-l", MOUNTED.pop()], check=True)
    os.rmdir(at)


def lacking(text):
    """Why the handler of a recipe cannot be run here; "" if it can."""
    program = tomllib.loads(text)["exec"][0]
    if not program.startswith("/"):
        return ""  # superd's own
    if not os.path.exists(program):
        return f"{program} is not there: {text.splitlines()[0][2:]}"
    loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    missing = [line.split()[0] for line in loaded.splitlines() if "not found" in line]
    return f"{program} lacks {', '.join(missing)}" if missing else ""


class RecipeCase(SuperdCase):  # has no tests itself
    """One daemon with all the recipes that the class's tests are named after: test_git_daemon is that of git-daemon.
    prepare_git_daemon makes what the recipe says that there must be."""

    MOVED = {}  # recipes that would have one port: what a drop-in gives them instead
    TUNED = {}  # what a drop-in changes beside, and why is said there

    @classmethod
    def setUpClass(cls):
        at = new_folder("superd-machine-")
        cls.addClassCleanup(leave, at)
        enter(at)
        cls.daemon = daemon = Superd(log_level="info")
        cls.addClassCleanup(daemon.discard)
        cls.addClassCleanup(daemon.stop)
        cls.reasons = {}
        for name in sorted(name for name in dir(cls) if name.startswith("test_")):
            recipe = name.removeprefix("test_").replace("_", "-")
            text = recipe_text(recipe)
            cls.reasons[recipe] = lacking(text)
            if cls.reasons[recipe]:
                continue
            getattr(cls, name.replace("test_", "prepare_"), lambda: None)()
            daemon.service(recipe, text)
            drop_in = cls.TUNED.get(recipe, "")
            if recipe in cls.MOVED:
                drop_in = f'listen = "{cls.MOVED[recipe]}"\n' + drop_in
            if drop_in:
                os.mkdir(daemon.path(f"conf.d/{recipe}.toml.d"))
                daemon.write(f"conf.d/{recipe}.toml.d/test.toml", drop_in)
        daemon.start()

    def setUp(self):
        super().setUp()
        self.daemons = [self.daemon]
        self.recipe = self._testMethodName.removeprefix("test_").replace("_", "-")
        if self.reasons[self.recipe]:
            self.skipTest(f"{self.recipe}: {self.reasons[self.recipe]}")
        self.home = folder("/srv/client-" + self.recipe, mode=0o755)

    def status(self):
        return self.daemon.ask("status", service=self.recipe)["services"][0]

    def tearDown(self):
        """superd has seen the client, or a worker of the recipe is there to have seen it. What is to be warm is."""
        service = self.status()
        self.assertTrue(service["accepted"] or service["handlers"], service)
        if service["warm"]:
            self.eventually(lambda: self.status()["warm"]["in_force"] == service["warm"]["wanted"], "warm")

    def run_client(self, *command, timeout=60, status=0, stdin=b"", **environment):
        """Runs a client and returns its stdout."""
        done = subprocess.run(command, timeout=timeout, input=stdin, capture_output=True, check=False, cwd=self.home,
                              env={"PATH": PATH, "HOME": self.home, "LC_ALL": "C", **environment})
        if done.returncode != status:
            self.fail(f"{command}: exit {done.returncode}\n{done.stdout[-2000:]!r}\n{done.stderr[-4000:]!r}")
        return done.stdout

    def connect(self, port, address="127.0.0.1"):
        sock = socket.create_connection((address, port), timeout=PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def ask(self, port, data, address="127.0.0.1"):
        """What comes until the end, after `data` and an end of ours."""
        with self.connect(port, address) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while part := sock.recv(65536):
                answer += part
        return answer

    def until(self, sock, pattern):
        """Reads until the text matches; returns all that was read."""
        read, deadline = b"", time.monotonic() + PATIENCE
        while not re.search(pattern, read):
            part = sock.recv(65536)
            if not part or time.monotonic() > deadline:
                self.fail(f"no {pattern!r} in {read!r}")
            read += part
        return read

    def backend(self, *command, ready):
        """A server that stands before or behind a recipe, until the end of the test."""
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                 env={"PATH": PATH}, cwd=self.home)

        def end():
            child.terminate()
            said = child.communicate(timeout=PATIENCE)[1]
            if child.returncode not in (0, -15):
                raise AssertionError(f"{command[0]} ended with {child.returncode}: {said!r}")

        self.addCleanup(end)
        self.eventually(lambda: child.poll() is not None or ready(), f"{command[0]} does not answer")
        return child
