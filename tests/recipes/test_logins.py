# SPDX-License-Identifier: MIT
"""Recipes for logins and for asking who somebody is, each used by its own client."""

import os
import pwd
import struct

from place import PASSWORD, RecipeCase, folder, run, write

IAC, DONT, DO, WONT, WILL = 255, 254, 253, 252, 251


def keys():
    """The tester's, who may log in by it."""
    if not os.path.exists("/home/tester/.ssh/authorized_keys"):
        folder("/home/tester/.ssh", "tester", 0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/srv/key")
        with open("/srv/key.pub", encoding="utf-8") as file:
            write("/home/tester/.ssh/authorized_keys", file.read(), 0o600, "tester")


class Logins(RecipeCase):
    MOVED = {"dropbear": "tcp://127.0.0.1:2222", "tinysshd": "tcp://127.0.0.1:2223", "oidentd": "tcp://127.0.0.1:1113"}

    def logs_in(self, port):
        """ssh runs a command as the tester; its input, its output and its status come through."""
        ssh = ["ssh", "-F", "/dev/null", "-p", str(port), "-i", "/srv/key", "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "tester@127.0.0.1"]
        data = os.urandom(1 << 20)
        self.assertEqual(self.run_client(*ssh, "id -un; cat; exit 7", stdin=data, status=7), b"tester\n" + data)

    @staticmethod
    def prepare_sshd():
        keys()
        folder("/run/sshd")
        if not os.path.exists("/etc/ssh/ssh_host_ed25519_key"):
            run("ssh-keygen", "-q", "-A")

    def test_sshd(self):
        self.logs_in(22)

    @staticmethod
    def prepare_dropbear():
        keys()
        folder("/etc/dropbear")

    def test_dropbear(self):
        self.logs_in(2222)

    @staticmethod
    def prepare_tinysshd():
        keys()
        folder("/etc/tinyssh")
        run("tinysshd-makekey", "-q", "/etc/tinyssh/sshkeydir")

    def test_tinysshd(self):
        self.logs_in(2223)

    def test_telnetd(self):
        """A client of telnet's that agrees to nothing logs in by password and runs a command."""
        sock = self.connect(23)
        read = b""

        def until(words):
            nonlocal read
            while words not in read:
                part = sock.recv(65536)
                self.assertTrue(part, read)
                read += part
                while (at := read.find(bytes([IAC]))) >= 0 and len(read) >= at + 3:
                    verb, option = read[at + 1], read[at + 2]
                    if verb in (DO, WILL):
                        sock.sendall(bytes([IAC, WONT if verb == DO else DONT, option]))
                    read = read[:at] + read[at + 3:]
            read = read.partition(words)[2]

        until(b"login: ")
        sock.sendall(b"tester\r\n")
        until(b"assword: ")
        sock.sendall(PASSWORD.encode() + b"\r\n")
        until(b"$ ")
        sock.sendall(b"echo in as $(id -un)\r\n")
        until(b"in as tester")
        sock.sendall(b"exit\r\n")

    @staticmethod
    def prepare_fingerd():
        write("/home/tester/.plan", "to be found\n", owner="tester")

    def test_fingerd(self):
        """finger is told of a user and of his plan."""
        answer = self.run_client("finger", "tester@127.0.0.1")
        self.assertIn(b"/home/tester", answer)
        self.assertIn(b"to be found", answer)

    def test_nullidentd(self):
        """Everybody is told the same."""
        self.assertRegex(self.ask(113, b"6191, 23\r\n"), rb"^6191 ?, ?23 ?: ?USERID ?: ?UNIX ?: ?unknown\r\n")

    def test_oidentd(self):
        """A client asks whose a connection of ours is that it has with us: tester's."""
        os.seteuid(pwd.getpwnam("tester").pw_uid)  # that of Debian 13 hides root's
        try:
            sock = self.connect(2222)
        finally:
            os.seteuid(0)
        with sock:
            query = f"{sock.getsockname()[1]}, 2222\r\n".encode()
            self.assertRegex(self.ask(1113, query), rb"USERID ?: ?UNIX ?: ?tester\r\n")

    def test_xvnc(self):
        """A client of VNC gets through the handshake and learns the size and name of its desktop."""
        sock = self.connect(5950)
        stream = sock.makefile("rb")
        self.assertEqual(stream.read(12), b"RFB 003.008\n")
        sock.sendall(b"RFB 003.008\n")
        self.assertIn(1, stream.read(stream.read(1)[0]))
        sock.sendall(b"\1")
        self.assertEqual(stream.read(4), bytes(4))
        sock.sendall(b"\1")
        width, height = struct.unpack("!HH", stream.read(4))
        self.assertEqual((width, height), (1280, 800))
        stream.read(16)
        self.assertTrue(stream.read(struct.unpack("!I", stream.read(4))[0]))

    @staticmethod
    def prepare_bitlbee():
        folder("/var/lib/bitlbee", "bitlbee")

    def test_bitlbee(self):
        """A client of IRC is let in and registers, which is written down."""
        sock = self.connect(6667)
        sock.sendall(b"NICK tester\r\nUSER tester 0 * :a tester\r\n")
        self.until(sock, rb":\S+ 001 tester ")
        sock.sendall(b"PRIVMSG &bitlbee :register secret\r\n")
        self.until(sock, rb"(?i)account successfully created|now registered|settings.*saved")
        sock.sendall(b"QUIT\r\n")
        self.eventually(lambda: os.path.exists("/var/lib/bitlbee/tester.xml"), "the account")
