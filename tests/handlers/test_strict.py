# SPDX-License-Identifier: MIT
"""The real programs under sandbox.preset = "strict": which work, and which keys the others need. superd.toml(5) has the
same table; `python3 test_strict.py` prints it."""

import os
import subprocess
import unittest

from harness import TestCase
from sshd import SshdCase
from test_handlers import PATH, Fcgiwrap, GitDaemon, HandlerCase, MicroHttpd, RsyncDaemon, Tftpd, needs, program
from test_warm import Interpreters, Reports, Runtimes, Transfers

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "man", "superd.toml.5.in")
# What a test here shows of each: the keys beside the preset; None: it cannot do its work.
TABLE = {
    "agent in bash": {},
    "bash script": {},
    "dash script": {},
    "fcgiwrap": {},
    "git daemon": {},
    "gron (Go)": {},
    "in.fingerd": {},
    "in.tftpd": {"capabilities": ["SETUID", "SETGID", "SYS_CHROOT", "NET_BIND_SERVICE"], "private_network": False,
                 "restrict_address_families": ["AF_UNIX", "AF_INET", "AF_INET6"],
                 "syscalls": ["@system-service", "chroot"]},
    "Java program": {"memory_deny_write_execute": False},
    "micro-httpd": {},
    "Node.js script": {"memory_deny_write_execute": False},
    "Perl script": {},
    "PHP script": {},
    "Python script": {},
    "rsync": {},
    "Ruby script": {},
    "sshd": None,
    "svnserve": {},
    "Tcl script": {},
    "vsftpd": {"capabilities": ["SETUID", "SETGID", "SYS_CHROOT"],
               "private_network": False,
               "restrict_address_families": ["AF_UNIX", "AF_INET", "AF_INET6"],
               "syscalls": ["@system-service", "chroot"]},
}


def text_of(keys):
    """As superd.toml(5) has it."""
    def value(item):
        if isinstance(item, bool):
            return str(item).lower()
        return "[" + ", ".join(f'"{word}"' for word in item) + "]"

    if keys is None:
        return "does not work"
    return "; ".join(f"{name} = {value(item)}" for name, item in keys.items()) or "works"


class StrictCase(HandlerCase):  # has no tests itself
    """Every service of the daemon is strict, but for the keys that the table names."""

    name = ""

    def prepare(self, **options):
        daemon = super().prepare(**options)
        plain = daemon.service

        def service(name, text=None, **keys):
            keys.setdefault("sandbox", {"preset": "strict", **TABLE[self.name]})
            return plain(name, text, **keys)

        daemon.service = service
        return daemon


class GitDaemonStrict(StrictCase, GitDaemon):
    name = "git daemon"


class RsyncDaemonStrict(StrictCase, RsyncDaemon):
    name = "rsync"


class MicroHttpdStrict(StrictCase, MicroHttpd):
    name = "micro-httpd"


class TftpdStrict(StrictCase, Tftpd):
    name = "in.tftpd"


class FcgiwrapStrict(StrictCase, Fcgiwrap):
    name = "fcgiwrap"

    def test_a_pool_on_a_shared_socket(self):
        """fcgiwrap: a pool of workers runs CGI programs."""
        daemon = self.prepare()
        script = daemon.script("hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
                                        "echo \"hello $QUERY_STRING from $(id -u)\"\n")
        path = daemon.path("fcgi.sock")
        daemon.service("fcgi", listen=f"unix://{path}", model="prefork", handoff="listen",
                       exec=[program("fcgiwrap"), "-f"], prefork={"min_spare": 3}, socket={"mode": "0666"})
        daemon.start()
        for number in range(6):
            self.assertIn(f"hello n={number} from {self.handler_uid}",
                          self.request(path, script, f"n={number}").decode())


class ServedStrict(HandlerCase):  # has no tests itself
    """Clients of a service that is strict, but for the keys that the table names, get what those of base get."""

    def serves(self, program_, daemon, exec_, ask, keys=None, within=None):
        name = program_.removesuffix(" -i")
        daemon.service("base", listen="tcp://127.0.0.1:0", model="fork", exec=exec_, **(keys or {}))
        daemon.service("strict", listen="tcp://127.0.0.1:0", model="fork", exec=exec_, **(keys or {}),
                       sandbox={"preset": "strict", **TABLE[name]})
        daemon.service("bare", listen="tcp://127.0.0.1:0", model="fork", exec=exec_, **(keys or {}),
                       sandbox={"preset": "strict"})
        daemon.start()
        self.assertIsNone(within)
        for service in "base", "strict", "strict":  # the last by its launcher
            ask(daemon.address(service))
        if TABLE[name]:
            with self.assertRaises((AssertionError, OSError)):
                ask(daemon.address("bare"))


class InterpretersStrict(ServedStrict, Interpreters):
    pass


class RuntimesStrict(ServedStrict, Runtimes):
    pass


class ReportsStrict(ServedStrict, Reports):
    pass


class TransfersStrict(ServedStrict, Transfers):
    test_git_daemon = test_git_daemon_itself = test_rsync = test_micro_httpd = None  # above, with more clients


@unittest.skipUnless(os.geteuid() == 0, "needs root: sshd changes its user")
class SshdStrict(SshdCase, HandlerCase):
    def test_it_logs_in_under_base_alone(self):
        """sshd: a login needs what strict takes away."""
        daemon, login = self.prepare_login()
        words, keys = self.sshd(daemon)
        for preset in "base", "strict":
            daemon.service(preset, listen="tcp://127.0.0.1:0", model="fork", exec=words, sandbox={"preset": preset}, **keys)
        daemon.start()
        self.assertEqual(self.run_client(*self.ssh(daemon, daemon.address("base"), login), "echo in").decode(), "in\n")
        done = subprocess.run([*self.ssh(daemon, daemon.address("strict"), login), "echo in"], check=False, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PATH": PATH})
        self.assertNotEqual(done.stdout, b"in\n")


class Manual(TestCase):
    def test_the_manual_has_this_table(self):
        """superd.toml(5) says of each program what these tests show."""
        with open(MANUAL, encoding="utf-8") as file:
            manual = file.read()
        for name, keys in TABLE.items():
            self.assertIn(f".It {name}\n{text_of(keys)}\n", manual)


assert needs

if __name__ == "__main__":
    for each, opened in TABLE.items():
        print(f".It {each}\n{text_of(opened)}")
