# SPDX-License-Identifier: MIT
"""superd-tls by itself: this test is its superd, and the handler."""

import array
import fcntl
import os
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

from certificates import Authority, openssl
from harness import TestCase, installation

CLIENT = 1
READY, FAILED, DONE, REFUSED = range(1, 5)
HANDSHAKE, GONE, SCARCE = 1, 2, 3
PATIENCE = 30
PASSED = ("protocol", "cipher", "server_name", "alpn", "client_subject", "client_hash")


class Program:
    """superd-tls with these words; files are paths."""

    def __init__(self, test, words, files):
        self.test = test
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(PATIENCE)
        opened = [os.open(path, os.O_RDONLY) for path in files]
        keep = [theirs.fileno(), *opened]
        # Numbers that do not collide with those that they become.
        moved = [os.dup(fd) for fd in keep]
        high = [self._above(fd) for fd in moved]
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + i) for i, fd in enumerate(high)]
        program = os.path.join(installation().libexec, "superd-tls")
        self.pid = os.posix_spawn(program, ["superd-tls", "test", *words], {}, file_actions=actions)
        for fd in [*opened, *moved, *high]:
            os.close(fd)
        theirs.close()
        self.ticket = 0
        test.addCleanup(self.end)

    @staticmethod
    def _above(fd):
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)

    def end(self):
        self.channel.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def wait(self):
        """Its exit status once it has ended by itself."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def hear(self):
        """(word, about, end, text)"""
        message = self.channel.recv(8192)
        word, end, about = struct.unpack_from("=IIQ", message)
        return word, about, end, message[16:].decode()

    def ready(self):
        self.test.assertEqual(self.hear()[0], READY)
        return self

    def give(self, connection):
        """Passes a connection on; the handler's end."""
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        ours.send(b"!")
        self.ticket += 1
        self.channel.sendmsg([struct.pack("=IIQ", CLIENT, 0, self.ticket)],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                               array.array("i", [connection.fileno(), theirs.fileno()]))])
        theirs.close()
        connection.close()
        self.test.addCleanup(ours.close)
        return ours


class TlsCase(TestCase):  # has no tests itself
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="superd-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.authority = Authority(os.path.join(cls.folder, "ca"))
        cls.pair = cls.authority.issue("server", ["localhost"])

    def program(self, *words, files=None, pair=None):
        files = [*(pair or self.pair), *(files or [])]
        return Program(self, ["pair=4:5", *words], files)

    def pair_of(self):
        """A TCP connection: (client's end, server's end)."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            client.settimeout(PATIENCE)
            self.addCleanup(client.close)
            return client, listener.accept()[0]

    def context(self, **changes):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        for name, value in changes.items():
            setattr(context, name, value)
        return context

    def talk(self, program, context=None, name="localhost"):
        """A client after its handshake, and its handler's end."""
        client, server = self.pair_of()
        handler = program.give(server)
        secure = (context or self.context()).wrap_socket(client, server_hostname=name,
                                                         suppress_ragged_eofs=False)
        self.addCleanup(secure.close)
        word, about, _, text = program.hear()
        self.assertEqual((word, about), (DONE, program.ticket), text)
        return secure, handler, dict(zip(PASSED, text.split("\0")))


class Alone(TlsCase):
    def test_facts_and_both_directions(self):
        """A client's bytes reach the handler and its answer the client; the facts are those of the handshake."""
        program = self.program("alpn=http/1.1,h2").ready()
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        client, handler, facts = self.talk(program, context)
        self.assertEqual(facts["protocol"], "TLSv1.3")
        self.assertEqual(facts["cipher"], client.cipher()[0])
        self.assertEqual((facts["server_name"], facts["alpn"]), ("localhost", "http/1.1"))
        client.sendall(b"question")
        self.assertEqual(handler.recv(100), b"question")
        handler.sendall(b"answer")
        self.assertEqual(client.recv(100), b"answer")

    def test_handler_end_is_an_end(self):
        """A handler that closes is an end with close_notify: no truncation."""
        program = self.program().ready()
        client, handler, _ = self.talk(program)
        handler.sendall(b"x" * 100_000)
        handler.close()
        data = b""
        while part := client.recv(65536):
            data += part
        self.assertEqual(len(data), 100_000)

    def test_half_close_of_the_client(self):
        """After close_notify the handler reads an end, and its answer still reaches the client."""
        program = self.program().ready()
        client, handler, _ = self.talk(program)
        client.sendall(b"all")
        client.setblocking(False)
        try:
            client.unwrap()  # says close_notify, and would wait for the other side's
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        client.setblocking(True)
        self.assertEqual(handler.recv(10), b"all")
        self.assertEqual(handler.recv(10), b"")
        handler.sendall(b"still there")
        handler.close()
        self.assertEqual(client.recv(100), b"still there")

    def test_half_close_of_the_handler(self):
        """A handler that shuts down writing goes on reading until the client ends, without a reset."""
        program = self.program().ready()
        client, handler, _ = self.talk(program)
        handler.sendall(b"all")
        handler.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(10), b"all")
        self.assertEqual(client.recv(10), b"")
        client.sendall(b"more")
        self.assertEqual(handler.recv(10), b"more")
        client.unwrap()  # has close_notify of the other side already
        self.assertEqual(handler.recv(10), b"")

    def test_truncation(self):
        """A connection cut without close_notify is ECONNRESET, after everything that came before."""
        program = self.program().ready()
        for handler_spoke in (False, True):
            with self.subTest(handler_spoke=handler_spoke):
                client, handler, _ = self.talk(program)
                if handler_spoke:
                    handler.sendall(b"welcome")
                    self.assertEqual(client.recv(10), b"welcome")
                client.sendall(b"half a message")
                socket.socket.shutdown(client, socket.SHUT_RDWR)
                client.detach()
                self.assertEqual(handler.recv(100), b"half a message")
                with self.assertRaises(ConnectionResetError):
                    handler.recv(100)

    def test_back_pressure(self):
        """A side that does not read stops the other; nothing is lost once it reads."""
        program = self.program().ready()
        client, handler, _ = self.talk(program)
        size = 8 << 20
        for sender, receiver in ((client, handler), (handler, client)):
            sender.setblocking(False)
            sent, block = 0, bytes(range(256)) * 64
            while True:
                try:
                    sent += sender.send(block[sent % 256:][:16384 - 256])
                except (BlockingIOError, ssl.SSLWantWriteError):
                    if not select.select([], [sender], [], 1)[1]:
                        break
                self.assertLess(sent, size, "there is no back-pressure")
            got = 0
            receiver.setblocking(True)
            receiver.settimeout(PATIENCE)
            while got < sent:
                part = receiver.recv(65536)
                self.assertEqual(part, (bytes(range(256)) * 257)[got % 256:][:len(part)])
                got += len(part)
            sender.setblocking(True)
            sender.settimeout(PATIENCE)

    def test_others_go_on(self):
        """A client whose handler reads nothing does not hold up another."""
        program = self.program().ready()
        client, _handler, _ = self.talk(program)
        client.setblocking(False)
        with self.assertRaises((BlockingIOError, ssl.SSLWantWriteError)):
            while True:
                client.send(b"x" * 16384)
        other, handler, _ = self.talk(program)
        other.sendall(b"ping")
        self.assertEqual(handler.recv(10), b"ping")

    def test_refused_handshakes(self):
        """What is not TLS, an old version, or gone: each is told with its reason, and no handler's end sees a byte."""
        program = self.program("min_version=1.3").ready()
        client, server = self.pair_of()
        handler = program.give(server)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        word, about, end, text = program.hear()
        self.assertEqual((word, about, end, text), (REFUSED, 1, HANDSHAKE, "http request"))
        with self.assertRaises(ConnectionResetError):
            handler.recv(1)
        client, server = self.pair_of()
        program.give(server)
        old = self.context(maximum_version=ssl.TLSVersion.TLSv1_2)
        with self.assertRaises(ssl.SSLError):
            old.wrap_socket(client, server_hostname="localhost")
        self.assertEqual(program.hear(), (REFUSED, 2, HANDSHAKE, "unsupported protocol"))
        client, server = self.pair_of()
        program.give(server)
        client.close()
        self.assertEqual(program.hear()[:3], (REFUSED, 3, GONE))

    def test_alert_of_the_client(self):
        """A client that does not trust the certificate has done nothing wrong."""
        program = self.program().ready()
        client, server = self.pair_of()
        program.give(server)
        with self.assertRaises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(client, server_hostname="localhost")
        self.assertEqual(program.hear(), (REFUSED, 1, GONE, "tlsv1 alert unknown ca"))

    def test_key_updates(self):
        """A client may change its keys as often as it sends: what comes after is read, and so are bytes before."""
        program = self.program().ready()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % listener.getsockname()[1],
                       "-servername", "localhost"]
            client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.addCleanup(client.wait)
            self.addCleanup(client.kill)
            self.addCleanup(client.stdin.close)
            self.addCleanup(client.stdout.close)
            handler = program.give(listener.accept()[0])
        self.assertEqual(program.hear()[0], DONE)
        heard = b""
        for number in range(20):
            heard = self.until(client, b"KEYUPDATE", number, heard)
            client.stdin.write(b"%d\n" % number)
            client.stdin.flush()
            self.assertEqual(handler.recv(10), b"%d\n" % number)
            client.stdin.write(b"k\n" if number % 2 else b"K\n")
            client.stdin.flush()

    @staticmethod
    def until(client, word, times, heard):
        """What s_client has said, once it has said this so often."""
        while heard.count(word) < times:
            part = os.read(client.stdout.fileno(), 65536)
            if not part:
                raise AssertionError(heard.decode(errors="replace"))
            heard += part
        return heard

    def test_client_that_does_not_read(self):
        """A client that takes nothing in after its handler has gone is cut off, so that superd-tls can end."""
        program = self.program().ready()
        _client, handler, _ = self.talk(program)
        handler.setblocking(False)
        while select.select([], [handler], [], 1)[1]:
            try:
                handler.send(b"x" * 65536)
            except BlockingIOError:
                pass
        handler.close()
        program.channel.shutdown(socket.SHUT_WR)
        self.assertEqual(program.wait(), 0)

    def test_given_up(self):
        """superd closes the handler's end of a client that is too slow: the connection ends."""
        program = self.program().ready()
        client, server = self.pair_of()
        program.give(server).close()
        self.assertEqual(client.recv(1), b"")
        self.talk(program)

    def test_resumption(self):
        """A ticket resumes a session, in TLS 1.2 and 1.3."""
        program = self.program().ready()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                context = self.context(maximum_version=version)
                client, handler, _ = self.talk(program, context)
                handler.sendall(b"ticket is read with this")
                client.recv(100)
                session = client.session
                handler.close()
                client.unwrap()
                again, server = self.pair_of()
                program.give(server)
                second = context.wrap_socket(again, server_hostname="localhost", session=session)
                self.addCleanup(second.close)
                self.assertEqual(program.hear()[0], DONE)
                self.assertTrue(second.session_reused)

    def test_end_with_the_last_client(self):
        """When superd sends no more, it serves those that it has and ends with the last."""
        program = self.program().ready()
        client, handler, _ = self.talk(program)
        program.channel.shutdown(socket.SHUT_WR)
        client.sendall(b"still")
        self.assertEqual(handler.recv(10), b"still")
        handler.close()
        self.assertEqual(client.recv(10), b"")
        client.close()
        self.assertEqual(program.wait(), 0)

    def test_bad_files(self):
        """Each file that does not fit is told by its number and with the reason."""
        other = self.authority.issue("other", ["other"])
        text = os.path.join(self.folder, "text")
        with open(text, "w", encoding="ascii") as file:
            file.write("nothing\n")
        with open(os.path.join(self.folder, "cut"), "w", encoding="ascii") as file, open(self.pair[0]) as whole:
            file.write(whole.read()[:200])
        cut = os.path.join(self.folder, "cut")
        locked = os.path.join(self.folder, "locked")
        openssl("pkey", "-in", self.pair[1], "-aes256", "-passout", "pass:x", "-out", locked)
        for pair, about, why in (((self.pair[0], other[1]), 5, "is not the key of the certificate"),
                                 ((text, self.pair[1]), 4, "has no certificate in PEM form"),
                                 ((self.pair[0], text), 5, "has no key in PEM form"),
                                 ((self.pair[0], self.folder), 5, "is not a file"),
                                 ((cut, self.pair[1]), 4, "has a certificate that cannot be read: bad end line"),
                                 ((self.pair[0], locked), 5,
                                  "is encrypted: there is nobody to be asked for its password")):
            with self.subTest(why=why):
                program = Program(self, ["pair=4:5"], pair)
                self.assertEqual(program.hear(), (FAILED, about, 0, why))
                self.assertEqual(program.wait(), 1)

    def test_expired_certificate_is_a_warning(self):
        """An expired certificate is told of when the files are only looked at."""
        pair = self.authority.issue("old", ["localhost"], expired=True)
        words = [os.path.join(installation().libexec, "superd-tls"), "test", "check"]
        files = [os.open(path, os.O_RDONLY) for path in pair]
        self.addCleanup(lambda: [os.close(fd) for fd in files])
        done = subprocess.run([*words, "pair={}:{}".format(*files)], pass_fds=files, stdout=subprocess.PIPE, check=True)
        self.assertEqual(done.stdout.decode(), f"warning {files[0]} has expired\nready\n")

    def test_it_is_confined(self):
        """It has a filter, no privilege to gain, no descriptor of a file, and cannot be dumped."""
        program = self.program().ready()
        self.talk(program)
        with open(f"/proc/{program.pid}/status", encoding="ascii") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        self.assertEqual((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"))
        links = [os.readlink(f"/proc/{program.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{program.pid}/fd")
                 if int(fd) > 2]
        self.assertFalse([link for link in links if link.startswith(self.folder)], links)
        if os.geteuid() != 0:  # otherwise it is root's anyway; test_tls.py looks at one that runs as another user
            self.assertEqual(os.stat(f"/proc/{program.pid}/mem").st_uid, 0)


if __name__ == "__main__":
    unittest.main()
