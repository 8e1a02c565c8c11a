# SPDX-License-Identifier: MIT
"""Real programs of the distribution, unmodified, served by superd: as root and, where they can, as an ordinary user."""

import hashlib
import os
import pwd
import shutil
import subprocess
import unittest

from harness import SuperdCase
from harness import process
from sshd import SshdCase

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def program(name):
    return shutil.which(name, path=PATH)


def needs(*names):
    missing = [name for name in names if program(name) is None]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)} (tests/packages names the packages)")


class HandlerCase(SuperdCase):  # has no tests itself
    def run_client(self, *command, timeout=240, **options):
        """Runs a client program and returns its stdout."""
        options.setdefault("env", {"PATH": PATH, "HOME": self.home, "LC_ALL": "C"})
        options.setdefault("input", b"")
        done = subprocess.run(command, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              **options)
        if done.returncode != 0:
            self.fail(f"{command}: exit {done.returncode}\n{done.stdout[-2000:]!r}\n{done.stderr[-4000:]!r}")
        return done.stdout

    def prepare(self, **options):
        daemon = super().prepare(**options)
        self.home = daemon.shared("client")
        return daemon

    def give(self, path):
        """Makes a tree the property of the user that handlers run as."""
        if os.geteuid() == 0:
            group = pwd.getpwuid(self.handler_uid).pw_gid
            for directory, _, files in os.walk(path):
                for entry in [directory, *(os.path.join(directory, name) for name in files)]:
                    os.chown(entry, self.handler_uid, group, follow_symlinks=False)

    @staticmethod
    def port(uri):
        return uri.rsplit(":", 1)[1]


@needs("git")
class GitDaemon(HandlerCase):
    FILES = 1000

    def repository(self, daemon):
        """A repository of 1,000 files, and their digests."""
        tree = daemon.shared("tree")
        digests = {}
        for number in range(self.FILES):
            name = f"folder{number % 20}/file{number:04}"
            data = hashlib.sha256(name.encode()).digest() * (1 + number % 50)
            os.makedirs(os.path.join(tree, os.path.dirname(name)), exist_ok=True)
            with open(os.path.join(tree, name), "wb") as file:
                file.write(data)
            digests[name] = hashlib.sha256(data).hexdigest()
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a thousand files"]):
            self.run_client(*git, *words, cwd=tree)
        os.mkdir(daemon.path("repositories"))
        self.run_client("git", "clone", "-q", "--bare", tree, daemon.path("repositories/thousand.git"))
        self.give(daemon.path("repositories"))
        return digests

    def test_clone(self):
        """git daemon --inetd: a repository of 1,000 files is cloned whole, by several at once, under fork and
        prefork."""
        daemon = self.prepare()
        digests = self.repository(daemon)
        for model in ("fork", "prefork"):
            daemon.service(f"git-{model}", listen="tcp://127.0.0.1:0", model=model,
                           exec=["git", "daemon", "--inetd", "--export-all", f"--base-path={daemon.path('repositories')}"])
        daemon.start()
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                port = self.port(daemon.address(f"git-{model}"))
                self.run_client("git", "ls-remote", f"git://127.0.0.1:{port}/thousand.git")
                clones = [subprocess.Popen(["git", "clone", "-q", f"git://127.0.0.1:{port}/thousand.git",
                                            os.path.join(self.home, f"{model}{number}")],
                                           env={"PATH": PATH, "HOME": self.home}) for number in range(3)]
                self.assertEqual([clone.wait(240) for clone in clones], [0, 0, 0])
                for number in range(3):
                    for name, digest in digests.items():
                        with open(os.path.join(self.home, f"{model}{number}", name), "rb") as file:
                            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), digest, name)


class GitDaemonAsUser(GitDaemon):
    as_user = "nobody"


@needs("rsync")
class RsyncDaemon(HandlerCase):
    SIZE = 100 << 20

    @staticmethod
    def digest(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def test_100_mib(self):
        """rsync --daemon: 100 MiB of random data come over with equal checksums, and again as no change."""
        daemon = self.prepare()
        data = daemon.shared("data")
        with open(os.path.join(data, "blob"), "wb") as file:
            for _ in range(self.SIZE >> 20):
                file.write(os.urandom(1 << 20))
        config = daemon.write("rsyncd.conf", "use chroot = no\n[data]\n"
                              f"path = {data}\nread only = yes\n")
        daemon.service("rsync", listen="tcp://127.0.0.1:0", model="fork",
                       exec=["rsync", "--daemon", f"--config={config}"])
        daemon.start()
        source = f"rsync://127.0.0.1:{self.port(daemon.address('rsync'))}/data/"
        target = os.path.join(self.home, "copy")
        self.run_client("rsync", "-a", source, target)
        self.assertEqual(self.digest(os.path.join(target, "blob")), self.digest(os.path.join(data, "blob")))
        self.assertEqual(self.run_client("rsync", "-a", "--itemize-changes", source, target).strip(), b"")


class RsyncDaemonAsUser(RsyncDaemon):
    as_user = "nobody"


@needs("sshd", "ssh", "ssh-keygen", "unshare")
class Sshd(SshdCase, HandlerCase):
    def test_run_a_command(self):
        """sshd -i: a user logs in by key and runs a command; its output, its status and 4 MiB of input come through."""
        daemon, login = self.prepare_login()
        words, keys = self.sshd(daemon)
        for model in ("fork", "prefork"):
            daemon.service(model, listen="tcp://127.0.0.1:0", model=model,
                           exec=words, **keys)
        daemon.start()
        uid = self.UID if login == "tester" else os.geteuid()
        for model in ("fork", "prefork"):
            with self.subTest(model=model):
                ssh = self.ssh(daemon, daemon.address(model), login)
                self.assertEqual(self.run_client(*ssh, "echo ran as $(id -u)").decode(), f"ran as {uid}\n")
                data = os.urandom(4 << 20)
                done = subprocess.run([*ssh, "sha256sum; exit 7"], input=data, stdout=subprocess.PIPE, timeout=120,
                                      check=False)
                self.assertEqual(done.returncode, 7)
                self.assertEqual(done.stdout.split()[0].decode(), hashlib.sha256(data).hexdigest())


class SshdAsUser(Sshd):
    as_user = "tester"


@unittest.skipUnless(os.geteuid() == 0, "in.tftpd changes its user and root directory itself: needs root")
@needs("in.tftpd", "tftp")
class Tftpd(HandlerCase):
    def handlers(self, daemon):
        return [child.pid for child in daemon.children() if child.name == "in.tftpd"]

    def test_two_transfers(self):
        """in.tftpd, iterative on a datagram socket: it owns the socket, serves, leaves when idle; superd watches again
        and the next transfer is served by a new one."""
        daemon = self.prepare()
        folder = daemon.shared("tftp")
        contents = {}
        for name, size in (("one", 300000), ("two", 512), ("three", 1)):
            contents[name] = os.urandom(size)
            with open(os.path.join(folder, name), "wb") as file:
                file.write(contents[name])
        daemon.service("tftp", listen="udp://127.0.0.1:0", model="iterative", user="root",
                       exec=["in.tftpd", "--timeout", "2", "--secure", folder])
        daemon.start()
        port = self.port(daemon.address("tftp"))
        seen = set()
        for name in ("one", "two", "three"):
            target = os.path.join(self.home, name)
            # That of Debian 13 loses the first request that it gets under any inetd, and serves the repeated one.
            self.run_client("tftp", "-m", "binary", "127.0.0.1", port, input=f"rexmt 1\nget {name} {target}\n".encode())
            with open(target, "rb") as file:
                self.assertEqual(file.read(), contents[name])
            pids = set(self.handlers(daemon))
            self.assertEqual(len(pids), 1)
            seen |= pids
            if name != "two":  # between "two" and "three" the same one stays
                self.eventually(lambda: not self.handlers(daemon), "in.tftpd leaves when idle")
        self.assertGreaterEqual(len(seen), 2)
        self.assertEqual(daemon.status()["tftp"]["state"], "listening")


@needs("micro-httpd", "curl")
class MicroHttpd(HandlerCase):
    def test_curl(self):
        """micro-httpd: curl fetches a page, a large file and a missing one, a hundred times, under each model."""
        daemon = self.prepare()
        www = daemon.shared("www")
        page, large = b"<html>a page</html>\n", os.urandom(3 << 20)
        for name, data in (("index.html", page), ("large.bin", large)):
            with open(os.path.join(www, name), "wb") as file:
                file.write(data)
        models = ("fork", "prefork", "iterative", "delayed")
        for model in models:
            daemon.service(model, listen="tcp://127.0.0.1:0", model=model, exec=[program("micro-httpd"), www])
        daemon.start()
        for model in models:
            with self.subTest(model=model):
                base = f"http://127.0.0.1:{self.port(daemon.address(model))}"
                self.assertEqual(self.run_client("curl", "-sS", "--fail", f"{base}/index.html"), page)
                self.assertEqual(self.run_client("curl", "-sS", "--fail", f"{base}/large.bin"), large)
                self.assertEqual(self.run_client("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
                                                 f"{base}/missing"), b"404")
                many = self.run_client("curl", "-sS", "--fail", *[f"{base}/index.html"] * 25)
                self.assertEqual(many, page * 25)


class MicroHttpdAsUser(MicroHttpd):
    as_user = "nobody"


@needs("fcgiwrap", "cgi-fcgi")
class Fcgiwrap(HandlerCase):
    def request(self, path, script, query):
        environment = {"PATH": PATH, "SCRIPT_FILENAME": script, "REQUEST_METHOD": "GET", "QUERY_STRING": query,
                       "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1"}
        return self.run_client("cgi-fcgi", "-bind", "-connect", path, env=environment).replace(b"\r\n", b"\n")

    def test_a_pool_on_a_shared_socket(self):
        """fcgiwrap, prefork with handoff = "listen": a pool of workers answers FastCGI requests on a unix socket, each
        worker many of them; a killed worker is replaced."""
        daemon = self.prepare()
        script = daemon.script("hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
                                        "echo \"hello $QUERY_STRING from $(id -u), worker $PPID\"\n")
        path = daemon.path("fcgi.sock")
        daemon.service("fcgi", listen=f"unix://{path}", model="prefork", handoff="listen",
                       exec=[program("fcgiwrap"), "-f"], prefork={"min_spare": 3}, socket={"mode": "0666"})
        daemon.start()
        workers = self.eventually(lambda: len(daemon.children()) == 3 and {c.pid for c in daemon.children()},
                                  "three workers before the first request")
        for pid in workers:
            self.eventually(lambda pid=pid: process.status(pid)["Uid"].split() == [str(self.handler_uid)] * 4,
                            "each worker under the target user")
        seen = set()
        for number in range(12):
            text = self.request(path, script, f"n={number}").decode()
            self.assertIn(f"hello n={number} from {self.handler_uid}, worker ", text)
            seen.add(int(text.split("worker ")[1]))
        self.assertLessEqual(seen, workers)
        victim = seen.pop()
        os.kill(victim, 9)
        self.eventually(lambda: len({c.pid for c in daemon.children()} - {victim}) == 3, "replaced")
        self.assertIn("hello again", self.request(path, script, "again").decode())


class FcgiwrapAsUser(Fcgiwrap):
    as_user = "nobody"
