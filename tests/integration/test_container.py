# SPDX-License-Identifier: MIT
"""superd as process 1 of a container: with a read-only root, as root and as somebody without any privilege."""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from harness import Reader, SuperdCase, connect, exchange, process
from harness.place import base

TCP = "tcp://127.0.0.1:0"
START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "container.sh")
# One ends by itself, and one does not even when it is asked to.
ORPHANS = """#!/bin/sh
(setsid sleep 0.1 </dev/null >/dev/null 2>&1 &)
(setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' </dev/null >/dev/null 2>&1 &)
touch /touched 2>&1
echo done
"""
SHELL = "#!/bin/sh\nread -r line\necho \"$line\"\n"
CLONE_NEWNS, MS_PRIVATE, MS_REC = 0x20000, 1 << 18, 1 << 14


class ContainerCase(SuperdCase):  # has no tests itself
    """`inside`: who superd is there; `own_users`: whether there is a user namespace around it."""

    inside, own_users = "root", False

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root to make a container")
        if subprocess.run(self.unshare("true"), check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("needs a kernel that lets this user unshare")

    def unshare(self, *words):
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if self.own_users else []
        return [*user, "unshare", *(["--user", "--map-root-user"] if self.own_users else []), "--mount", "--pid", "--fork",
                "--kill-child=KILL", *words]

    def contained(self, daemon, shown=""):
        """Starts it as process 1; `shown`: a folder that it finds as /map."""
        if self.own_users:
            for path in (daemon.directory, *pathlib.Path(daemon.directory).rglob("*")):
                shutil.chown(path, "nobody", "nogroup")
        daemon.prefix = self.unshare(START, os.path.dirname(os.path.dirname(daemon.installation.superd)),
                                     daemon.directory, shown, self.inside)
        daemon.environment["SUPERD_CONTROL"] = "/run/superd/control.sock"
        daemon.environment["ASAN_OPTIONS"] = "detect_leaks=0"  # that cannot trace process 1
        daemon.start()
        (first,) = process.children(daemon.process.pid)
        daemon.pid = first.pid
        daemon.process.send_signal = lambda number: os.kill(first.pid, number)
        self.assertEqual(process.status(first.pid)["NSpid"].split()[-1], "1")
        return daemon

    def within(self, daemon, *words):
        """Runs something in the container, as kubectl exec does: its parent is outside."""
        return subprocess.run(["nsenter", "--target", str(daemon.pid), "--mount", "--pid", "--root", "--wd", *words],
                              text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)


class AsRoot(ContainerCase):
    def services(self, config=""):
        daemon = self.prepare(config=config)
        orphans, shell = daemon.script("orphans.sh", ORPHANS), daemon.script("echo.sh", SHELL)
        daemon.service("orphans", listen=TCP, model="fork", exec=[orphans])
        daemon.service("fork", listen=TCP, model="fork", exec=["cat"])
        daemon.service("strict", listen=TCP, model="fork", exec=["cat"], sandbox={"preset": "strict"})
        daemon.service("parked", listen=TCP, model="prefork", exec=["cat"])
        daemon.service("pool", listen=TCP, model="prefork", handoff="listen", exec=["superd-echo"])
        daemon.service("warm", listen=TCP, model="prefork", exec=[shell], prefork={"warm": "clone", "min_spare": 1})
        return self.contained(daemon)

    def zombies(self, daemon):
        return [child for child in process.children(daemon.pid) if child.state in "ZX"]

    def test_it_serves(self):
        """Every model and the strict sandbox serve; the root is read-only; superd goes on through an upgrade in place and
        stays process 1."""
        daemon = self.services()
        for _ in range(2):
            for name in ("fork", "strict", "parked", "pool", "warm"):
                self.assertEqual(exchange(daemon.address(name), b"hello\n"), b"hello\n", name)
            self.assertIn(b"Read-only file system", exchange(daemon.address("orphans")))
            since = daemon.mark()
            daemon.process.send_signal(signal.SIGUSR2)
            daemon.wait_for(message="upgraded to", since=since)
        self.assertEqual(process.status(daemon.pid)["NSpid"].split()[-1], "1")

    def test_it_reaps_strangers(self):
        """What handlers leave, and what others have started in the container, becomes superd's child, and is reaped."""
        daemon = self.services()
        for _ in range(5):
            self.assertTrue(exchange(daemon.address("orphans")).endswith(b"done\n"))
            self.within(daemon, "sh", "-c", "(setsid sleep 0.2 &) </dev/null >/dev/null 2>&1")

        def orphans():
            return [child for child in process.children(daemon.pid) if process.words(child.pid)[:1] == ["sh"]]

        self.eventually(lambda: len(orphans()) == 5, "five that stay")
        self.eventually(lambda: not [child for child in process.children(daemon.pid) if child.name == "sleep"],
                        "those that end have ended")
        self.eventually(lambda: not self.zombies(daemon), "none is left unreaped")
        self.assertEqual(exchange(daemon.address("fork"), b"hello\n"), b"hello\n")

    def test_it_drains_and_ends(self):
        """TERM: superd serves on for [shutdown] drain, asks its handlers to leave, and exits with 0, whatever strangers do;
        all that was in the container is gone then."""
        daemon = self.services('[shutdown]\ndrain = "2s"\n')
        held = self.client(daemon.address("fork"))
        held.sendall(b"x\n")
        self.assertEqual(Reader(held).line(), b"x")
        self.assertTrue(exchange(daemon.address("orphans")).endswith(b"done\n"))
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for(message="draining: ")
        with connect(daemon.address("fork")) as late:
            late.sendall(b"late\n")
            self.assertEqual(Reader(late).line(), b"late")
        self.assertEqual(daemon.wait(), 0)
        self.assertEqual(held.recv(1), b"")
        self.assertTrue(daemon.find(lambda r: r["message"] == "stopped"))

    def test_it_ends_at_once(self):
        """Without [shutdown] drain TERM ends it at once, INT too, as in a terminal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.services()
            daemon.process.send_signal(number)
            self.assertEqual(daemon.wait(), 0)
            self.assertTrue(daemon.find(lambda r: r["message"] == "stopped"))


class WithoutPrivilege(AsRoot):
    """As Kubernetes' restricted profile has it: not root, no capability, none to be had."""

    inside = "nobody"

    def test_it_has_no_capability(self):
        """Neither superd nor a handler has or can get any."""
        daemon = self.services()
        handler = self.client(daemon.address("fork"))
        handler.sendall(b"x\n")
        self.assertEqual(Reader(handler).line(), b"x")
        cats = [child.pid for child in process.children(daemon.pid) if child.name == "cat"]
        self.assertTrue(cats)
        for pid in (daemon.pid, *cats):
            status = process.status(pid)
            self.assertEqual({status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
                             {"0" * 16})
            self.assertEqual(status["NoNewPrivs"].strip(), "1")

    def test_a_config_map(self):
        """Definitions in a config map, whose folder has mode 0777: they are trusted since nobody can write there, and a swap
        of ..data, as kubelet does it, is a change as any other. The same folder is refused where it is writable."""
        # Mounts of this test's own, which go with it.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0:
            self.skipTest("needs mounts of its own")
        config_map = tempfile.mkdtemp(prefix="superd-map-", dir=base())
        self.addCleanup(os.rmdir, config_map)
        self.assertEqual(libc.mount(b"map", config_map.encode(), b"tmpfs", 0, b"mode=777"), 0)
        self.addCleanup(libc.umount, config_map.encode())
        fill(config_map, "1", echo='listen = "tcp://127.0.0.1:0"\nmodel = "fork"\nexec = ["cat"]\n')
        daemon = self.prepare()
        daemon.conf_dir = "/map"
        self.contained(daemon, config_map)
        self.assertEqual(exchange(daemon.address("echo"), b"hello\n"), b"hello\n")
        fill(config_map, "2", echo='listen = "tcp://127.0.0.1:0"\nmodel = "fork"\nexec = ["echo", "second"]\n',
             more='listen = "tcp://127.0.0.1:0"\nmodel = "fork"\nexec = ["cat"]\n')
        daemon.reload()
        self.assertEqual(exchange(daemon.address("echo")), b"second\n")
        self.assertEqual(exchange(daemon.address("more"), b"hello\n"), b"hello\n")
        fill(config_map, "3", more='listen = "tcp://127.0.0.1:0"\nmodel = "fork"\nexec = ["none-such"]\n')
        daemon.reload(refused=True)
        self.assertEqual(exchange(daemon.address("more"), b"hello\n"), b"hello\n")
        open_to_all = self.prepare()
        open_to_all.conf_dir = config_map
        status, said = open_to_all.check()
        self.assertEqual(status, 1)
        self.assertIn("may be written by users other than its owner (mode 0777)", said)


class InUserNamespace(AsRoot):
    """As without root on the host: a user namespace of an ordinary user's, and in it somebody who is not root either."""

    inside, own_users = "own", True


def fill(config_map, version, **files):
    """As kubelet writes a config map: files in a folder of their own, links to them through ..data, which is swapped."""
    old = os.path.join(config_map, "..data")
    before = os.readlink(old) if os.path.islink(old) else None
    folder = f"..2026_11_26_{version}"
    os.mkdir(os.path.join(config_map, folder), 0o755)
    for name, text in files.items():
        pathlib.Path(config_map, folder, f"{name}.toml").write_text(text, encoding="utf-8")
    os.symlink(folder, os.path.join(config_map, "..data_tmp"))
    os.rename(os.path.join(config_map, "..data_tmp"), old)
    for name in files:
        link = os.path.join(config_map, f"{name}.toml")
        if not os.path.islink(link):
            os.symlink(f"..data/{name}.toml", link)
    for entry in os.listdir(config_map):
        if entry.endswith(".toml") and entry.removesuffix(".toml") not in files:
            os.unlink(os.path.join(config_map, entry))
    if before is not None:
        shutil.rmtree(os.path.join(config_map, before))
