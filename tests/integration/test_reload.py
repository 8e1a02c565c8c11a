# SPDX-License-Identifier: MIT
"""SIGHUP: everything is checked and bound, then swapped at once; no client loses a connection."""

import errno
import os
import shutil
import signal
import socket
import threading
import time
import unittest

from harness import Reader, SuperdCase, connect, exchange, handler
from harness import process
from harness.loopback import own_loopback


def say(daemon, word):
    return daemon.script(word, f"#!/bin/sh\necho {word}\n")


class Reload(SuperdCase):
    def inodes(self, uri):
        host, port = uri.removeprefix("tcp://").rsplit(":", 1)
        return process.listening_inodes(host, int(port))

    def test_change_of_handler_and_model(self):
        """A new handler and a new model act on the next connection, on the same listening socket."""
        daemon = self.prepare()
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "one")])
        daemon.start()
        uri = daemon.address("it")
        before = self.inodes(uri)
        self.assertEqual(len(before), 1)
        self.assertEqual(exchange(uri), b"one\n")
        for number, keys in enumerate((dict(model="prefork"), dict(model="iterative"), dict(model="delayed"),
                                       dict(model="fork"))):
            word = f"word{number}"
            daemon.service("it", listen="tcp://127.0.0.1:0", exec=[say(daemon, word)], **keys)
            daemon.reload()
            self.assertEqual(exchange(uri), word.encode() + b"\n")
            self.assertEqual(daemon.status()["it"]["model"], keys["model"])
            self.assertEqual(self.inodes(uri), before)

    def test_running_handlers_go_on_as_they_began(self):
        """A connection made before the reload stays with its handler, through a change and through removal."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        uri = daemon.address("cat")
        client = self.client(uri)
        client.sendall(b"before\n")
        reader = Reader(client)
        self.assertEqual(reader.line(), b"before")
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="iterative", exec=[say(daemon, "other")])
        daemon.reload()
        client.sendall(b"after\n")
        self.assertEqual(reader.line(), b"after")
        daemon.remove("cat")
        daemon.reload()
        client.sendall(b"removed\n")
        self.assertEqual(reader.line(), b"removed")
        with self.assertRaises(ConnectionRefusedError):
            connect(uri)

    def test_add_remove_disable(self):
        """Services come and go: added, disabled by enabled = false, enabled again, removed."""
        daemon = self.superd({})
        address = f"tcp://{own_loopback()}:7700"
        daemon.service("new", listen=address, model="fork", exec=["cat"])
        daemon.reload()
        self.assertEqual(self.converse(address), b"hello")
        daemon.service("new", listen=address, model="fork", exec=["cat"], enabled=False)
        daemon.reload()
        with self.assertRaises(ConnectionRefusedError):
            connect(address)
        daemon.service("new", listen=address, model="fork", exec=["cat"])
        daemon.reload()
        self.assertEqual(self.converse(address), b"hello")
        daemon.remove("new")
        daemon.reload()
        with self.assertRaises(ConnectionRefusedError):
            connect(address)

    def test_ports_move_between_services(self):
        """Two services exchange their ports, and a third takes over the port of a removed one, in one reload."""
        daemon = self.prepare()
        host = own_loopback()
        uris = [f"tcp://{host}:{port}" for port in (7701, 7702, 7703)]
        for name, uri in zip("abc", uris):
            daemon.service(name, listen=uri, model="fork", exec=[say(daemon, name)])
        daemon.start()
        before = [self.inodes(uri) for uri in uris]
        daemon.service("a", listen=uris[1], model="fork", exec=[daemon.path("a")])
        daemon.service("b", listen=uris[0], model="prefork", exec=[daemon.path("b")])
        daemon.remove("c")
        daemon.service("d", listen=uris[2], model="fork", exec=[say(daemon, "d")])
        daemon.reload()
        self.assertEqual([exchange(uri) for uri in uris], [b"b\n", b"a\n", b"d\n"])
        self.assertEqual([self.inodes(uri) for uri in uris], before)

    def test_listen_changes_in_part(self):
        """A service that gains one address and loses another keeps the third one's socket."""
        daemon = self.prepare()
        host = own_loopback()
        uris = [f"tcp://{host}:{port}" for port in (7704, 7705, 7706)]
        daemon.service("it", listen=uris[:2], model="fork", exec=["cat"])
        daemon.start()
        kept = self.inodes(uris[1])
        daemon.service("it", listen=uris[1:], model="fork", exec=["cat"])
        daemon.reload()
        self.assertEqual(self.inodes(uris[1]), kept)
        self.assertEqual(self.inodes(uris[0]), [])
        self.assertEqual(self.converse(uris[2]), b"hello")

    def test_clients_in_the_backlog_survive(self):
        """Clients that wait in the backlog of an iterative service are served by the new definition."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="iterative", exec=["cat"])})
        uri = daemon.address("cat")
        busy = self.client(uri)
        busy.sendall(b"busy\n")
        self.assertEqual(Reader(busy).line(), b"busy")
        waiting = [self.client(uri) for _ in range(20)]
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "fork")])
        daemon.reload()
        for client in waiting:
            self.assertEqual(Reader(client).line(), b"fork")
        busy.sendall(b"still\n")
        self.assertEqual(Reader(busy).line(), b"still")

    def test_clients_in_the_backlog_survive_another_port_and_handoff(self):
        """Clients that wait for an iterative service are served though it moves to another port, to workers that
        accept for themselves."""
        daemon = self.prepare()
        host = own_loopback()
        before, after = f"tcp://{host}:7707", f"tcp://{host}:7708"
        daemon.service("echo", listen=before, model="iterative", exec=["cat"])
        daemon.start()
        busy = self.client(before)
        busy.sendall(b"busy\n")
        self.assertEqual(Reader(busy).line(), b"busy")
        waiting = [self.client(before, timeout=10) for _ in range(4)]
        for number, client in enumerate(waiting):
            client.sendall(b"client %d\n" % number)
        daemon.service("echo", listen=after, model="prefork", handoff="listen", exec=["superd-echo"])
        daemon.reload()
        self.assertEqual(self.converse(after), b"hello")
        busy.sendall(b"still\n")
        self.assertEqual(busy.recv(10), b"still\n")
        busy.close()
        for number, client in enumerate(waiting):
            self.assertEqual(Reader(client).line(), b"client %d" % number)
            client.close()
        with self.assertRaises(ConnectionRefusedError):
            connect(before)

    def test_pools_are_replaced(self):
        """Workers of the old definition end, workers of the new one serve."""
        daemon = self.superd({"pool": dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                                           exec=[handler("probe"), "--accept", "3"])})
        uri = daemon.address("pool")
        self.assertIn(b"arg 3\n", exchange(uri))
        old = {child.pid for child in daemon.children()}
        daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[handler("probe"), "--accept", "3", "new"])
        daemon.reload()
        self.eventually(lambda: not old & {child.pid for child in daemon.children()}, "old workers gone")
        self.assertIn(b"arg new\n", exchange(uri))

    def test_refused_on_errors(self):
        """A reload with an error anywhere changes nothing, names the errors, and the next good one goes through."""
        daemon = self.superd({"cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"])})
        uri = daemon.address("cat")
        since = daemon.mark()
        daemon.service("bad", 'listen = "tcp://127.0.0.1:0"\nmodel = "frok"\nexec = ["cat"]\n')
        daemon.service("cat", listen="tcp://127.0.0.1:0", model="fork", exec=["true"])
        daemon.reload(refused=True)
        errors = daemon.find(lambda r: r["level"] in ("error", "err"), since)
        self.assertTrue(any('bad.toml:2:9: error: model "frok"' in r["message"] for r in errors), errors)
        self.assertEqual(self.converse(uri), b"hello")
        daemon.remove("bad")
        daemon.reload()
        self.assertEqual(exchange(uri), b"")

    def test_nothing_changed(self):
        """Fifty reloads of the same definitions leave sockets, parked processes and descriptors as they are."""
        daemon = self.superd({
            "cat": dict(listen="tcp://127.0.0.1:0", model="fork", exec=["cat"]),
            "pool": dict(listen="tcp://127.0.0.1:0", model="prefork", exec=["cat"]),
        })
        daemon.reload()
        pool = self.eventually(lambda: len(daemon.children()) >= 2 and {c.pid for c in daemon.children()}, "parked")
        count = len(process.descriptors(daemon.pid)) if self.root or os.geteuid() != 0 else None
        for _ in range(50):
            daemon.reload()
        self.assertEqual({child.pid for child in daemon.children()}, pool)
        if count is not None:
            # It may have counted those of parked processes that were just being started.
            self.eventually(lambda: len(process.descriptors(daemon.pid)) <= count, "no descriptor left")

    def test_reload_while_a_reload_is_asked_for(self):
        """Twenty HUPs in a row end with the last definition in force."""
        daemon = self.prepare()
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "w0")])
        daemon.start()
        uri = daemon.address("it")
        for number in range(1, 21):
            daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, f"w{number}")])
            daemon.process.send_signal(1)
        self.eventually(lambda: exchange(uri) == b"w20\n", "the last definition")


class StillHeld(SuperdCase):
    def test_an_address_that_a_former_handler_has(self):
        """Who has an address that is to be served again is told, by pid; once it has left, a reload gets it."""
        keys = dict(listen=f"tcp://{own_loopback()}:7713", model="prefork", handoff="listen", stop_timeout="60s",
                    prefork={"min_spare": 1}, limits={"instances": 1})
        daemon = self.superd({"it": dict(exec=["sh", "-c", "trap '' TERM; exec sleep 1000"], **keys)})
        worker = self.eventually(lambda: [child.pid for child in daemon.children()
                                          if process.words(child.pid) == ["sleep", "1000"]], "it ignores TERM")[0]
        daemon.remove("it")
        daemon.reload()
        daemon.service("it", exec=["sleep", "100"], **keys)
        said = daemon.reload(refused=True)["message"]
        self.assertIn(f"handler {worker} that it started under an earlier definition still has the socket", said)
        os.kill(worker, signal.SIGKILL)
        self.eventually(lambda: worker not in {child.pid for child in daemon.children()}, "it has left")
        daemon.reload()


class WhatIsAsItWas(SuperdCase):
    """Definitions that have not changed are not read again, and still nothing is missed that they stand on."""

    @staticmethod
    def age(daemon):
        """Waits until no definition has been changed so lately that a reload reads it again in any case."""
        newest = max(os.stat(entry.path).st_ctime for entry in os.scandir(daemon.conf_dir))
        time.sleep(max(0.0, newest + 2.1 - time.time()))

    def test_the_others_are_left_alone(self):
        """A reload that changes, adds and removes services leaves the workers and the sockets of another as they are."""
        daemon = self.prepare()
        for name in ("changes", "goes"):
            daemon.service(name, listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "old")])
        daemon.service("stays", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[handler("superd-echo")])
        self.age(daemon)
        daemon.start()
        pool = self.eventually(lambda: len(daemon.children()) >= 2 and {c.pid for c in daemon.children()}, "workers")
        since = daemon.mark()
        daemon.service("changes", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "new")])
        daemon.service("comes", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "come")])
        daemon.remove("goes")
        daemon.reload()
        self.assertEqual(exchange(daemon.address("changes")), b"new\n")
        self.assertEqual(exchange(daemon.address("comes")), b"come\n")
        with self.assertRaises(ConnectionRefusedError):
            connect(daemon.address("goes"))
        self.assertEqual(self.converse(daemon.address("stays")), b"hello")
        # A handler of the exchanges above may not have been reaped yet.
        self.eventually(lambda: {child.pid for child in daemon.children()} == pool, "the same workers and nobody else")
        self.assertEqual(daemon.find(lambda r: r.get("service") == "stays", since), [])

    def test_a_handler_that_goes(self):
        """The reload is refused though no definition has changed, and done once the handler is back."""
        daemon = self.prepare()
        program = say(daemon, "here")
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[program])
        self.age(daemon)
        daemon.start()
        os.rename(program, program + ".away")
        daemon.reload(refused=True)
        os.rename(program + ".away", program)
        daemon.reload()
        self.assertEqual(exchange(daemon.address("it")), b"here\n")

    def test_a_folder_that_others_may_write(self):
        """The same of the folder of the definitions."""
        daemon = self.prepare()
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", exec=[say(daemon, "here")])
        self.age(daemon)
        daemon.start()
        os.chmod(daemon.conf_dir, 0o775)
        daemon.reload(refused=True)
        os.chmod(daemon.conf_dir, 0o755)
        daemon.reload()

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "needs root for a user database of its own")
    def test_a_user_of_another_number(self):
        """Handlers run as the user is numbered at the last reload."""
        daemon = self.prepare()
        with open("/etc/passwd", encoding="utf-8") as file:
            users = file.read()
        line = "scaled:x:{0}:{0}::/:/bin/sh\n"
        database = daemon.write("passwd", users + line.format(54321))
        daemon.prefix = ["unshare", "-m", "sh", "-c", f"mount --bind {database} /etc/passwd && exec \"$@\"", "sh"]
        daemon.service("it", listen="tcp://127.0.0.1:0", model="fork", user="scaled", exec=["id", "-u"])
        self.age(daemon)
        daemon.start()
        self.assertEqual(exchange(daemon.address("it")), b"54321\n")
        with open(database, "w", encoding="utf-8") as file:
            file.write(users + line.format(54322))
        daemon.reload()
        self.assertEqual(exchange(daemon.address("it")), b"54322\n")


class ReloadAsUser(Reload):
    as_user = "nobody"


class Overlap(SuperdCase):
    """A new socket may have to be bound next to the one that it replaces."""

    def setUp(self):
        super().setUp()
        self.host = own_loopback()

    def block(self, host, port):
        blocker = socket.create_server((host, port))
        self.addCleanup(blocker.close)

    def refused(self, daemon):
        daemon.reload(refused=True)
        self.assertEqual(self.converse(f"tcp://{self.host}:7711"), b"hello")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with self.assertRaises(OSError) as caught:
                other.bind((self.host, 7711))
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    def test_a_refused_reload_opens_no_port_to_others(self):
        """After a reload that could not bind next to the old socket, no other process of the same user may share its
        port."""
        daemon = self.superd({"it": dict(listen=f"tcp://{self.host}:7711", model="fork", exec=["cat"])})
        self.block("127.0.0.1", 7711)
        daemon.service("it", listen="tcp://*:7711", model="fork", exec=["cat"])
        self.refused(daemon)

    def test_nor_does_one_that_is_refused_for_another_service(self):
        """The same if the new socket was bound, and the reload is refused because of a later one."""
        daemon = self.superd({"it": dict(listen=f"tcp://{self.host}:7711", model="fork", exec=["cat"])})
        self.block(self.host, 7712)
        daemon.service("it", listen=f"tcp://{self.host}:7711", model="fork", exec=["cat"], socket={"freebind": True})
        daemon.service("taken", listen=f"tcp://{self.host}:7712", model="fork", exec=["cat"])
        self.refused(daemon)


class ReloadUnderLoad(SuperdCase):
    """300 reloads, the model changed each time, while 10,000 connections are made."""

    RELOADS = 300
    CONNECTIONS = 10000
    MODELS = (
        dict(model="fork", exec=["cat"]),
        dict(model="prefork", exec=["cat"]),
        dict(model="prefork", handoff="listen", exec=["superd-echo"], prefork={"min_spare": 3}),
        dict(model="iterative", exec=["superd-echo"]),
        dict(model="delayed", exec=["cat"]),
        dict(model="prefork", handoff="listen", exec=["superd-echo", "--threads", "4"],
             prefork={"min_spare": 1, "max_spare": 1}),
        dict(model="fork", exec=["superd-echo"]),
    )

    def test_none_fails(self):
        """Each of 10,000 connections sends a line and gets it back, over 300 changes of the service's model."""
        daemon = self.prepare()
        daemon.service("it", listen="tcp://127.0.0.1:0", **self.MODELS[0])
        daemon.start()
        uri = daemon.address("it")
        lock = threading.Lock()
        progress = threading.Condition(lock)
        made = 0
        failures = []
        stop = False

        def client(name):
            nonlocal made
            number = 0
            while True:
                with progress:
                    if stop or made >= self.CONNECTIONS:
                        return
                    made += 1
                    progress.notify()
                number += 1
                line = b"%s %d" % (name, number)
                try:
                    with connect(uri) as sock:
                        sock.sendall(line + b"\n")
                        answer = Reader(sock).line()
                    if answer != line:
                        raise ConnectionError(f"{answer!r} for {line!r}")
                except OSError as error:
                    with progress:
                        failures.append(f"connection {made}: {error!r}")

        clients = [threading.Thread(target=client, args=(b"client %d" % n,)) for n in range(4)]
        for thread in clients:
            thread.start()
        reloads = 0
        try:
            while reloads < self.RELOADS and not failures:
                with progress:
                    progress.wait_for(lambda: made * self.RELOADS >= reloads * self.CONNECTIONS or failures, 60)
                reloads += 1
                daemon.service("it", listen="tcp://127.0.0.1:0", **self.MODELS[reloads % len(self.MODELS)])
                daemon.reload()
        finally:
            if reloads < self.RELOADS:
                stop = True
            for thread in clients:
                thread.join()
        self.assertEqual(failures, [])
        self.assertEqual((reloads, made), (self.RELOADS, self.CONNECTIONS))
        spare = 6  # parked processes or workers of the last definition
        self.eventually(lambda: len(daemon.children()) <= spare, "handlers of old definitions gone")


class ReloadOfManyServices(SuperdCase):
    def test_a_thousand_services(self):
        """1,000 services are loaded and reloaded; one that changes does not disturb the others."""
        daemon = self.prepare()
        host = own_loopback()
        for number in range(1000):
            daemon.service(f"s{number:04}", listen=f"tcp://{host}:{8000 + number}", model="fork", exec=["cat"])
        daemon.start()
        self.assertEqual(self.converse(f"tcp://{host}:8000"), b"hello")
        self.assertEqual(self.converse(f"tcp://{host}:8999"), b"hello")
        begin = time.monotonic()
        daemon.service("s0500", listen=f"tcp://{host}:8500", model="fork", exec=[say(daemon, "changed")])
        daemon.reload()
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(exchange(f"tcp://{host}:8500"), b"changed\n")
        self.assertEqual(self.converse(f"tcp://{host}:8501"), b"hello")
