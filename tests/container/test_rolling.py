# SPDX-License-Identifier: MIT
"""A rolling replacement: pods come and go behind HAProxy, which follows their /readyz, and no client notices."""

import asyncio
import os
import pathlib
import signal
import shutil
import socket
import subprocess
import tempfile
import threading

from harness import Reader, SuperdCase
from harness.loopback import own_loopback

CONNECTIONS = int(os.environ.get("SUPERD_ROLLING", "2000"))
AT_ONCE = 16
# Those whom a server refuses are lost: nothing is tried again.
CONFIG = """global
    stats socket {folder}/stats
defaults
    mode tcp
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    timeout check 20s
    retries 0
listen front
    bind fd@{listener}
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host 127.0.0.1
    http-check expect status 200
    default-server check inter {interval} downinter 100ms fall 1 rise 1 init-addr none
    server pod0 {address}:7860 port 7861
    server pod1 {address}:7862 port 7863
"""


class Rolling(SuperdCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("haproxy"):
            self.skipTest("needs haproxy")
        self.folder = tempfile.mkdtemp(prefix="superd-rolling-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.lost, self.served, self.rolls = [], 0, 0

    def haproxy(self, interval="100ms"):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.addCleanup(listener.close)
        config = pathlib.Path(self.folder, "haproxy.cfg")
        config.write_text(CONFIG.format(folder=self.folder, listener=listener.fileno(), address=own_loopback(),
                                        interval=interval))
        with open(os.path.join(self.folder, "log"), "wb") as log:
            proxy = subprocess.Popen(["haproxy", "-db", "-f", config], pass_fds=[listener.fileno()],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        self.front = listener.getsockname()

    def statistics(self, slot):
        """HAProxy's account of a pod; nothing, before it listens."""
        with socket.socket(socket.AF_UNIX) as stats:
            try:
                stats.connect(os.path.join(self.folder, "stats"))
            except OSError:
                return {"status": ""}
            stats.sendall(b"show stat\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.splitlines()]
        (row,) = [row for row in rows[1:] if row[1:2] == [f"pod{slot}"]]
        return dict(zip(rows[0], row))

    def is_up(self, slot):
        return self.statistics(slot)["status"].startswith("UP")

    def pod(self, slot, drain="1h"):
        """A superd in its place, once HAProxy sends it clients."""
        daemon = self.prepare(config=f'[control]\nreaders = ["nogroup"]\n[shutdown]\ndrain = "{drain}"\n',
                              log_level="notice")
        port = 7860 + 2 * slot
        daemon.service("echo", listen=f"tcp://{own_loopback()}:{port}", model="fork", exec=["cat"])
        daemon.service("status", listen=f"tcp://{own_loopback()}:{port + 1}", model="prefork", handoff="listen",
                       exec=["superd-status"], pass_environment=["SUPERD_CONTROL"], limits={"instances": 1})
        daemon.start()
        self.addCleanup(self.end, daemon)
        self.eventually(lambda: self.is_up(slot), f"HAProxy takes pod{slot} for ready")
        return daemon

    async def client(self):
        try:
            reader, writer = await asyncio.open_connection(*self.front)
            try:
                writer.write(b"hello\n")
                writer.write_eof()
                said = await asyncio.wait_for(reader.read(), 60)
            finally:
                writer.close()
            if said != b"hello\n":
                self.lost.append((self.served, self.rolls, repr(said)))
        except OSError as error:
            self.lost.append((self.served, self.rolls, str(error)))
        self.served += 1

    async def clients(self):
        async def one_after_the_other():
            while self.begun < CONNECTIONS or not self.rolled.is_set():
                self.begun += 1
                await self.client()

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))

    def roll(self, pods):
        """The next pod, and then the end of the one before, as a Deployment does with maxUnavailable: 0. The time to drain is
        as long as HAProxy takes here, whatever else this machine has to do."""
        slot = 1 - pods[-1][0]
        pods.append((slot, self.pod(slot)))
        old, daemon = pods.pop(0)
        daemon.process.send_signal(signal.SIGTERM)
        self.eventually(lambda: not self.is_up(old), f"HAProxy sends pod{old} nobody any more")
        self.eventually(lambda: self.statistics(old)["scur"] == "0", "its last clients are served")
        self.assertIsNone(daemon.process.poll())
        self.end(daemon)
        self.assertEqual(daemon.wait(), 0)
        self.rolls += 1

    def end(self, daemon):
        """Whatever is left of its time to drain."""
        if daemon.process is not None and daemon.process.poll() is None:
            with socket.socket(socket.AF_UNIX) as control:
                control.connect(daemon.control)
                control.sendall(b'{"version":1,"verb":"stop"}\n')
                Reader(control).line()

    def test_none_is_lost(self):
        """While pods are replaced one after the other, every one of the connections is served."""
        self.begun, self.rolled = 0, threading.Event()
        self.haproxy()
        # Until it has looked for the first time, HAProxy takes both for ready.
        self.eventually(lambda: all(self.statistics(slot)["status"].startswith("DOWN") for slot in range(2)),
                        "HAProxy has found no pod")
        pods = [(0, self.pod(0))]
        thread = threading.Thread(target=lambda: asyncio.run(self.clients()))
        thread.start()
        try:
            while self.rolls < 2 or self.begun < CONNECTIONS:
                self.roll(pods)
        finally:
            self.rolled.set()
            thread.join()
        self.assertEqual(self.lost, [], f"{len(self.lost)} of {self.served} are lost")
        self.assertGreaterEqual(self.served, CONNECTIONS)
        print(f"{self.served} connections, {self.rolls} pods replaced, none lost", flush=True)

    def test_what_would_be_lost(self):
        """Where [shutdown] drain gives HAProxy no time to look, clients are lost: so the test above would see them."""
        self.haproxy("1h")
        daemons = [self.pod(slot, drain="0s") for slot in range(2)]
        daemons[0].process.send_signal(signal.SIGTERM)
        self.assertEqual(daemons[0].wait(), 0)
        for _ in range(4):
            asyncio.run(self.client())
        self.assertGreater(len(self.lost), 0)
        self.assertLess(len(self.lost), 4)
