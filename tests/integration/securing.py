# SPDX-License-Identifier: MIT
"""Services with [tls], and clients of them."""

import os
import shutil
import socket
import ssl
import tempfile

from certificates import Authority
from harness import Reader, connect, definition
from upgrading import UpgradeCase

TCP = "tcp://127.0.0.1:0"
# No handler's user here.
USER = "daemon"


class TlsCase(UpgradeCase):  # has no tests itself
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp(prefix="superd-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.chmod(cls.folder, 0o755)
        cls.authority = Authority(os.path.join(cls.folder, "ca"))
        cls.pair = cls.authority.issue("server", ["localhost"])

    def tls(self, pair=None, **keys):
        certificate, key = pair or self.pair
        user = {"user": USER} if self.root else {}
        return {"certificate": certificate, "key": key, **user, **keys}

    def secured(self, tls=None, text="", **keys):
        """A daemon with the service `web`, which is cat unless `keys` say otherwise."""
        daemon = self.prepare()
        self.define(daemon, tls, text, **keys)
        return daemon.start()

    def define(self, daemon, tls=None, text="", **keys):
        keys = {"listen": TCP, "model": "fork", "exec": ["/bin/cat"], **keys, "tls": self.tls(**(tls or {}))}
        return daemon.service("web", definition(**keys) + text)

    def context(self, authority=None, client=None, **changes):
        context = ssl.create_default_context(cafile=(authority or self.authority).certificate)
        if client is not None:
            context.load_cert_chain(*client)
        for name, value in changes.items():
            setattr(context, name, value)
        return context

    def secure(self, daemon, context=None, name="localhost", source=None, **options):
        """A client after its handshake."""
        raw = connect(daemon.address("web"), source=source)
        self.addCleanup(raw.close)
        sock = (context or self.context()).wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False, **options)
        self.addCleanup(sock.close)
        return sock

    def says(self, sock, word):
        sock.sendall(word + b"\n")
        self.assertEqual(Reader(sock).line(), word)

    def tls_processes(self, daemon):
        return [child.pid for child in daemon.children() if child.name == "superd-tls"]

    def tls_process(self, daemon):
        """The pid of its superd-tls, once it is there."""
        return self.eventually(lambda: self.tls_processes(daemon), "superd-tls")[0]

    def handlers(self, daemon):
        return [child.pid for child in daemon.children() if not child.name.startswith("superd-")]

    def refused(self, daemon, why, at_least=1):
        self.eventually(lambda: self.service_status(daemon)["refused"][why] >= at_least, f"{at_least} refused: {why}")

    def service_status(self, daemon, service="web"):
        return daemon.ask("status", service=service)["services"][0]

    def half(self, daemon, source=None):
        """A client that begins a handshake and says no more."""
        raw = connect(daemon.address("web"), source=source)
        self.addCleanup(raw.close)
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        return raw


def closed(sock):
    """Has the other side ended it, in whatever way?"""
    try:
        return sock.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True
    except socket.timeout:
        return False
