# SPDX-License-Identifier: MIT
"""Workers that report nothing and have to go: none is ended with a client, and each without one leaves.
tests/faults/retire makes more changes and connections."""

import os
import signal
import socket
import time
import unittest

from faults import FaultCase, figure
from harness import Reader, process
from harness.installation import python
from upgrading import UpgradeCase

CHANGES = int(os.environ.get("SUPERD_FAULTS_CHANGES", "9"))
CONNECTIONS = int(os.environ.get("SUPERD_FAULTS_CONNECTIONS", "3000"))
AGAIN = 10.0  # seconds until a worker that was stopped with a client may be stopped again

# What somebody who has never heard of superd would write: no status, no signals.
LOOP = """
import socket, time
listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    time.sleep({pause})
    client.sendall(b"answer\\n")
    client.close()
"""

# Each answers a line with its pid and the line, and nothing knows of superd.
SERVE = """
import os, select, socket, socketserver, sys, threading, time
listener = socket.socket(fileno=0)
def serve(client):
    client.sendall(b"%d\\n" % os.getpid())
    while (line := client.recv(100)):
        client.sendall(line)
    client.close()
"""
WORKERS = {
    "loop": SERVE + """
while True:
    serve(listener.accept()[0])
""",
    "threads": SERVE + """
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
""",
    "poll": SERVE + """
listener.setblocking(False)
poll, clients = select.poll(), {}
poll.register(listener, select.POLLIN)
while True:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            try:
                client = listener.accept()[0]
            except BlockingIOError:
                continue
            client.sendall(b"%d\\n" % os.getpid())
            clients[client.fileno()] = client
            poll.register(client, select.POLLIN)
        elif (line := clients[fd].recv(100)):
            clients[fd].sendall(line)
        else:
            poll.unregister(fd)
            clients.pop(fd).close()
""",
    "forks": SERVE + """
import signal
def child_ended(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, child_ended)
leader = os.getpid()
while True:
    client = listener.accept()[0]
    if os.fork() == 0:
        client.sendall(b"%d\\n" % leader)
        while (line := client.recv(100)):
            client.sendall(line)
        os._exit(0)
    client.close()
""",
    # The workers of its pool wait in futex(2).
    "pool": SERVE + """
import concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor(3)
for future in [pool.submit(time.sleep, 0.05) for _ in range(3)]:
    future.result()
while True:
    pool.submit(serve, listener.accept()[0])
""",
    # One connection from its start, one from its first client, and both stay.
    "database": SERVE + """
log = socket.socketpair()
database = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
later = None
while True:
    client = listener.accept()[0]
    later = later or socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    serve(client)
""",
}


class RetireCase(FaultCase):  # has no tests itself
    def setUp(self):
        super().setUp()
        self.changes = 0

    def pool(self, daemon, name, **keys):
        """The service as a pool of one of these workers; never the same as before."""
        self.changes += 1
        keys.setdefault("prefork", {"min_spare": 1})
        keys.setdefault("listen", "tcp://127.0.0.1:0")
        program = daemon.write(name + ".py", WORKERS.get(name, LOOP.format(pause=0.002)))
        daemon.service("fault", model="prefork", handoff="listen", environment={"CHANGE": str(self.changes)},
                       exec=[python(), program, *keys.pop("arguments", ())], **keys)

    def fork(self, daemon, **keys):
        keys.setdefault("listen", "tcp://127.0.0.1:0")
        daemon.service("fault", model="fork", exec=[self.install(daemon), "wait", "0"], **keys)

    def serving_pool(self, name, prefix=(), **keys):
        daemon = self.prepare(prefix=prefix)
        self.pool(daemon, name, **keys)
        daemon.start()
        return daemon, daemon.address("fault")

    def workers(self, daemon):
        return {child.pid for child in daemon.children()}

    def session(self, uri):
        """A client that a worker has: its socket, its reader, and the worker's pid."""
        client = self.client(uri, timeout=60)
        reader = Reader(client)
        return client, reader, int(reader.line())

    def goes_on(self, client, reader, word=b"word"):
        client.sendall(word + b"\n")
        self.assertEqual(reader.line(), word)


class LiveChanges(RetireCase):
    KINDS = ("fork", "silent", "parked", "silent", "silent")  # the last one as another definition of the same

    def change(self, daemon, kind):
        self.changes += 1
        if kind == "silent":
            self.pool(daemon, "accepts", prefork={"min_spare": 4})
        elif kind == "parked":
            daemon.service("fault", listen="tcp://127.0.0.1:0", model="prefork", prefork={"min_spare": 4},
                           exec=[self.install(daemon), "wait", "2"])
        else:
            daemon.service("fault", listen="tcp://127.0.0.1:0", model="fork",
                           exec=[self.install(daemon), "wait", "2"])

    def test_nobody_is_lost(self):
        """Changes between fork, parked processes and workers with a bare accept loop, while clients keep coming: each
        gets its answer, and the earlier workers leave."""
        daemon = self.prepare()
        self.change(daemon, "fork")
        daemon.start()
        uri = daemon.address("fault")
        begun, changes, ends = time.monotonic(), 0, []
        load = self.load(uri, parallel=16, total=CONNECTIONS)
        while changes < CHANGES or load.process.poll() is None:
            changes += 1
            self.change(daemon, self.KINDS[changes % len(self.KINDS)])
            daemon.reload()
            time.sleep(0.2)
            if changes < CHANGES and load.process.poll() is not None:
                ends.append(load.finish())
                load = self.load(uri, parallel=16, total=CONNECTIONS)
        ends.append(load.finish())
        figure(f"{changes} live changes between fork, parked and silent workers in {time.monotonic() - begun:.1f} s: {ends}")
        for figures in ends:
            self.all_served(figures, CONNECTIONS)
        self.fork(daemon)
        daemon.reload()
        self.eventually(lambda: not self.workers(daemon), "all earlier workers have left", timeout=3 * AGAIN)


class InHand(RetireCase):
    """Each kind of worker, with a client and then without."""

    def keeps(self, name, prefix=(), **keys):
        """A worker of this kind finishes its client, although it has to go."""
        daemon, uri = self.serving_pool(name, prefix, **keys)
        client, reader, worker = self.session(uri)
        self.pool(daemon, name, **keys)  # where superd accepts, a bare loop ends by itself: accept(2) returns EAGAIN
        daemon.reload()
        for _ in range(3):
            time.sleep(0.4)  # it is looked at meanwhile
            self.goes_on(client, reader)
        self.assertIn(worker, self.workers(daemon))
        return daemon, client, worker

    def leaves(self, daemon, worker, within):
        begun = time.monotonic()
        self.eventually(lambda: worker not in self.workers(daemon), f"worker {worker} leaves", timeout=within)
        return time.monotonic() - begun

    def test_each_kind(self):
        """One client after the other, a thread or a child for each, poll, a pool of threads, connections to other
        services: the client is served to its end, then the worker leaves."""
        for name in WORKERS:
            with self.subTest(name), socket.create_server(("127.0.0.1", 0)) as database:
                arguments = [str(database.getsockname()[1])]
                daemon, client, worker = self.keeps(name, arguments=arguments)
                client.close()
                seconds = self.leaves(daemon, worker, within=3 * AGAIN)
                figure(f"{name}: gone {seconds:.2f} s after its client")

    def test_idle_workers_leave(self):
        """A worker that has had a client, and has none now, leaves, whatever other connections it has open."""
        for name in WORKERS:
            with self.subTest(name), socket.create_server(("127.0.0.1", 0)) as database:
                daemon, uri = self.serving_pool(name, arguments=[str(database.getsockname()[1])])
                client, reader, worker = self.session(uri)
                self.goes_on(client, reader)
                client.close()
                self.eventually(lambda worker=worker: self.at_rest(worker), "it waits again")
                self.pool(daemon, name, arguments=[str(database.getsockname()[1])])
                daemon.reload()
                figure(f"{name}, idle: gone after {self.leaves(daemon, worker, within=3 * AGAIN):.2f} s")

    def at_rest(self, worker):
        """It has neither a child nor a connection with a client of TCP."""
        return not process.children(worker) and len([end for end in process.descriptors(worker).values()
                                                     if end.startswith("socket:")]) <= 8 and self.sleeps(worker)

    @staticmethod
    def sleeps(worker):
        return process.Process(worker).state == "S"

    def test_other_sockets(self):
        """The same on a unix socket, and on a dual-stack one whose client comes over IPv4."""
        daemon, client, worker = self.keeps("loop", listen="unix://@superd-test-retire-%d" % os.getpid())
        client.close()
        self.leaves(daemon, worker, within=3 * AGAIN)
        if socket.has_dualstack_ipv6():
            daemon, client, worker = self.keeps("loop", listen="tcp://*:0")
            client.close()
            self.leaves(daemon, worker, within=3 * AGAIN)

    def test_not_stopped_for_nothing(self):
        """A worker with a client is looked at without being stopped: its epoll_wait(2) is not interrupted."""
        program = SERVE + """
epoll = select.epoll()
client = listener.accept()[0]
client.sendall(b"%d\\n" % os.getpid())
epoll.register(client, select.EPOLLIN)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
while True:
    event = ctypes.create_string_buffer(16)
    if libc.epoll_wait(epoll.fileno(), event, 1, -1) < 0:
        client.sendall(b"interrupted\\n")
        continue
    if not (line := client.recv(100)):
        break
    client.sendall(line)
"""
        WORKERS["epoll"] = program
        self.addCleanup(WORKERS.pop, "epoll")
        daemon, client, worker = self.keeps("epoll")
        client.close()
        self.leaves(daemon, worker, within=3 * AGAIN)

    def test_pool_that_shrinks(self):
        """Workers that a pool no longer needs do not take their clients with them."""
        daemon, uri = self.serving_pool("loop", prefork={"min_spare": 1, "max_idle": "200ms"})
        sessions = [self.session(uri) for _ in range(4)]
        for _ in range(3):
            time.sleep(0.4)  # longer than max_idle
            for client, reader, _ in sessions:
                self.goes_on(client, reader)
        for client, _, _ in sessions:
            client.close()
        self.eventually(lambda: len(self.workers(daemon)) == 1, "one left", timeout=3 * AGAIN)

    def test_one_that_ignores_its_signal(self):
        """A worker without a client that does not leave on stop_signal is killed after stop_timeout; with one it
        is not."""
        program = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORKERS["loop"]
        WORKERS["ignores"] = program
        self.addCleanup(WORKERS.pop, "ignores")
        daemon, client, worker = self.keeps("ignores", stop_timeout="300ms")
        client.close()
        self.leaves(daemon, worker, within=3 * AGAIN)
        daemon.wait_for(message=f"worker {worker} did not leave in time")


class Stopped(RetireCase, UpgradeCase):
    """superd stops workers to look at them; none stays stopped."""

    def test_superd_dies(self):
        """A worker that is stopped when superd is killed continues."""
        daemon, uri = self.serving_pool("loop")
        client, reader, worker = self.session(uri)
        os.kill(worker, signal.SIGSTOP)
        self.eventually(lambda: process.Process(worker).state == "T", "stopped")
        workers = self.workers(daemon)
        daemon.process.kill()
        daemon.process.wait()
        self.goes_on(client, reader)
        for pid in workers:  # nobody else would
            os.kill(pid, signal.SIGKILL)
        daemon.stop(expected=-signal.SIGKILL)

    def test_upgrades_meanwhile(self):
        """Upgrades while workers with and without clients have to go: none of them is left stopped, and those with a
        client leave after it."""
        daemon, uri = self.serving_pool("loop", prefork={"min_spare": 8})
        sessions = [self.session(uri) for _ in range(3)]
        for _ in range(5):
            self.pool(daemon, "loop", prefork={"min_spare": 8})
            daemon.reload()
            self.upgrade(daemon)
            for client, reader, _ in sessions:
                self.goes_on(client, reader)
        self.pool(daemon, "loop", prefork={"min_spare": 0})
        daemon.reload()
        self.upgrade(daemon)
        kept = {worker for _, _, worker in sessions}
        self.eventually(lambda: self.workers(daemon) == kept, "those without a client leave", timeout=3 * AGAIN)
        self.assertEqual([child.pid for child in daemon.children() if child.state == "T"], [])
        for client, reader, _ in sessions:
            self.goes_on(client, reader)
            client.close()
        self.eventually(lambda: not self.workers(daemon), "and the others after it", timeout=3 * AGAIN)

    def test_stopped_by_somebody_else(self):
        """A worker that somebody else has stopped with its client stays stopped."""
        daemon, uri = self.serving_pool("loop")
        client, reader, worker = self.session(uri)
        os.kill(worker, signal.SIGSTOP)
        self.fork(daemon)
        daemon.reload()
        time.sleep(1)
        self.assertEqual(process.Process(worker).state, "T")
        os.kill(worker, signal.SIGCONT)
        self.goes_on(client, reader)
        client.close()
        self.eventually(lambda: not self.workers(daemon), "gone", timeout=3 * AGAIN)

    @unittest.skipIf(os.geteuid() != 0, "needs root, which can do without a capability")
    def test_not_allowed_to_look(self):
        """If superd may not look at a worker, it sends stop_signal at once."""
        daemon, _ = self.serving_pool("loop", prefix=["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"])
        before = self.workers(daemon)
        self.assertTrue(before)
        self.fork(daemon)
        daemon.reload()
        self.eventually(lambda: not self.workers(daemon) & before, "gone")


if __name__ == "__main__":
    unittest.main()
