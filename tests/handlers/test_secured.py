# SPDX-License-Identifier: MIT
"""Unmodified programs behind [tls], and clients of every library in front of them."""

import os
import re
import shutil
import smtplib
import subprocess

import originals
from harness import Reader
from securing import TlsCase

PATIENCE = 60
EXIM = """exim_path = {exim}
primary_hostname = mail.example.org
spool_directory = {spool}
log_file_path = {spool}/%slog
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
received_header_text = Received: from $sender_host_address
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = {spool}/mail
  user = Debian-exim
"""


class Secured(TlsCase):
    def tool(self, name):
        path = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
        if path is None:
            self.skipTest(f"{name} is not installed")
        return path

    def run_tool(self, *words, input=b"", status=0, **options):
        done = subprocess.run(words, input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                              check=False, **options)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stdout.decode(errors="replace"))
        return done.stdout

    def port(self, daemon):
        return daemon.address("web").rsplit(":", 1)[1]

    def web(self):
        daemon = self.prepare()
        page = daemon.shared("www")
        with open(os.path.join(page, "index.html"), "w", encoding="ascii") as file:
            file.write("<p>" + "hello " * 20_000)
        self.define(daemon, exec=[self.tool("micro-httpd"), page])
        return daemon.start()

    def test_curl_and_micro_httpd(self):
        """curl gets a page from a web server that knows nothing of TLS, by both versions."""
        daemon = self.web()
        for version in ("--tlsv1.3", "--tls-max=1.2"):
            version = ["--tls-max", "1.2"] if "max" in version else [version]
            page = self.run_tool(self.tool("curl"), "-sS", "--cacert", self.authority.certificate, *version, "--resolve",
                                 f"localhost:{self.port(daemon)}:127.0.0.1",
                                 f"https://localhost:{self.port(daemon)}/index.html")
            self.assertEqual(page.count(b"hello "), 20_000)

    def test_gnutls(self):
        """GnuTLS's client verifies the certificate and talks to a shell script."""
        daemon = self.prepare()
        script = daemon.script("greet", "#!/bin/sh\nread -r name\necho \"hello $name\"\n")
        self.define(daemon, exec=[script])
        daemon.start()
        said = self.run_tool(self.tool("gnutls-cli"), "--x509cafile", self.authority.certificate, "--port",
                             self.port(daemon), "--verify-hostname=localhost", "--sni-hostname=localhost", "127.0.0.1",
                             input=b"gnu\n")
        self.assertIn(b"hello gnu", said)

    def test_s_client(self):
        """openssl s_client resumes a session with a shell script behind it."""
        daemon = self.prepare()
        script = daemon.script("greet", "#!/bin/sh\nread -r name\necho \"hello $name\"\n")
        self.define(daemon, exec=[script])
        daemon.start()
        kept = os.path.join(self.folder, "session")
        words = [self.tool("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port(daemon)}", "-servername",
                 "localhost", "-CAfile", self.authority.certificate, "-verify_return_error", "-ign_eof"]
        said = self.run_tool(*words, "-sess_out", kept, input=b"first\n")
        self.assertIn(b"hello first", said)
        self.assertIn(b"Verify return code: 0 (ok)", said)
        self.assertIn(b"Reused, TLSv1.3", self.run_tool(*words, "-sess_in", kept, input=b"again\n"))

    def test_sslscan(self):
        """A scanner finds TLS 1.2 and 1.3 alone, no renegotiation by clients, and no weak cipher."""
        daemon = self.web()
        said = self.run_tool(self.tool("sslscan"), "--no-colour", "--sni-name=localhost",
                             f"127.0.0.1:{self.port(daemon)}").decode()
        for line in ("SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled",
                     "TLSv1.2   enabled", "TLSv1.3   enabled", "Session renegotiation not supported"):
            self.assertIn(line, said)
        self.assertNotIn("vulnerable to heartbleed", said.replace("not vulnerable to heartbleed", ""))
        for weak in ("RC4", "3DES", "NULL", "EXP", "MD5"):
            self.assertNotIn(f" {weak}", said)

    def test_rsync(self):
        """rsync's daemon serves a module through openssl s_client."""
        daemon = self.prepare()
        module = daemon.shared("module")
        with open(os.path.join(module, "file"), "wb") as file:
            file.write(os.urandom(300_000))
        config = daemon.write("rsyncd.conf", f"use chroot = no\n[module]\npath = {module}\n")
        self.define(daemon, exec=[self.tool("rsync"), "--daemon", f"--config={config}"])
        daemon.start()
        target = os.path.join(self.folder, "copied")
        connect = (f"openssl s_client -quiet -verify_quiet -servername localhost -CAfile {self.authority.certificate} "
                   f"-connect 127.0.0.1:{self.port(daemon)} 2>/dev/null")
        self.run_tool(self.tool("rsync"), "rsync://localhost/module/file", target,
                      env={"PATH": "/usr/bin:/bin", "RSYNC_CONNECT_PROG": connect})
        with open(target, "rb") as copied, open(os.path.join(module, "file"), "rb") as original:
            self.assertEqual(copied.read(), original.read())

    def test_smtps(self):
        """exim4 -bs takes a message by SMTPS from Python's smtplib, and delivers it with its client's address."""
        if not self.root:
            self.skipTest("exim4 delivers as its own user: needs root")
        exim = originals.program("exim4-daemon-light", "usr/sbin/exim4")
        daemon = self.prepare()
        spool = daemon.shared("spool")
        config = daemon.write("exim.conf", EXIM.format(exim=exim, spool=spool))
        # The package's user, in a mount namespace of the handler's own.
        files = {}
        for name, line in (("passwd", "Debian-exim:x:65533:65533::/nonexistent:/usr/sbin/nologin\n"),
                           ("group", "Debian-exim:x:65533:\n")):
            with open(f"/etc/{name}", encoding="utf-8") as file:
                files[name] = daemon.write(name, re.sub("(?m)^Debian-exim:.*\n", "", file.read()) + line)
        inner = "".join(f"mount --bind {path} /etc/{name} && " for name, path in files.items())
        script = daemon.script("smtp", "#!/bin/sh\n"
                               f"exec unshare -m sh -c '{inner} exec {exim} -C {config} -oMa '$TCPREMOTEIP' -odi -bs'\n")
        self.define(daemon, exec=[script], user="root")
        daemon.start()
        with smtplib.SMTP_SSL("127.0.0.1", int(self.port(daemon)), timeout=PATIENCE,
                              context=self.context(check_hostname=False)) as client:
            client.sendmail("alice@example.org", ["bob@example.org"],
                            "Subject: hello\r\n\r\n" + "a line of the message\r\n" * 5_000)
        path = os.path.join(spool, "mail")
        self.eventually(lambda: os.path.exists(path) and os.path.getsize(path) > 100_000, "the message is delivered")
        with open(path, encoding="ascii") as file:
            text = file.read()
        self.assertIn("Received: from 127.0.0.1", text)
        self.assertEqual(text.count("a line of the message\n"), 5_000)

    def test_python(self):
        """Python's ssl reads what a shell script writes, to an end that is not cut off."""
        daemon = self.prepare()
        script = daemon.script("numbers", "#!/bin/sh\nseq 1 20000\n")
        self.define(daemon, exec=[script])
        daemon.start()
        lines = Reader(self.secure(daemon)).rest().split()
        self.assertEqual((len(lines), lines[-1]), (20_000, b"20000"))
