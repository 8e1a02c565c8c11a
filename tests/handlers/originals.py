# SPDX-License-Identifier: MIT
"""The daemons whose files superctl imports, each in a network namespace with clients from many addresses, and superd
in its place with the imported definitions: who is served, and what the handler finds."""

import concurrent.futures
import ctypes
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from harness import TestCase
from harness.daemon import PATIENCE, leftovers
from harness.place import new_folder

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
PACKAGES = os.environ.get("SUPERD_PACKAGES", "")
SUPERCTL = os.environ.get("SUPERD_CTL", "")
SUPERD = os.environ.get("SUPERD_BINARY", "")
PROBE = os.environ.get("SUPERD_PROBE", "")

# Which clients they ask as, and how.
CLIENTS = [("127.0.0.1", "127.0.0.1"), ("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.1.0.2"), ("10.0.0.1", "192.168.0.1"),
           ("10.0.0.1", "192.168.1.2"), ("::1", "::1"), ("fd00::1", "fd00::2"), ("fd00::1", "fd00:1::2")]
ADDRESSES = sorted({address for pair in CLIENTS for address in pair} - {"127.0.0.1", "::1"} | {"10.0.0.9"})
FACTS = ("uid", "gid", "groups", "umask", "nice", "arg", "rlimit as", "rlimit cpu", "rlimit data", "rlimit nofile",
         "rlimit stack", "env A=", "env B=", "env C=", "env PASSED=")
GRACE = 0.5  # how long to wait for datagrams, and for clients of a socket on which nobody accepts


def program(package, path):
    """A daemon of a package that tests/install has unpacked, or that is installed."""
    for root in (os.path.join(PACKAGES, package), "/"):
        found = os.path.join(root, path)
        if os.path.exists(found):
            missing = [line for line in subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
                       .stdout.splitlines() if "not found" in line]
            if missing:
                raise unittest.SkipTest(f"{package} needs {missing[0].strip()}")
            return found
    raise unittest.SkipTest(f"neither unpacked nor installed: {package} (tests/install unpacked)")


def enter_namespace():
    """A network of this process's own, with all the addresses, and its own mounts."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root for a network namespace")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise unittest.SkipTest(f"needs a network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    batch = "link set lo up\n" + "".join(
        f"addr add {address}/{128 if ':' in address else 32} dev lo{' nodad' if ':' in address else ''}\n"
        for address in ADDRESSES)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, stdout=subprocess.DEVNULL)


def facts_of(answer):
    """What the handler found. superd's argv[0] is the path; the original's is the name at its end."""
    found = [line for line in answer.decode("utf-8", "replace").splitlines() if line.startswith(FACTS)]
    if answer.startswith(b"pid ") is False:
        found.append("something before it")
    # Group 0 next to uid 0 says nothing: it comes from whatever started the daemon.
    if "uid 0 0 0" in found:
        found = ["groups" if line == "groups 0" else line for line in found]
    # The originals hand on their own soft limit of descriptors, which xinetd has raised; superd at most 1024.
    found = [re.sub(r"^rlimit nofile \S+ ", "rlimit nofile ", line) for line in found]
    first = next((at for at, line in enumerate(found) if line.startswith("arg ")), None)
    if first is not None:
        found[first] = "arg " + os.path.basename(found[first].removeprefix("arg "))
    return found


def ask(kind, server, client, port):
    """(outcome, facts): "served", "refused" (accepted, and closed without a word), "closed", "silent". Silence is
    asked again: a busy machine is slow, and a datagram may come between two handlers."""
    for _ in range(3):
        outcome, facts = ask_once(kind, server, client, port)
        if outcome != "silent":
            break
    return outcome, facts


def ask_once(kind, server, client, port):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(GRACE)
        sock.bind((client, 0))
        answer = b""
        try:
            if kind == "udp":
                # The answer may come from another of its addresses, so this does not connect.
                level, recverr = (socket.IPPROTO_IPV6, 25) if ":" in server else (socket.IPPROTO_IP, 11)
                sock.setsockopt(level, recverr, 1)
                sock.sendto(b"x", (server, port))
                answer = sock.recv(65536)
            else:
                sock.connect((server, port))
                sock.settimeout(PATIENCE)
                while part := sock.recv(65536):
                    answer += part
                    if answer.endswith(b"\nend\n"):
                        break
        except socket.timeout:
            return "silent", []
        except ConnectionRefusedError:
            return "closed", []
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE):
                raise
        return ("served", facts_of(answer)) if answer else ("refused", [])


def ask_all(ports):
    """{(kind, port): {client: (outcome, facts)}}: the ports at once, a port's clients one after the other."""
    def one(where):
        return {client: ask(where[0], server, client, where[1]) for server, client in CLIENTS}
    with concurrent.futures.ThreadPoolExecutor(max_workers=24) as pool:
        return dict(zip(ports, pool.map(one, ports)))


class Case(TestCase):  # has no tests itself
    """Folders, daemons and their ends."""

    @classmethod
    def setUpClass(cls):
        enter_namespace()

    def setUp(self):
        self.folder = new_folder("superd-import-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def mount(self, name, text):
        """A file of /etc with this text, until the end of the test; it must exist."""
        source = self.write("etc" + name.replace("/", "-"), text)
        subprocess.run(["mount", "--bind", source, name], check=True)
        self.addCleanup(subprocess.run, ["umount", name], check=True)

    def under(self, command, ready, ports, environment=None):
        """All clients' answers while the daemon runs. `ready(log)` is true once it listens."""
        log = self.path("log")
        with open(log, "wb") as file:
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                      start_new_session=True, env=environment or {"PATH": os.environ["PATH"]})
        try:
            self.eventually(lambda: daemon.poll() is not None or ready(log), f"{command[0]} does not listen")
            if daemon.poll() is not None:
                with open(log, encoding="utf-8", errors="replace") as file:
                    self.fail(f"{command[0]} ended with {daemon.returncode}: {file.read()}")
            return ask_all(ports)
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
            leftovers(0)

    def listening(self, port):
        """Nobody is asked, so no daemon counts a client."""
        def is_there(_log):
            with open("/proc/net/tcp", encoding="ascii") as four, open("/proc/net/tcp6", encoding="ascii") as six:
                lines = [*four, *six]
            return any(f":{port:04X} " in line and " 0A " in line for line in lines)
        return is_there

    def imported(self, form, *arguments):
        """The report's notes and the services, from definitions in conf.d."""
        shutil.rmtree(self.path("conf.d"), ignore_errors=True)
        done = subprocess.run([SUPERCTL, "--json", "import", form, *arguments, "--output", self.path("conf.d")],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, text=True, check=False)
        os.makedirs(self.path("conf.d"), exist_ok=True)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        report = json.loads(done.stdout)
        # What names something that is not here would keep superd from loading the rest, and is not served either way.
        for name in {note["service"] for note in report["report"] if note["fate"] == "missing"}:
            os.unlink(self.path(f"conf.d/{name}.toml"))
        return report

    def forget(self, name):
        """Takes a definition away, if it is there."""
        if os.path.exists(self.path(f"conf.d/{name}.toml")):
            os.unlink(self.path(f"conf.d/{name}.toml"))

    def clear(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)

    def under_superd(self, sentinel, ports, environment=None):
        """As `under`, with the definitions of conf.d, and one that shows that superd listens."""
        self.write("conf.d/sentinel.toml",
                   f'listen = "tcp://127.0.0.1:{sentinel}"\nmodel = "fork"\nexec = ["/bin/true"]\n')
        self.write("superd.toml", "")
        return self.under([SUPERD, "--config", self.path("superd.toml"), "--conf-dir", self.path("conf.d"), "--control",
                           self.path("control.sock"), "--log-format", "text"],
                          self.listening(sentinel), ports, environment)

    def compare(self, entries, theirs, ours, report):
        """Each entry: name, ports, says. If the two differ, a note about the entry must match `says`; if it is None
        they must not differ."""
        for entry in entries:
            with self.subTest(file=entry.name):
                notes = [note["text"] for note in report["report"]
                         if entry.owns(note, report)]
                differing = [f"{where} {client}: original {theirs[where][client]}, superd {ours[where][client]}"
                             for where in entry.ports for _, client in CLIENTS
                             if theirs[where][client] != ours[where][client]]
                shown = "\n".join([entry.text, *differing, "notes:", *notes])
                if entry.says is None:
                    self.assertEqual(differing, [], shown)
                else:
                    self.assertRegex("\n".join(notes), entry.says, shown)
                    self.assertNotEqual(differing, [], f"agrees, whatever is said:\n{shown}")
                seen = {theirs[where][client][0] for where in entry.ports for _, client in CLIENTS}
                self.assertLessEqual(set(entry.outcomes), seen, shown)
