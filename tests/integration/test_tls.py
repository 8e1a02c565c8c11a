# SPDX-License-Identifier: MIT
"""[tls]: what a client, a handler and an operator see of it."""

import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import unittest

from certificates import Authority, openssl
from harness import Reader, connect
from securing import TCP, USER, TlsCase, closed

ENV = """#!/bin/sh
env
"""


def process_state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


class Tls(TlsCase):
    def test_variables(self):
        """A handler finds what the handshake has shown, by superd's names and by s6's, and its client's address."""
        daemon = self.prepare()
        script = daemon.script("show", ENV)
        self.define(daemon, {"alpn": ["http/1.1"]}, exec=[script])
        daemon.start()
        context = self.context()
        context.set_alpn_protocols(["http/1.1"])
        client = self.secure(daemon, context)
        found = dict(line.split("=", 1) for line in Reader(client).rest().decode().splitlines() if "=" in line)
        self.assertEqual(found["TLS_PROTOCOL"], "TLSv1.3")
        self.assertEqual(found["TLS_CIPHER"], client.cipher()[0])
        self.assertEqual((found["TLS_SERVER_NAME"], found["TLS_ALPN"]), ("localhost", "http/1.1"))
        self.assertEqual((found["SSL_PROTOCOL"], found["SSL_TLS_SNI_SERVERNAME"]), ("TLSv1.3", "localhost"))
        self.assertEqual((found["PROTO"], found["REMOTE_ADDR"]), ("TCP", "127.0.0.1"))
        self.assertEqual(found["TCPREMOTEPORT"], str(client.getsockname()[1]))
        self.assertNotIn("TLS_CLIENT_SUBJECT", found)

    def test_models(self):
        """Every model that takes connections serves them, warm ones too."""
        for keys in ({"model": "fork"}, {"model": "iterative"}, {"model": "delayed"}, {"model": "prefork"},
                     {"model": "prefork", "prefork": {"warm": "start"}},
                     {"model": "prefork", "prefork": {"warm": "clone"}}):
            with self.subTest(**keys):
                daemon = self.secured(**keys)
                for i in range(3):
                    client = self.secure(daemon)
                    self.says(client, b"%d" % i)
                    client.close()
                daemon.stop()

    def test_half_close_and_truncation(self):
        """close_notify is an end for the handler, which still answers; a connection that is cut is ECONNRESET."""
        daemon = self.prepare()
        script = daemon.script("count", """#!/usr/bin/python3
import os
data = b""
try:
    while part := os.read(0, 65536):
        data += part
    how = "end"
except ConnectionResetError:
    how = "reset"
try:
    os.write(1, b"%d\\n" % len(data))
except OSError:
    pass
os.write(2, f"{len(data)} {how}\\n".encode())
""")
        self.define(daemon, exec=[script])
        daemon.start()
        client = self.secure(daemon)
        client.sendall(b"x" * 100_000)
        with self.assertRaises(ssl.SSLError):
            client.unwrap()  # it waits for the other side's close_notify, and the answer comes first
        daemon.wait_for(message="100000 end")
        client = self.secure(daemon)
        client.sendall(b"x" * 1000)
        socket.socket.shutdown(client, socket.SHUT_RDWR)
        daemon.wait_for(message="1000 reset")

    def test_names(self):
        """Each of three names has its certificate, a pattern has one, and all others get the first."""
        daemon = self.prepare()
        text = ""
        for name in ("one.example", "two.example", "*.three.example"):
            pair = self.authority.issue(name.replace("*", "any"), [name])
            text += f'\n[[tls.name]]\nnames = "{name}"\ncertificate = "{pair[0]}"\nkey = "{pair[1]}"\n'
        self.define(daemon, text=text)
        daemon.start()
        for asked, shown in (("one.example", "one.example"), ("two.example", "two.example"),
                             ("TWO.example", "two.example"),
                             ("www.three.example", "*.three.example"), ("localhost", "localhost")):
            with self.subTest(asked=asked):
                client = self.secure(daemon, name=asked)
                self.assertEqual(client.getpeercert()["subjectAltName"], (("DNS", shown),))
                self.says(client, b"hello")
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.secure(daemon, name="four.example")

    def test_client_certificates(self):
        """Required ones are told to the handler; none, an expired, a foreign and a revoked one start no handler."""
        good = self.authority.issue("alice", subject="/O=Some, \"Org\"/CN=alice")
        expired = self.authority.issue("expired", expired=True)
        revoked = self.authority.issue("revoked")
        self.authority.revoke("revoked")
        foreign = Authority(os.path.join(self.folder, f"other{time.monotonic_ns()}"), "other").issue("mallory")
        daemon = self.prepare()
        script = daemon.script("show", ENV)
        self.define(daemon, {"client_ca": self.authority.certificate,
                             "client_crl": self.authority.revocation_list()}, exec=[script],
                    log={"connections": "all"})
        daemon.start()
        client = self.secure(daemon, self.context(client=good))
        found = dict(line.split("=", 1) for line in Reader(client).rest().decode().splitlines() if "=" in line)
        self.assertEqual(found["TLS_CLIENT_SUBJECT"], 'CN=alice,O=Some\\, \\"Org\\"')
        fingerprint = openssl("x509", "-in", good[0], "-noout", "-fingerprint", "-sha256").decode()
        digits = fingerprint.split("=")[1].strip().replace(":", "").lower()
        self.assertEqual(found["TLS_CLIENT_HASH"], f"SHA256:{digits}")
        self.assertEqual(found["SSL_PEER_CERT_HASH"], f"SHA256:{digits}")
        self.assertEqual(found["SSL_PEER_CERT_SUBJECT"], found["TLS_CLIENT_SUBJECT"])
        started = self.service_status(daemon)["started"]
        for number, (client, why) in enumerate(((None, "did not return a certificate"), (expired, "expired"),
                                                (foreign, "local issuer"), (revoked, "revoked")), 1):
            with self.subTest(why=why):
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    sock = self.secure(daemon, self.context(client=client))
                    sock.recv(1)  # in TLS 1.3 the client hears of it after its own handshake
                daemon.wait_for(lambda r: why in r["message"])
                self.refused(daemon, "handshake", number)
        self.assertEqual(self.service_status(daemon)["started"], started)

    def test_requested_certificates(self):
        """Under request a client may come without."""
        good = self.authority.issue("bob")
        daemon = self.secured({"client_ca": self.authority.certificate, "client_certificate": "request"})
        self.says(self.secure(daemon), b"without")
        self.says(self.secure(daemon, self.context(client=good)), b"with")

    def test_versions_and_ciphers(self):
        """min_version and ciphers hold; TLS 1.1 is never spoken."""
        daemon = self.secured({"min_version": "1.3", "ciphers": "TLS_CHACHA20_POLY1305_SHA256"})
        self.assertEqual(self.secure(daemon).cipher()[0], "TLS_CHACHA20_POLY1305_SHA256")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.secure(daemon, self.context(maximum_version=ssl.TLSVersion.TLSv1_2))
        daemon.stop()
        daemon = self.secured({"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"})
        twelve = self.context(maximum_version=ssl.TLSVersion.TLSv1_2)
        self.assertEqual(self.secure(daemon, twelve).cipher()[0], "ECDHE-ECDSA-AES256-GCM-SHA384")
        eleven = self.context(check_hostname=False)
        eleven.minimum_version = ssl.TLSVersion.TLSv1
        eleven.maximum_version = ssl.TLSVersion.TLSv1_1
        eleven.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.secure(daemon, eleven)

    def test_reject_text_is_inside(self):
        """A client over the limit reads reject_text after its handshake, and nothing but TLS comes in clear."""
        daemon = self.secured(limits={"instances": 1, "on_excess": "reject", "reject_text": "full\n"})
        both = [connect(daemon.address("web")) for _ in range(2)]
        for one in both:
            self.addCleanup(one.close)
        # Both are let in before either takes the place.
        self.eventually(lambda: self.service_status(daemon)["pending"] == 2, "both handshakes to begin")
        first, second = (self.context().wrap_socket(one, server_hostname="localhost") for one in both)
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        self.says(first, b"in")
        self.assertEqual(Reader(second).rest(), b"full\n")
        raw = connect(daemon.address("web"))
        self.addCleanup(raw.close)
        try:
            self.assertNotIn(b"full", raw.recv(100))
        except ConnectionError:
            pass

    def test_plain_client(self):
        """A client that does not speak TLS is refused with the reason, and no handler begins."""
        daemon = self.secured()
        raw = connect(daemon.address("web"))
        self.addCleanup(raw.close)
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
        record = daemon.wait_for(lambda r: "http request" in r["message"])
        self.assertEqual(record["refusal"], "handshake")
        self.assertEqual(self.service_status(daemon)["started"], 0)

    def test_timeout(self):
        """A handshake that is not over in time ends, by that reason."""
        daemon = self.secured({"handshake_timeout": "300ms"})
        raw = self.half(daemon)
        self.assertTrue(closed(raw))
        self.refused(daemon, "handshake_timeout")

    def test_flood(self):
        """Half-done handshakes of one source start no handler and are bounded; another source is served."""
        daemon = self.secured(limits={"instances": 10})
        flood = [self.half(daemon, ("127.0.0.2", 0)) for _ in range(200)]
        self.refused(daemon, "pending", 50)
        status = self.service_status(daemon)
        self.assertLessEqual(status["pending"], 64)
        self.assertEqual(status["started"], 0)
        begun = time.monotonic()
        self.says(self.secure(daemon, source=("127.0.0.3", 0)), b"served")
        self.assertLess(time.monotonic() - begun, 10)
        for one in flood:
            one.close()

    def test_updates_without_end(self):
        """Clients that send key updates as fast as they can, and no data, do not keep others from their turn."""
        daemon = self.secured(limits={"instances": 100})
        port = daemon.address("web").rsplit(":", 1)[1]
        program = os.path.join(os.path.dirname(os.environ["SUPERD_PROBE"]), "tls_load")
        flood = subprocess.Popen([program, port, "updates", "60", "4"], stdout=subprocess.PIPE)
        self.addCleanup(flood.stdout.close)
        self.addCleanup(flood.wait)
        self.addCleanup(flood.kill)
        self.eventually(lambda: len(self.handlers(daemon)) == 4, "the flood")
        for _ in range(10):
            self.says(self.secure(daemon, source=("127.0.0.3", 0)), b"served")
        self.assertIsNone(flood.poll(), "it has been cut off")


class TlsLife(TlsCase):
    def test_new_certificate_by_reload(self):
        """200 connections go on over a reload that takes up a new certificate, which new clients see."""
        pair = [os.path.join(self.folder, "live.pem"), os.path.join(self.folder, "live.key")]

        def put(name):
            new = self.authority.issue(name, ["localhost"], subject=f"/CN={name}")
            for source, target in zip(new, pair):
                with open(source, "rb") as file, open(target + ".new", "wb") as copy:
                    copy.write(file.read())
                os.rename(target + ".new", target)

        put("before")
        daemon = self.secured({"pair": pair}, limits={"instances": 500})
        old = self.tls_process(daemon)
        clients = [self.secure(daemon) for _ in range(200)]

        def subject(sock):
            return dict(part[0] for part in sock.getpeercert()["subject"])["commonName"]

        self.assertEqual(subject(clients[0]), "before")
        put("after")
        daemon.reload()
        self.eventually(lambda: [pid for pid in self.tls_processes(daemon) if pid != old], "a new superd-tls")
        self.eventually(lambda: subject(self.secure(daemon)) == "after", "the new certificate")
        for number, client in enumerate(clients):
            self.says(client, b"%d" % number)
        self.assertIn(old, self.tls_processes(daemon))
        for client in clients:
            client.close()
        self.eventually(lambda: old not in self.tls_processes(daemon), "the old superd-tls to go with its last client")

    def test_broken_files_are_refused(self):
        """A reload with a key that does not fit, or without a file, is refused and changes nothing."""
        daemon = self.secured()
        other = self.authority.issue("stranger", ["stranger"])
        before = self.tls_process(daemon)
        for pair, why in (((self.pair[0], other[1]), "is not the key of the certificate"),
                          ((self.pair[0], "/nonexistent/key"), "No such file or directory"),
                          ((other[1], self.pair[1]), "has no certificate in PEM form")):
            with self.subTest(why=why):
                self.define(daemon, {"pair": pair})
                daemon.reload(refused=True)
                status, text = daemon.check()
                self.assertEqual(status, 1)
                self.assertIn(why, text)
        self.says(self.secure(daemon), b"as before")
        self.assertEqual(self.tls_process(daemon), before)

    def test_it_dies(self):
        """superd-tls is killed: its connections are lost and told, handlers see a reset, and it is started again."""
        daemon = self.secured()
        client = self.secure(daemon)
        self.says(client, b"here")
        pid = self.tls_process(daemon)
        mark = daemon.mark()
        os.kill(pid, signal.SIGSEGV)
        record = daemon.wait_for(message="superd-tls, process", since=mark)
        # Its handler, which sees the reset, may have been reaped before it.
        self.assertRegex(record["message"],
                         r"ended: killed by SIGSEGV; [01] connections? lost with it, and it is started again")
        self.assertTrue(closed(client))
        self.says(self.secure(daemon), b"again")
        self.assertNotEqual(self.tls_process(daemon), pid)

    def test_last_handshake_of_an_old_certificate(self):
        """The old superd-tls ends with its last client, one in its handshake, and superd hears of both at once."""
        daemon = self.secured()
        raw = self.half(daemon)
        self.eventually(lambda: self.service_status(daemon)["pending"] == 1, "the handshake to begin")
        old = self.tls_process(daemon)
        self.define(daemon, {"handshake_timeout": "9s"})
        daemon.reload()
        self.eventually(lambda: [pid for pid in self.tls_processes(daemon) if pid != old], "a new superd-tls")
        self.says(self.secure(daemon), b"new")
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            raw.close()
            self.eventually(lambda: process_state(old) == "Z", "the old superd-tls to end")
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        self.refused(daemon, "gone")
        self.eventually(lambda: old not in self.tls_processes(daemon), "the old superd-tls to be reaped")
        self.says(self.secure(daemon), b"after")

    def test_it_is_killed_in_handshakes(self):
        """A drained superd-tls that dies during a handshake loses that client, and its definition goes with it."""
        daemon = self.secured()
        raw = self.half(daemon)
        self.eventually(lambda: self.service_status(daemon)["pending"] == 1, "the handshake to begin")
        old = self.tls_process(daemon)
        self.define(daemon, {"handshake_timeout": "9s"})
        daemon.reload()
        self.eventually(lambda: [pid for pid in self.tls_processes(daemon) if pid != old], "a new superd-tls")
        os.kill(old, signal.SIGKILL)
        self.assertTrue(closed(raw))
        self.refused(daemon, "tls")
        self.says(self.secure(daemon), b"after")

    def test_reload_while_it_cannot_start(self):
        """A client that waits for a superd-tls that cannot start is lost once its definition is replaced, no sooner."""
        pair = [os.path.join(self.folder, "mended.pem"), os.path.join(self.folder, "mended.key")]
        for source, target in zip(self.pair, pair):
            shutil.copy(source, target)
        daemon = self.secured({"pair": pair}, proxy_protocol={"accept": "any", "from": ["127.0.0.0/8"]})
        raw = connect(daemon.address("web"))
        self.addCleanup(raw.close)
        raw.sendall(b"PROXY TCP4 192.0.2.7 ")
        self.eventually(lambda: self.service_status(daemon)["pending"] == 1, "the header to begin")
        with open(pair[1], "w", encoding="ascii") as file:
            file.write("no key\n")
        mark = daemon.mark()
        os.kill(self.tls_process(daemon), signal.SIGKILL)
        daemon.wait_for(lambda r: "has no key in PEM form; clients wait" in r["message"], since=mark)
        raw.sendall(b"192.0.2.1 4711 443\r\n")
        self.eventually(lambda: not self.tls_processes(daemon), "a pause between two starts")
        shutil.copy(self.pair[1], pair[1])
        daemon.reload()
        self.assertTrue(closed(raw))
        self.refused(daemon, "tls")
        raw = connect(daemon.address("web"))
        raw.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        client = self.context().wrap_socket(raw, server_hostname="localhost")
        self.addCleanup(client.close)
        self.says(client, b"after")

    def test_upgrade(self):
        """Connections and a handshake under way go on over an upgrade in place, with the superd-tls that they have; who
        comes then gets the new release's, and the old one ends with its last client."""
        daemon = self.secured()
        client = self.secure(daemon)
        self.says(client, b"before")
        raw = connect(daemon.address("web"))
        self.addCleanup(raw.close)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        half = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            half.do_handshake()
        hello = outgoing.read()
        raw.sendall(hello[:50])
        self.eventually(lambda: self.service_status(daemon)["pending"] == 1, "the handshake to begin")
        pid = self.tls_process(daemon)
        self.upgrade(daemon)
        new = self.eventually(lambda: [one for one in self.tls_processes(daemon) if one != pid], "the new superd-tls")
        self.assertIn(pid, self.tls_processes(daemon))
        self.assertEqual(self.service_status(daemon)["pending"], 1)
        self.says(client, b"after")
        self.says(self.secure(daemon), b"another")
        raw.sendall(hello[50:])
        while True:
            try:
                half.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read()) if outgoing.pending else None
                incoming.write(raw.recv(65536))
        half.write(b"whole\n")
        raw.sendall(outgoing.read())
        while True:
            try:
                self.assertEqual(half.read(100), b"whole\n")
                break
            except ssl.SSLWantReadError:
                incoming.write(raw.recv(65536))
        self.says(self.secure(daemon), b"new")
        client.close()
        raw.close()
        self.eventually(lambda: self.tls_processes(daemon) == new, "the old superd-tls to end")

    def test_clients_in_line_when_it_dies(self):
        """Clients that have passed their handshake and wait for a handler when superd-tls is killed are told of and
        ended at once, and no handler is started for them; the next client is served."""
        # The first one's handler does not notice, and so gives its place to nobody.
        daemon = self.secured(exec=["/bin/sh", "-c", 'read -r word; echo "$word"; exec sleep 1000'],
                              limits={"per_source": 1})
        first = self.secure(daemon)
        self.says(first, b"first")
        handler_pid = self.handlers(daemon)[0]
        others = [self.secure(daemon) for _ in range(3)]
        for other in others:
            other.sendall(b"hello\n")
        self.eventually(lambda: self.service_status(daemon)["held"] == 3, "the others to wait")
        pid = self.tls_process(daemon)
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(all(closed(one) for one in (first, *others)))
        daemon.wait_for(lambda record: "4 connections lost with it" in record["message"])
        self.refused(daemon, "tls", 3)
        os.kill(handler_pid, signal.SIGKILL)
        self.eventually(lambda: self.tls_processes(daemon) not in ([], [pid]), "the next superd-tls")
        self.says(self.secure(daemon), b"next")
        self.assertEqual(self.service_status(daemon)["started"], 2)

    def test_stop_with_a_client_that_does_not_read(self):
        """superd ends in time although a client takes in nothing of what its handler has said."""
        daemon = self.secured(exec=["/usr/bin/head", "-c", "3000000", "/dev/zero"], stop_timeout="1s")
        raw = connect(daemon.address("web"))
        self.addCleanup(raw.close)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = self.context().wrap_socket(raw, server_hostname="localhost")
        self.addCleanup(client.close)
        self.eventually(lambda: self.service_status(daemon)["started"] == 1, "its handler")
        daemon.stop()
        self.assertTrue(daemon.find(lambda record: "has not left in 1s and is killed" in record["message"]))

    def test_resumption_ends_with_the_certificate(self):
        """A client that resumes its session again and again is refused once its certificate has expired, in both
        versions of TLS."""
        daemon = self.secured({"client_ca": self.authority.certificate})
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            ends = time.time() + 4
            pair = self.authority.issue(f"brief{time.monotonic_ns()}", ends=ends)
            context = self.context(client=pair, maximum_version=version)
            resumed, session, refused = 0, None, False
            while not refused and time.time() < ends + 20:
                try:
                    client = self.secure(daemon, context, session=session)
                    self.says(client, b"hello")
                    resumed += client.session_reused
                    session = client.session
                    client.close()
                    time.sleep(0.1)
                except (ssl.SSLError, ConnectionError, AssertionError):
                    refused = True
            self.assertTrue(refused, version)
            self.assertGreater(resumed, 0)
            self.assertGreaterEqual(time.time(), int(ends))

    def test_reload_that_asks_for_more(self):
        """A handshake that has begun, and a client that waits in line, pass no reload that asks for certificates."""
        daemon = self.secured(limits={"per_source": 1})
        first = self.secure(daemon)
        self.says(first, b"first")
        second = self.secure(daemon)
        self.eventually(lambda: self.service_status(daemon)["held"] == 1, "the second to wait")
        half = self.half(daemon)
        self.eventually(lambda: self.service_status(daemon)["pending"] == 1, "the handshake to begin")
        self.define(daemon, {"client_ca": self.authority.certificate}, limits={"per_source": 1})
        daemon.reload()
        self.assertTrue(closed(second))
        self.assertTrue(closed(half))
        self.says(first, b"still there")
        self.refused(daemon, "tls", 1)

    def test_a_load_asks_about_all_services_at_once(self):
        """Whether the files of six services would do is found out at the same time: each program that is asked waits
        for the other five."""
        daemon = self.secured()
        here = daemon.shared("here")
        program = daemon.path("programs/libexec/superd/superd-tls")
        os.rename(program, program + ".real")
        with open(program, "w", encoding="ascii") as file:
            file.write(f"""#!/bin/sh
: >"{here}/$1"
i=0
while [ $((i += 1)) -le 60 ]; do
    count() {{ [ $# -ge 6 ]; }}
    count {here}/* && exec {program}.real "$@"
    /bin/sleep 0.1
done
echo "failed 0 nobody else was asked"
""")
        os.chmod(program, 0o755)
        names = [f"s{number}" for number in range(6)]
        for name in names:
            daemon.service(name, listen=TCP, model="fork", exec=["/bin/cat"], tls=self.tls())
        daemon.reload()
        # "web" is asked about too where its file is so new that it is read again.
        self.assertEqual([name for name in sorted(os.listdir(here)) if name != "web"], names)
        self.says(self.secure(daemon), b"still there")

    def test_a_proxy_in_front(self):
        """With [proxy_protocol] the header comes first, in clear, and names the client of the handshake."""
        daemon = self.prepare()
        script = daemon.script("show", ENV)
        self.define(daemon, exec=[script], proxy_protocol={"accept": "any", "from": ["127.0.0.0/8"]})
        daemon.start()
        raw = connect(daemon.address("web"))
        raw.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        client = self.context().wrap_socket(raw, server_hostname="localhost")
        self.addCleanup(client.close)
        found = dict(line.split("=", 1) for line in Reader(client).rest().decode().splitlines() if "=" in line)
        self.assertEqual((found["REMOTE_ADDR"], found["TCPREMOTEPORT"]), ("192.0.2.7", "4711"))
        self.assertEqual(found["TLS_PROTOCOL"], "TLSv1.3")


@unittest.skipIf(os.geteuid() != 0, "needs root to look into all of /proc")
class TlsKey(TlsCase):
    def test_the_key_is_only_in_superd_tls(self):
        """Neither superd nor a handler has the key in its memory or behind a descriptor; superd-tls has."""
        daemon = self.secured(limits={"instances": 10})
        client = self.secure(daemon)
        self.says(client, b"here")
        text = openssl("pkey", "-in", self.pair[1], "-noout", "-text").decode()
        digits = re.search(r"priv:\s*([0-9a-f:\s]+)pub:", text)[1]
        number = bytes.fromhex(re.sub(r"[:\s]", "", digits))[-32:]
        with open(self.pair[1], "rb") as file:
            body = file.read().splitlines()[1][:48]
        needles = [number, number[::-1], body]
        server = self.tls_process(daemon)
        handlers = self.handlers(daemon)
        self.assertEqual(len(handlers), 1)
        self.assertTrue(self.has(server, needles), "the search finds nothing")
        for pid in [daemon.pid, *handlers]:
            self.assertFalse(self.has(pid, needles), f"the key is in process {pid}")
        for pid in [daemon.pid, *handlers, server]:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                self.assertNotIn(os.readlink(f"/proc/{pid}/fd/{fd}"), self.pair)

    @staticmethod
    def has(pid, needles):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
                if not match or "[v" in line:
                    continue
                start, end = int(match[1], 16), int(match[2], 16)
                if end - start > 1 << 32:
                    continue  # AddressSanitizer's own, terabytes that say what may be touched
                for at in range(start, end, 1 << 24):
                    try:
                        memory.seek(at)
                        data = memory.read(min(end - at, (1 << 24) + 64))
                    except (OSError, ValueError, OverflowError):
                        continue
                    if any(needle in data for needle in needles):
                        return True
        return False

    def test_nobody_may_look_into_it(self):
        """It runs as tls.user, who may neither trace it nor read its memory; it has no privilege and a filter."""
        daemon = self.secured()
        pid = self.tls_process(daemon)
        self.says(self.secure(daemon), b"here")
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(re.findall(r"(?m)^(\w+):\t(.*)$", file.read()))
        self.assertEqual(status["Uid"].split()[0], str(pwd.getpwnam(USER).pw_uid))
        self.assertEqual((status["Seccomp"], status["NoNewPrivs"], status["CapEff"]), ("2", "1", "0" * 16))
        self.assertEqual(status["Groups"].split(), [])
        # Not dumpable: its files in /proc are root's.
        self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)


class TlsErrors(TlsCase):
    def test_what_cannot_be(self):
        """Each definition that could not work is an error at load that names its key."""
        daemon = self.prepare()
        ca = {"client_ca": self.authority.certificate}
        cases = [
            (dict(tls={"client_certificate": "require"}), r"tls.client_certificate \"require\" needs tls.client_ca"),
            (dict(tls={"client_crl": self.pair[0]}), "tls.client_crl needs tls.client_ca"),
            (dict(tls={**ca, "client_crl": self.pair[0]}), "has no revocation list in PEM form"),
            (dict(tls={"ciphers": "NONSENSE"}), r"tls.ciphers \"NONSENSE\": there is no \"NONSENSE\""),
            (dict(tls={"ciphers": "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_129_GCM_SHA256"}),
             r"there is no \"TLS_AES_129_GCM_SHA256\""),
            (dict(tls={"ciphers": "TLS_AES_128_GCM_SHA256"}), r"suites of TLS 1.3 alone"),
            (dict(tls={"alpn": "a,b"}), "is not a protocol's name"),
            (dict(tls={"min_version": "1.1"}), "is not one of 1.2, 1.3"),
            (dict(tls={"pair": ("server.pem", self.pair[1])}), "is not an absolute path"),
            (dict(handoff="listen", model="prefork"), r"\[tls\] needs handoff = \"connection\""),
            (dict(listen="udp://127.0.0.1:0"), r"\[tls\] needs stream sockets"),
            (dict(text='\n[[tls.name]]\nnames = "a b"\ncertificate = "/x"\nkey = "/y"\n'), "is not a host's name"),
            (dict(text='\n[[tls.name]]\nnames = "a.example"\ncertificate = "/x"\n'), "tls.name.key is missing"),
        ]
        if self.root:
            cases += [(dict(tls={"user": "nobody"}), "is the handler's user too"),
                      (dict(tls={"user": "root"}), "is root")]
        for keys, why in cases:
            with self.subTest(why=why):
                self.define(daemon, **keys)
                status, text = daemon.check()
                self.assertEqual(status, 1, text)
                self.assertRegex(text, why)
        daemon.service("web", f'listen = "{TCP}"\nmodel = "fork"\nexec = ["/bin/cat"]\n[tls]\n')
        status, text = daemon.check()
        self.assertIn("tls.certificate is missing", text)
        self.assertIn("tls.key is missing", text)
        daemon.remove("web")
        if not self.root:
            return
        # The same across services.
        self.define(daemon)
        daemon.service("other", listen=TCP, model="fork", exec=["/bin/cat"], user=USER)
        status, text = daemon.check()
        self.assertEqual(status, 1, text)
        self.assertIn(f'tls.user "{USER}" is the user of the handlers of service "other" too', text)

    def test_warnings(self):
        """An expired certificate, a key that everybody may read and warm handlers are told of at load."""
        daemon = self.prepare()
        pair = self.authority.issue("ancient", ["localhost"], expired=True)
        os.chmod(pair[1], 0o644)
        self.define(daemon, {"pair": pair}, model="prefork", prefork={"warm": "start"})
        status, text = daemon.check()
        self.assertEqual(status, 0, text)
        for why in ("has expired", "can be read by everybody", "do not get its variables"):
            self.assertIn(why, text)
