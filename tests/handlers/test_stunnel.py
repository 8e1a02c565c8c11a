# SPDX-License-Identifier: MIT
"""superctl import stunnel: stunnel itself and superd are given the same file, and the same clients."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import unittest

from harness.daemon import PATIENCE
from harness.loopback import own_loopback
from securing import USER, TlsCase

SUPERCTL = os.environ.get("SUPERD_CTL", "")
SAMPLE = "/usr/share/doc/stunnel4/examples/stunnel.conf-sample"
HOST = own_loopback()
STUNNEL = shutil.which("stunnel") or shutil.which("stunnel4")


HANDLER = """#!/bin/sh
read line
echo "$0 $* $line $(id -un) $(id -gn) $(id -G | wc -w) $REMOTE_HOST"
echo "err" >&2
"""


class Stunnel(TlsCase):
    def setUp(self):
        super().setUp()
        if STUNNEL is None:
            self.skipTest("not installed: stunnel4")
        if not self.root:
            self.skipTest("imported definitions are for a superd that is root")
        self.daemon = self.prepare()

    def backend(self, word):
        """A server that answers a line with a word and the line; its port."""
        listener = socket.create_server((HOST, 0))
        self.addCleanup(listener.close)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as client, client.makefile("rwb") as lines:
                        client.settimeout(PATIENCE)
                        lines.write(word + b" " + lines.readline())
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        return listener.getsockname()[1]

    def speak(self, port, *options, name="localhost"):
        """What openssl's client finds there; empty if it is not served."""
        with subprocess.Popen(["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile",
                               self.authority.certificate, "-servername", name, "-verify_hostname", name, *options,
                               "-connect", f"{HOST}:{port}"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
            try:
                with contextlib.suppress(BrokenPipeError):
                    client.stdin.write(b"hello\n")
                    client.stdin.flush()
                return client.stdout.read()
            finally:
                client.kill()

    def by_stunnel(self, text, port, clients):
        """What stunnel itself gives them; it has ended after that."""
        path = self.daemon.write("stunnel.conf", text)
        with subprocess.Popen([STUNNEL, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                def listens():
                    self.assertIsNone(process.poll(), "stunnel has ended")
                    with socket.socket() as sock:
                        return sock.connect_ex((HOST, port)) == 0
                self.eventually(listens, "stunnel listens")
                return [client() for client in clients]
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    def by_superd(self, clients):
        """The same by what the import makes of that file, and its report."""
        done = subprocess.run([SUPERCTL, "import", "stunnel", self.daemon.path("stunnel.conf"),
                               "--output", self.daemon.conf_dir],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in os.listdir(self.daemon.conf_dir):  # the package makes the user that is the default
            os.mkdir(self.daemon.path(f"conf.d/{name}.d"))
            self.daemon.write(f"conf.d/{name}.d/user.toml", f'[tls]\nuser = "{USER}"\n')
        self.daemon.start()
        return [client() for client in clients], done.stderr

    def compare(self, text, port, *clients):
        """Both give the clients the same; what that is, and the report."""
        expected = self.by_stunnel("foreground = yes\npid =\n" + text, port, clients)
        found, report = self.by_superd(clients)
        self.assertEqual(found, expected)
        return found, report

    def test_programs(self):
        """exec with its arguments, as setuid, and no stderr where stunnel keeps its own; names have their certificates."""
        named = self.authority.issue("named", ["www.named.example"])
        script = self.daemon.script("handler", HANDLER)
        found, _ = self.compare(f"""
setuid = nobody
setgid = nogroup
cert = {self.pair[0]}
key = {self.pair[1]}
[run]
accept = {HOST}:7840
accept = {HOST}:7841
exec = {script}
execArgs = handler  one two
[named]
sni = run:*.named.example
cert = {named[0]}
key = {named[1]}
exec = {script}
execArgs = handler  one two
""", 7840, lambda: self.speak(7840), lambda: self.speak(7841, "-tls1_2"),
                                lambda: self.speak(7840, name="www.named.example"),
                                lambda: self.speak(7840, name="www.other.example"))
        self.assertEqual(found[0].decode(), f"{script} one two hello nobody nogroup 1 127.0.0.1\n")
        self.assertEqual(found[1:], [found[0], found[0], b""])

    def test_certificates(self):
        """verify = 2 keeps out who has no certificate, or a revoked one; verify = 1 lets in who has none."""
        good, revoked = (self.authority.issue(name) for name in ("alice", "revoked"))
        self.authority.revoke("revoked")
        backend = self.backend(b"answer")
        text = f"""
cert = {self.pair[0]}
key = {self.pair[1]}
CAfile = {self.authority.certificate}
CRLfile = {self.authority.revocation_list()}
connect = {HOST}:{backend}
"""
        clients = [lambda options=options, port=port: self.speak(port, *options)
                   for port in (7842, 7843)
                   for options in ((), ("-cert", good[0], "-key", good[1]), ("-cert", revoked[0], "-key", revoked[1]))]
        found, report = self.compare(text + f"[needed]\nverify = 2\naccept = {HOST}:7842\n"
                                     f"[asked]\nverify = 1\naccept = {HOST}:7843\n", 7842, *clients)
        answer = b"answer hello\n"
        self.assertEqual(found, [b"", answer, b"", answer, answer, b""])
        self.assertIn("superd-proxy", report)

    def test_security_level(self):
        """securityLevel = 3 keeps out who has a key of 112 bits of security, whom the usual level lets in."""
        strong, weak = self.authority.issue("strong"), self.authority.issue("weak", rsa=True)
        text = f"""
cert = {self.pair[0]}
key = {self.pair[1]}
CAfile = {self.authority.certificate}
verify = 02
connect = {HOST}:{self.backend(b"answer")}
"""
        clients = [lambda pair=pair, port=port: self.speak(port, "-cert", pair[0], "-key", pair[1])
                   for port in (7844, 7845) for pair in (strong, weak)]
        found, _ = self.compare(text + f"[three]\nsecurityLevel = 3\naccept = {HOST}:7844\n"
                                f"[usual]\naccept = {HOST}:7845\n", 7844, *clients)
        answer = b"answer hello\n"
        self.assertEqual(found, [answer, b"", answer, answer])

    def test_sample(self):
        """Debian's sample with its server sections switched on: clients find what is behind each; what it has for
        clients of TLS is left out, with the reason."""
        if not os.path.exists(SAMPLE):
            self.skipTest(f"not there: {SAMPLE}")
        with open(SAMPLE, encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r"(?m)^;(\[(?:pop3s|imaps|ssmtp|https)\]|accept|connect|cert|TIMEOUTclose)", r"\1", text)
        text = re.sub(r"(?m)^\[example-pkcs11\]|^;\[(shell|mysql)\]", r"; \1", text)
        ports = {}
        for theirs, ours, name in ((110, 995, "pop3s"), (143, 993, "imaps"), (25, 465, "ssmtp"), (80, 443, "https")):
            ports[name] = 7850 + len(ports)
            text = re.sub(rf"(?m)^accept  = {ours}$", f"accept = {HOST}:{ports[name]}", text)
            text = re.sub(rf"(?m)^connect = {theirs}$", f"connect = {HOST}:{self.backend(name.encode())}", text)
        text = text.replace("/etc/stunnel/stunnel.pem", self.pair[0] + f"\nkey = {self.pair[1]}")
        self.daemon.write("stunnel.conf", text[:text.index("; Remote shell")])
        found, report = self.by_superd([lambda port=port: self.speak(port) for port in ports.values()])
        self.assertEqual(found, [name.encode() + b" hello\n" for name in ports])
        self.assertEqual(len(re.findall(r"client = yes: .*left out", report)), 3, report)


if __name__ == "__main__":
    unittest.main()
