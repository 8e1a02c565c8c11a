# SPDX-License-Identifier: MIT
"""Recipes that hand out files, each used by its own client."""

import os
import subprocess

from place import PATH, RecipeCase, folder, run, write

BLOB = os.urandom(300000)


class Files(RecipeCase):
    def same(self, *path):
        with open(os.path.join(self.home, *path), "rb") as file:
            self.assertEqual(file.read(), BLOB)

    @staticmethod
    def prepare_rsync():
        write("/srv/mirror/blob", BLOB)
        write("/etc/rsyncd.conf", "use chroot = no\n[data]\npath = /srv/mirror\n")

    def test_rsync(self):
        """rsync: a module is listed and fetched, and fetched again without a change."""
        self.assertIn(b"data", self.run_client("rsync", "rsync://127.0.0.1/"))
        self.run_client("rsync", "-a", "rsync://127.0.0.1/data/", self.home)
        self.same("blob")
        self.assertEqual(self.run_client("rsync", "-ai", "rsync://127.0.0.1/data/", self.home), b"")

    @staticmethod
    def prepare_git_daemon():
        write("/srv/tree/blob", BLOB)
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
            run(*git, *words, cwd="/srv/tree")
        folder("/srv/git")
        run("git", "clone", "-q", "--bare", "/srv/tree", "/srv/git/tree.git")

    def test_git_daemon(self):
        """git clone, by several at once, of a repository that is not the handler's."""
        clones = [subprocess.Popen(["git", "clone", "-q", "git://127.0.0.1/tree.git", f"{self.home}/{number}"],
                                   env={"PATH": PATH, "HOME": self.home}) for number in range(3)]
        self.assertEqual([clone.wait(60) for clone in clones], [0, 0, 0])
        for number in range(3):
            self.same(str(number), "blob")

    @staticmethod
    def prepare_tftpd():
        write("/srv/tftp/blob", BLOB)

    def test_tftpd(self):
        """tftp fetches a file."""
        self.run_client("tftp", "-m", "binary", "127.0.0.1", "-c", "get", "blob", f"{self.home}/blob")
        self.same("blob")

    @staticmethod
    def prepare_vsftpd():
        write("/srv/ftp/blob", BLOB)
        folder("/run/vsftpd/empty")
        write("/etc/vsftpd.conf", "listen=NO\nlisten_ipv6=NO\nanonymous_enable=YES\nlocal_enable=NO\n"
                                  "seccomp_sandbox=NO\n")

    def test_vsftpd(self):
        """curl fetches a list and a file, over passive and active connections."""
        self.assertIn(b"blob", self.run_client("curl", "-sS", "ftp://127.0.0.1/"))
        self.run_client("curl", "-sS", "-o", "blob", "ftp://127.0.0.1/blob")
        self.same("blob")
        self.run_client("curl", "-sS", "-P", "-", "-o", "active", "ftp://127.0.0.1/blob")
        self.same("active")

    @staticmethod
    def prepare_svnserve():
        folder("/srv/svn")
        run("svnadmin", "create", "/srv/svn/stock")
        write("/srv/new/blob", BLOB)
        run("svn", "import", "-q", "-m", "one", "/srv/new", "file:///srv/svn/stock")

    def test_svnserve(self):
        """svn checks a repository out."""
        self.run_client("svn", "checkout", "-q", "svn://127.0.0.1/stock", f"{self.home}/stock")
        self.same("stock", "blob")

    @staticmethod
    def prepare_cvs_pserver():
        run("cvs", "-d", "/srv/cvs", "init")
        write("/srv/cvs/CVSROOT/config", "LockDir=/tmp\n")
        write("/srv/cvs/CVSROOT/passwd", "anonymous::nobody\n")
        write("/srv/cvs/CVSROOT/readers", "anonymous\n")
        write("/srv/fresh/text", "hello\n")
        run("cvs", "-d", "/srv/cvs", "import", "-m", "one", "stock", "vendor", "release", cwd="/srv/fresh")

    def test_cvs_pserver(self):
        """cvs checks a module out, and may not commit."""
        root = ":pserver:anonymous:@127.0.0.1:/srv/cvs"
        self.run_client("cvs", "-d", root, "checkout", "stock")
        with open(f"{self.home}/stock/text", encoding="utf-8") as file:
            self.assertEqual(file.read(), "hello\n")
        write(f"{self.home}/stock/text", "changed\n")
        self.run_client("cvs", "-d", root, "commit", "-m", "two", "stock", status=1)

    @staticmethod
    def prepare_nbdkit():
        write("/srv/nbd/disk.img", BLOB[:256 << 10])

    def test_nbdkit(self):
        """nbdinfo finds a disk that is read only, and nbdcopy reads it."""
        self.assertIn(b"is_read_only: true", self.run_client("nbdinfo", "nbd://127.0.0.1"))
        self.run_client("nbdcopy", "nbd://127.0.0.1", f"{self.home}/disk.img")
        with open(f"{self.home}/disk.img", "rb") as file:
            self.assertEqual(file.read(), BLOB[:256 << 10])

    @staticmethod
    def prepare_amandad():
        for path in ("/var/lib/amanda", "/var/log/amanda", "/var/backups"):
            folder(path, "backup")
        write("/var/backups/.amandahosts", "localhost root amdump\n", 0o600, "backup")

    def test_amandad(self):
        """amservice, Amanda's own client for tests, has its service answered."""
        answer = self.run_client("amservice", "localhost", "bsdtcp", "noop")
        self.assertIn(b"OPTIONS", answer)

    @staticmethod
    def prepare_uucico():
        for path in ("/var/spool/uucp", "/var/spool/uucppublic", "/var/log/uucp"):
            folder(path, "uucp")
        folder("/var/spool/uucppublic", "uucp", 0o1777)
        folder("/var/lock", mode=0o1777)
        write("/etc/uucp/passwd", "other secret\n", 0o640, "uucp")
        write("/etc/uucp/config", "nodename here\n")
        write("/etc/uucp/sys", "system other\ncalled-login other\nlocal-send ~\nremote-send ~\nremote-receive ~\n")

    def test_uucico(self):
        """uucico of another site logs in, and its file arrives."""
        for path in ("spool", "public", "log"):
            folder(f"{self.home}/{path}", "uucp")
        write(f"{self.home}/config",
              f"nodename other\nspool {self.home}/spool\npubdir {self.home}/public\nlogfile {self.home}/log/Log\n"
              f"statfile {self.home}/log/Stats\ndebugfile {self.home}/log/Debug\nsysfile {self.home}/sys\n"
              f"portfile {self.home}/port\ncallfile {self.home}/call\ndialfile {self.home}/dial\n"
              f"lockdir {self.home}/spool\n")
        write(f"{self.home}/sys", "system here\ncall-login other\ncall-password secret\naddress 127.0.0.1\nport TCP\n"
                                  "time any\nchat ogin: \\L word: \\P\nlocal-send /srv\n")
        write(f"{self.home}/port", "port TCP\ntype tcp\nservice 540\n")
        write(f"{self.home}/call", "")
        write(f"{self.home}/dial", "")
        write("/srv/batch", BLOB)
        self.run_client("uucp", "-I", f"{self.home}/config", "-r", "/srv/batch", "here!~/")
        self.run_client("/usr/lib/uucp/uucico", "-I", f"{self.home}/config", "-S", "here", "-D")
        with open("/var/spool/uucppublic/batch", "rb") as file:
            self.assertEqual(file.read(), BLOB)
