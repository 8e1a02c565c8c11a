# SPDX-License-Identifier: MIT
"""Descriptors passed over unix sockets: handlers get theirs, and superd wants none, so nobody can make it sleep with
one. Tested once as the kernel is, and once without SO_PASSRIGHTS."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest

from control import SUPERCTL
from harness import Reader, SuperdCase, process
from harness.installation import python
from rights import LINGER, POISON, attack, kernel_forbids, occupy, others, pause

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438

# Writes into the descriptor that it is passed. On a connection it says first that it is there.
TAKER = """import os, socket, sys
if len(sys.argv) > 1:
    listener = socket.socket(fileno=0)
    sock = listener.accept()[0] if listener.type != socket.SOCK_DGRAM else listener
else:
    sock = socket.socket(fileno=0)
if sock.type != socket.SOCK_DGRAM:
    sock.send(b"ready\\n")
descriptors = socket.recv_fds(sock, 100, 1)[1]
os.write(descriptors[0], b"taken")
"""

# A handler of a datagram: poison on stdout, then an answer. A worker: poison on its status descriptor, then clients.
ANSWERER = """import os, signal, socket, poison
poison.send_on_cue(socket.socket(fileno=os.dup(1)), b"poison")
os.write(1, b"answer")
signal.pause()  # it has the other end
"""
WORKER = """import os, socket, poison
status = socket.socket(fileno=int(os.environ["SUPERD_STATUS_FD"]))
poison.send_on_cue(status, b"x")
listener = socket.socket(fileno=3)
while True:
    client = listener.accept()[0]
    client.sendall(b"served\\n")
    client.close()
"""
# Makes its connection linger, and goes at once.
LINGERER = f"""import fcntl, os, socket, struct
sock = socket.socket(fileno=os.dup(0))
sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, {LINGER}))
sock.setblocking(False)
try:
    while True:
        sock.send(bytes(65536))
except BlockingIOError:
    os._exit(0)
"""


class PassedToHandlers(SuperdCase):
    """A handler that lives on being passed descriptors, under every model."""

    def served(self, sock, waits=True):
        """Passes the writing end of a pipe and reads what the handler has written to it."""
        if waits:
            self.assertEqual(sock.recv(100), b"ready\n")
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as result:
            with os.fdopen(writing, "wb") as passed:
                socket.send_fds(sock, [b"x"], [passed.fileno()])
            return result.read()

    def services(self):
        daemon = self.prepare()
        script = daemon.write("taker.py", TAKER)
        run, listens = [python(), script], [python(), script, "listen"]
        models = {
            "fork": dict(model="fork", exec=run),
            "iterative": dict(model="iterative", exec=run),
            "delayed": dict(model="delayed", exec=run),
            "parked": dict(model="prefork", exec=run, prefork={"min_spare": 1}),
            "workers": dict(model="prefork", handoff="listen", exec=listens, prefork={"min_spare": 1}),
            "owner": dict(model="iterative", handoff="listen", exec=listens),
            "delayed-owner": dict(model="delayed", handoff="listen", exec=listens),
            "packets": dict(listen="unix-seqpacket://" + daemon.path("packets"), model="fork", exec=run),
            "datagrams": dict(listen="unix-dgram://" + daemon.path("datagrams"), model="iterative", exec=listens),
            "pool-of-datagrams": dict(listen="unix-dgram://" + daemon.path("pool-of-datagrams"), model="prefork",
                                      exec=listens, prefork={"min_spare": 1}),
        }
        for name, keys in models.items():
            keys.setdefault("listen", "unix://" + daemon.path(name))
            daemon.service(name, **keys)
        daemon.start()
        return daemon, models

    def test_every_model(self):
        """What superd forbids for itself it allows again before a handler has the socket, at each client."""
        daemon, models = self.services()
        for name in models:
            for turn in range(2):
                with self.subTest(name, turn=turn):
                    sock = self.client(daemon.address(name))
                    self.assertEqual(self.served(sock, waits=sock.type != socket.SOCK_DGRAM), b"taken")

    def test_after_an_upgrade(self):
        """And so it is after an upgrade in place, with a parked process and workers of before."""
        daemon, models = self.services()
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_for(message="upgraded to")
        for name in models:
            with self.subTest(name):
                sock = self.client(daemon.address(name))
                self.assertEqual(self.served(sock, waits=sock.type != socket.SOCK_DGRAM), b"taken")

    @unittest.skipUnless(kernel_forbids(), "the kernel does not know SO_PASSRIGHTS")
    def test_handoff_decides(self):
        """A listening socket takes descriptors while handlers are given it, and no longer once superd accepts from it."""
        daemon = self.prepare()
        path = daemon.path("it")
        uri = "unix://" + path

        def waiting():
            """May clients in the backlog pass one?"""
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock, open(os.devnull, "rb") as file:
                sock.connect(path)
                try:
                    socket.send_fds(sock, [b"x"], [file.fileno()])
                    return True
                except PermissionError:
                    return False

        # Neither accepts: one place, which is taken, and a worker that does nothing.
        accepts = dict(listen=uri, model="fork", exec=["cat"], limits={"instances": 1})
        given = dict(listen=uri, model="prefork", handoff="listen", exec=["sleep", "1000"], prefork={"min_spare": 1})
        daemon.service("it", **accepts)
        daemon.start()
        first = self.client(uri)
        first.sendall(b"x\n")
        self.assertEqual(Reader(first).line(), b"x")
        self.assertFalse(waiting())
        daemon.service("it", **given)
        daemon.reload()
        self.assertTrue(waiting())
        daemon.service("it", **accepts)
        daemon.reload()
        self.assertFalse(waiting())


class PassedToSuperd(SuperdCase):
    """Every socket over which a stranger may pass superd a descriptor whose last close sleeps for half a minute.
    Others are served meanwhile, and superd stops in time."""

    allowed = False  # may descriptors be passed at all?

    def options(self):
        return {}

    def attacked(self, services, files=(), **options):
        daemon = self.prepare(**options, **self.options())
        daemon.write("poison.py", POISON)
        daemon.shared("cues")
        for name, text in files:
            daemon.write(name, text)
        daemon.service("cat", listen="unix://" + daemon.path("cat"), model="fork", exec=["cat"])
        for name, keys in services.items():
            keys = keys(daemon) if callable(keys) else keys
            daemon.service(name, **{"listen": "unix://" + daemon.path(name), **keys})
        daemon.start()
        self.addCleanup(daemon.process.send_signal, signal.SIGCONT)
        return daemon

    @contextlib.contextmanager
    def nobody_waits(self, daemon):
        daemon.process.send_signal(signal.SIGCONT)
        with others(daemon.address("cat")) as worst:
            yield
        print(f"\nfigure: {self.id().split('.', 1)[1]}: another client waited {1000 * worst[0]:.0f} ms at most",
              flush=True)
        self.assertLess(worst[0], LINGER / 10)  # 100 ms if nobody else uses the machine

    def stops(self, daemon):
        begin = time.monotonic()
        daemon.process.send_signal(signal.SIGCONT)
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(3 * LINGER), 0)
        self.assertLess(time.monotonic() - begin, LINGER / 3)

    def passes(self):
        return self.allowed or not kernel_forbids()

    def expect(self, outcomes):
        """Were they passed?"""
        self.assertEqual(set(outcomes), {"sent" if self.passes() else "EPERM"})

    def refused(self, daemon, name):
        """How many clients superd has let go, by its own report."""
        status = daemon.status()[name]
        return sum(count for key, count in status.items() if key.startswith("refused_"))

    def gone(self, daemon, name, count):
        self.eventually(lambda: self.refused(daemon, name) == count, "all let go")

    def cue(self, daemon):
        """Has the handler that waits for this send its descriptor, with superd stopped. Returns the outcome."""
        folder = daemon.path("cues")
        self.eventually(lambda: os.path.exists(os.path.join(folder, "ready")), "a handler that is ready")
        pause(daemon)
        with open(os.path.join(folder, "go"), "w", encoding="ascii"):
            pass
        self.eventually(lambda: os.path.exists(os.path.join(folder, "outcome")), "sent")
        with open(os.path.join(folder, "outcome"), encoding="ascii") as outcome:
            return outcome.read()

    def test_refused_clients(self):
        """From clients that are refused, in every way, with the descriptor read away or left in the queue."""
        limits = {"per_source": 1}
        daemon = self.attacked({
            "close": dict(model="fork", exec=["cat"], limits={**limits, "on_excess": "close"}),
            "reset": dict(model="fork", exec=["cat"], limits={**limits, "on_excess": "reset"}),
            "reject": dict(model="fork", exec=["cat"],
                           limits={**limits, "on_excess": "reject", "reject_text": "no\n"}),
            "packets": lambda daemon: dict(listen="unix-seqpacket://" + daemon.path("packets"), model="fork",
                                           exec=["cat"], limits={**limits, "on_excess": "close"}),
        })
        for name in ("close", "reset", "reject", "packets"):
            occupy(self, daemon.address(name))
            for leave in (True, False):
                refused = self.refused(daemon, name)
                self.expect(attack(self, daemon, daemon.address(name), leave=leave))
                with self.nobody_waits(daemon):
                    self.gone(daemon, name, refused + 3)
        self.stops(daemon)

    def test_held_clients(self):
        """From clients that are held for their source's turn, and leave or time out."""
        daemon = self.attacked({"it": dict(model="fork", exec=["cat"],
                                           limits={"per_source": 1, "wait_timeout": "500ms"})})
        occupy(self, daemon.address("it"))
        for leave in (True, False):
            refused = self.refused(daemon, "it")
            self.expect(attack(self, daemon, daemon.address("it"), leave=leave))
            with self.nobody_waits(daemon):
                self.gone(daemon, "it", refused + 3)
        attack(self, daemon, daemon.address("it"), leave=False)
        self.stops(daemon)

    def test_backlog(self):
        """From clients that nobody has accepted when the service goes, and when superd stops."""
        full = dict(model="fork", exec=["cat"], limits={"instances": 1}, stop_timeout="1s")
        daemon = self.attacked({"gone": full, "it": full})
        for name in ("gone", "it"):
            first = self.client(daemon.address(name))
            first.sendall(b"x\n")
            self.assertEqual(Reader(first).line(), b"x")
            self.expect(attack(self, daemon, daemon.address(name), leave=False))
            daemon.process.send_signal(signal.SIGCONT)
        daemon.remove("gone")
        with self.nobody_waits(daemon):
            daemon.reload()
        self.stops(daemon)

    def test_datagrams(self):
        """Of datagrams, whether superd receives them, or throws them away with the socket of a handler's own."""
        daemon = self.attacked({
            "fork": lambda daemon: dict(listen="unix-dgram://" + daemon.path("fork"), model="fork", exec=["true"]),
            "owner": lambda daemon: dict(listen="unix-dgram://" + daemon.path("owner"), model="iterative",
                                         exec=["sleep", "1000"])})
        self.expect(attack(self, daemon, daemon.address("fork")))
        with self.nobody_waits(daemon):
            if self.passes():
                self.eventually(lambda: daemon.status()["fork"]["refused_denied"] == 3, "all dropped")
        subprocess.run([SUPERCTL, "pause", "owner"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(set(attack(self, daemon, daemon.address("owner"))), {"sent"})  # a handler could want it
        daemon.process.send_signal(signal.SIGCONT)
        daemon.remove("owner")
        with self.nobody_waits(daemon):
            daemon.reload()
        self.stops(daemon)

    def test_datagrams_from_before(self):
        """From datagrams that came for handlers with their own socket, and that superd now has to receive."""
        daemon = self.attacked({
            "it": lambda daemon: dict(listen="unix-dgram://" + daemon.path("it"), model="iterative",
                                      exec=["sleep", "1000"])})
        subprocess.run([SUPERCTL, "pause", "it"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(set(attack(self, daemon, daemon.address("it"))), {"sent"})
        daemon.process.send_signal(signal.SIGCONT)
        daemon.service("it", listen=daemon.address("it"), model="fork", exec=["true"])
        daemon.reload()
        with self.nobody_waits(daemon):
            subprocess.run([SUPERCTL, "resume", "it"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
            self.eventually(lambda: daemon.status()["it"]["refused_denied"] == 3, "all dropped")
        self.stops(daemon)

    @unittest.skipUnless(os.geteuid() == 0, "readers of the control socket are others than superd's user")
    def test_control_socket(self):
        """From users who may look and users who may not, in requests and after them."""
        for group in ("nogroup", "daemon"):
            daemon = self.attacked({}, config=f'[control]\nreaders = ["{group}"]\n')
            uri = "unix://" + daemon.control
            self.eventually(lambda: os.stat(daemon.control).st_mode & 0o777 == 0o666,  # pylint: disable=cell-var-from-loop
                            "open to readers")
            for leave in (True, False):
                for request in ("", '{"version":1,"verb":"metrics"}\n'):
                    self.expect(attack(self, daemon, uri, leave=leave, request=request))
                    with self.nobody_waits(daemon):
                        pass
            self.stops(daemon)

    def test_answers_of_a_datagram_s_handler(self):
        """Of a handler, over the socket on which it answers a datagram."""
        daemon = self.attacked({
            "it": lambda daemon: dict(listen="unix-dgram://" + daemon.path("it"), model="fork",
                                      exec=[python(), daemon.path("answerer.py")])}, files=[("answerer.py", ANSWERER)])
        client = self.client(daemon.address("it"))
        client.send(b"x")
        self.expect([self.cue(daemon)])
        with self.nobody_waits(daemon):
            if self.passes():  # which ends its answers
                self.eventually(lambda: daemon.status()["it"]["reply_failures"] == 1, "the answer is counted as failed")
            else:
                self.assertEqual(client.recv(100), b"answer")
        self.stops(daemon)

    def test_reports_of_a_worker(self):
        """Of a worker, over the socket on which it reports."""
        daemon = self.attacked({
            "it": lambda daemon: dict(model="prefork", handoff="listen", exec=[python(), daemon.path("worker.py")],
                                      prefork={"min_spare": 1})}, files=[("worker.py", WORKER)])
        self.expect([self.cue(daemon)])
        with self.nobody_waits(daemon):
            self.assertEqual(Reader(self.client(daemon.address("it"))).line(), b"served")
        self.stops(daemon)

    @unittest.skipUnless(os.geteuid() == 0, "nobody else gets at a parked process")
    def test_pair_of_a_parked_process(self):
        """From the holder of the other end of a parked process's pair, which takes root."""
        daemon = self.attacked({"it": dict(model="prefork", exec=["cat"], prefork={"min_spare": 1})})
        parked = self.eventually(lambda: [child.pid for child in daemon.children()
                                          if process.executable(child.pid) == "superd-exec"], "one parked")[0]
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = libc.syscall(SYS_PIDFD_OPEN, parked, 0)
        self.addCleanup(os.close, pidfd)
        pair = socket.socket(fileno=libc.syscall(SYS_PIDFD_GETFD, pidfd, 0, 0))
        self.addCleanup(pair.close)
        module = {"__name__": "poison"}
        exec(POISON, module)  # pylint: disable=exec-used
        self.addCleanup(lambda: [peer.close() for peer in module["peers"]])
        pause(daemon)
        self.expect([module["send"](pair, struct.pack("i", 2) + bytes(60))])
        self.expect([module["send"](pair, struct.pack("i", 2))])
        with self.nobody_waits(daemon):
            pass
        self.stops(daemon)


@unittest.skipUnless(shutil.which("strace") and os.geteuid() == 0, "needs strace, and root for it")
class PassedToSuperdWithoutTheOption(PassedToSuperd):
    """The same if the kernel does not know SO_PASSRIGHTS: in superd, setsockopt(2) always fails for it."""

    allowed = True

    def options(self):
        return {"prefix": ["strace", "-DDD", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=setsockopt",
                           "-e", "inject=setsockopt:error=ENOPROTOOPT"],
                "environment": {"ASAN_OPTIONS": "detect_leaks=0"}}  # which needs to trace superd itself


@unittest.skipUnless(shutil.which("strace") and os.geteuid() == 0, "needs strace, and root for it")
class Lingering(SuperdCase):
    def test_a_handler_that_has_gone(self):
        """A handler that sets linger on its connection, and exits before superd closes its own copy, does not hold
        superd up."""
        daemon = self.prepare(environment={"ASAN_OPTIONS": "detect_leaks=0"})
        script = daemon.write("lingerer.py", LINGERER)
        daemon.service("cat", listen="unix://" + daemon.path("cat"), model="fork", exec=["cat"])
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[python(), script])
        daemon.start()
        # superd is late to read that the child has its own descriptor table.
        strace = subprocess.Popen(["strace", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=read",
                                   "-e", "inject=read:delay_enter=1000000:when=1", "-p", str(daemon.pid)],
                                  stderr=subprocess.PIPE, text=True)
        self.addCleanup(strace.communicate)
        self.addCleanup(strace.terminate)
        self.assertIn("attached", strace.stderr.readline())
        self.client(daemon.address("it"))
        begin = time.monotonic()
        self.assertEqual(self.converse(daemon.address("cat")), b"hello")
        self.assertLess(time.monotonic() - begin, LINGER / 3)
