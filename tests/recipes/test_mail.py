# SPDX-License-Identifier: MIT
"""Recipes for mail and news, each used by its own client."""

import email.message
import os
import poplib
import smtplib

from place import PASSWORD, RecipeCase, folder, run, write


def message(subject, address="tester@localhost"):
    made = email.message.EmailMessage()
    made["From"], made["To"], made["Subject"] = address, address, subject
    made.set_content("hello\n")
    return made


class Mail(RecipeCase):
    MOVED = {"qmail-smtpd": "tcp://127.0.0.1:2525"}

    @staticmethod
    def prepare_exim():
        for path in ("/var/spool/exim4", "/var/log/exim4"):
            folder(path, "Debian-exim", 0o750)
        folder("/var/mail", mode=0o1777)
        write("/etc/exim4/exim4.conf", """
primary_hostname = localhost
domainlist local_domains = localhost
acl_smtp_rcpt = check
hosts_connection_nolog = 127.0.0.1
begin acl
check:
  accept domains = +local_domains
  deny
begin routers
users:
  driver = accept
  check_local_user
  transport = mailbox
begin transports
mailbox:
  driver = appendfile
  file = /var/mail/$local_part_data
  delivery_date_add
""")

    def test_exim(self):
        """A message by SMTP is delivered to a user's mailbox, which is the user's, and one for elsewhere refused."""
        with smtplib.SMTP("127.0.0.1", 25, timeout=60) as client:
            client.send_message(message("by exim"))
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("tester@localhost", ["a@example.org"], b"")
        self.eventually(lambda: os.path.exists("/var/mail/tester") and os.path.getsize("/var/mail/tester"), "delivered")
        with open("/var/mail/tester", encoding="utf-8") as file:
            self.assertIn("Subject: by exim\n", file.read())

    @staticmethod
    def prepare_qmail_smtpd():
        # In qmail's place: what it is told on its descriptors 0 and 1, each in a file of its /tmp, and who it is.
        write("/var/qmail/control/me", "localhost\n")
        write("/var/qmail/control/rcpthosts", "example.org\n")
        folder("/var/qmail/queue", "nobody")
        write("/var/qmail/bin/qmail-queue", "#!/bin/sh\nset -e\ncat >/var/qmail/queue/message\n"
                                            "tr '\\0' '\\n' <&1 >/var/qmail/queue/envelope\n", 0o755)

    def test_qmail_smtpd(self):
        """A message by SMTP is handed to qmail-queue with its envelope; it names the client, as tcpserver does."""
        with smtplib.SMTP("127.0.0.1", 2525, timeout=60) as client:
            client.send_message(message("by qmail", "tester@example.org"))
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("tester@example.org", ["a@example.net"], b"")
        with open("/var/qmail/queue/message", encoding="utf-8") as file:
            queued = file.read()
        self.assertIn("Subject: by qmail\n", queued)
        self.assertRegex(queued, r"Received: from .*127\.0\.0\.1")
        with open("/var/qmail/queue/envelope", encoding="utf-8") as file:
            self.assertEqual(file.read().split(), ["Ftester@example.org", "Ttester@example.org"])

    @staticmethod
    def prepare_popa3d():
        folder("/var/lib/popa3d")
        folder("/var/mail", mode=0o1777)
        write("/var/mail/reader", "From a@localhost Thu Jan  1 00:00:00 2026\nSubject: by pop\n\nhello\n", 0o600,
              "tester")

    def test_popa3d(self):
        """A client of POP3 logs in, reads its message and deletes it."""
        os.rename("/var/mail/reader", "/var/mail/tester")
        client = poplib.POP3("127.0.0.1", 110, timeout=60)
        client.user("tester")
        client.pass_(PASSWORD)
        self.assertEqual(client.stat()[0], 1)
        self.assertIn(b"Subject: by pop", client.retr(1)[1])
        client.dele(1)
        client.quit()
        self.eventually(lambda: os.path.getsize("/var/mail/tester") == 0, "deleted")

    @staticmethod
    def prepare_leafnode():
        run("chown", "-R", "news:", "/var/spool/news")  # as the package's postinst does
        write("/etc/news/leafnode/config", "server = news.example.org\nexpire = 20\nhostname = news.house.lan\n", 0o640,
              "news")
        write("/var/spool/news/leaf.node/groupinfo", "comp.test 1 1 0 A group\n", owner="news")

    def test_leafnode(self):
        """A client of NNTP finds a group and posts to it; what it posts waits for fetchnews."""
        sock = self.connect(119)
        self.until(sock, rb"(?m)^200 ")
        sock.sendall(b"LIST\r\n")
        self.assertIn(b"comp.test", self.until(sock, rb"(?m)^\.\r\n"))
        sock.sendall(b"POST\r\n")
        self.until(sock, rb"(?m)^340 ")
        sock.sendall(b"From: t@house.lan\r\nNewsgroups: comp.test\r\nSubject: by news\r\n\r\nhello\r\n.\r\n")
        self.until(sock, rb"(?m)^240 ")
        sock.sendall(b"QUIT\r\n")
        posted = os.listdir("/var/spool/news/out.going")
        self.assertEqual(len(posted), 1)
        with open(f"/var/spool/news/out.going/{posted[0]}", encoding="utf-8") as file:
            self.assertIn("Subject: by news\n", file.read())
