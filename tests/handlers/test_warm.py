# SPDX-License-Identifier: MIT
"""Unmodified programs of the distribution as warm handlers: each serves as it does under fork, warm or with a told
fallback, and the table of superd.toml(5), "Warm handlers", says which."""

import os
import re
import subprocess
import tempfile
import unittest

import originals
from harness import exchange
from sshd import SshdCase
from test_handlers import needs, program
from warm_programs import WarmProgramCase

PYTHON = "import sys\nprint('you said', sys.stdin.readline(), end='')\n"
PERL = "my $line = <STDIN>;\nprint 'you said ', $line;\n"
SHELL = "read -r line\necho you said $line\n"
PHP = "<?php echo 'you said ', fgets(STDIN);\n"
RUBY = "puts 'you said ' + STDIN.gets\n"
TCL = "fconfigure stdout -translation lf\nputs \"you said [gets stdin]\"\n"
NODE = "process.stdin.once('data', (data) => process.stdout.end('you said ' + data, () => process.exit()));\n"
JAVA = """public class Answer {
    public static void main(String[] words) throws java.io.IOException {
        byte[] line = new byte[100];
        int size = System.in.read(line);
        System.out.print("you said " + new String(line, 0, size));
    }
}
"""
# As agents of monitoring systems are: a section, then what programs say.
AGENT = """#!/bin/bash
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
section() { echo "<<<$1>>>"; }
run_agent() {
    section agent
    echo "Version: 1"
    echo "AgentOS: linux"
    section df
    df -PTlk / | sed 1d | while read -r line; do echo "/ ${line##* }"; done
    section mem
    grep -E '^(MemTotal|SwapTotal)' /proc/meminfo
    section cpu
    echo "$(nproc) $(wc -w </proc/loadavg)"
    section ps
    ps -o user= -p 1
}
run_agent
"""


class AnswerCase(WarmProgramCase):  # has no tests itself
    def answers(self, name, text, label):
        """A script of that interpreter."""
        if program(name) is None:
            self.skipTest(f"not installed: {name} (tests/packages names the packages)")
        daemon = self.prepare()
        self.serves(label, daemon, [daemon.script(name, f"#!{program(name)}\n{text}")], self.ask)

    def ask(self, uri):
        answer = exchange(uri, b"hello\n")
        self.assertEqual(answer, b"you said hello\n")
        return answer


class Interpreters(AnswerCase):
    def test_dash(self):
        """A dash script is served warm as under fork."""
        self.answers("dash", SHELL, "dash script")

    def test_bash(self):
        """A bash script is served warm as under fork."""
        self.answers("bash", SHELL, "bash script")

    def test_perl(self):
        """A Perl script is served warm as under fork."""
        self.answers("perl", PERL, "Perl script")

    def test_python(self):
        """A Python script is served warm as under fork."""
        self.answers("python3", PYTHON, "Python script")

    def test_php(self):
        """A PHP script is served warm as under fork."""
        self.answers("php", PHP, "PHP script")

    def test_ruby(self):
        """A Ruby script is served warm as under fork."""
        self.answers("ruby", RUBY, "Ruby script")

    def test_tcl(self):
        """A Tcl script is served warm as under fork."""
        self.answers("tclsh", TCL, "Tcl script")


class Runtimes(AnswerCase):
    """Programs with threads of their own."""

    def test_node(self):
        """A script of Node.js is served warm as under fork."""
        self.answers("node", NODE, "Node.js script")

    @needs("java", "javac")
    def test_java(self):
        """A program of the Java virtual machine is served warm as under fork."""
        daemon = self.prepare()
        source = daemon.write("Answer.java", JAVA)
        subprocess.run(["javac", "-d", daemon.directory, source], check=True, timeout=60)
        self.serves("Java program", daemon, ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx32m",
                                             "-XX:-UsePerfData", "-cp", daemon.directory, "Answer"], self.ask)

    @needs("gron")
    def test_go(self):
        """gron, a program in Go, is served warm as under fork."""
        daemon = self.prepare()

        def ask(uri):
            answer = exchange(uri, b'{"a": [1, {"b": "c"}]}')
            self.assertIn(b'json.a[1].b = "c";\n', answer)
            return answer
        self.serves("gron (Go)", daemon, [program("gron"), "-m"], ask)


class Transfers(WarmProgramCase):
    """Servers of files and repositories."""

    def files(self, daemon):
        """A folder with two files, and their bytes."""
        folder = daemon.shared("data")
        contents = {"page.html": b"<html>a page</html>\n", "large.bin": os.urandom(1 << 20)}
        for name, data in contents.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        return folder, contents

    def target(self):
        """A path of a folder that does not exist yet."""
        return os.path.join(tempfile.mkdtemp(dir=self.home), "target")

    def git(self, label, words):
        """`words` of a git daemon: a repository is cloned whole."""
        daemon = self.prepare()
        folder, contents = self.files(daemon)
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "two files"]):
            self.run_client(*git, *command, cwd=folder)
        os.mkdir(daemon.path("repositories"))
        self.run_client("git", "clone", "-q", "--bare", folder, daemon.path("repositories/two.git"))
        self.give(daemon.path("repositories"))

        def ask(uri):
            target = self.target()
            self.run_client("git", "clone", "-q", f"git://127.0.0.1:{self.port(uri)}/two.git", target)
            with open(os.path.join(target, "large.bin"), "rb") as file:
                self.assertEqual(file.read(), contents["large.bin"])
            return self.run_client("git", "rev-parse", "HEAD^{tree}", cwd=target)
        self.serves(label, daemon, [*words, "--inetd", "--export-all", f"--base-path={daemon.path('repositories')}"],
                    ask)

    @needs("git")
    def test_git_daemon(self):
        """git daemon --inetd, which starts git-daemon as another process."""
        self.git("git daemon --inetd", ["git", "daemon"])

    @needs("git")
    def test_git_daemon_itself(self):
        """git-daemon --inetd, from git's own folder of programs."""
        folder = subprocess.check_output([program("git"), "--exec-path"], text=True).strip()
        self.git("git-daemon --inetd", [os.path.join(folder, "git-daemon")])

    @needs("rsync")
    def test_rsync(self):
        """rsync --daemon: files come over byte for byte."""
        daemon = self.prepare()
        folder, contents = self.files(daemon)
        config = daemon.write("rsyncd.conf", f"use chroot = no\n[data]\npath = {folder}\nread only = yes\n")

        def ask(uri):
            target = self.target()
            self.run_client("rsync", "-a", f"rsync://127.0.0.1:{self.port(uri)}/data/", target)
            found = {}
            for name in os.listdir(target):
                with open(os.path.join(target, name), "rb") as file:
                    found[name] = file.read()
            self.assertEqual(found, contents)
            return sorted(found)
        self.serves("rsync --daemon", daemon, ["rsync", "--daemon", f"--config={config}"], ask)

    @needs("svnserve", "svn", "svnadmin")
    def test_svnserve(self):
        """svnserve -i: a file of a repository is read."""
        daemon = self.prepare()
        folder, contents = self.files(daemon)
        repositories = daemon.path("repositories")
        os.mkdir(repositories)
        self.run_client("svnadmin", "create", os.path.join(repositories, "two"))
        svn = ["svn", "--non-interactive", "--config-dir", os.path.join(self.home, "svn")]
        self.run_client(*svn, "import", "-q", "-m", "two files", folder, f"file://{repositories}/two")
        self.give(repositories)

        def ask(uri):
            data = self.run_client(*svn, "cat", f"svn://127.0.0.1:{self.port(uri)}/two/large.bin")
            self.assertEqual(data, contents["large.bin"])
            return data
        self.serves("svnserve -i", daemon, ["svnserve", "-i", "-r", repositories], ask)

    @needs("micro-httpd")
    def test_micro_httpd(self):
        """micro-httpd: a page, a large file and a missing one."""
        daemon = self.prepare()
        folder, contents = self.files(daemon)

        def ask(uri):
            head, body = exchange(uri, b"GET /large.bin HTTP/1.0\r\n\r\n").split(b"\r\n\r\n", 1)
            self.assertEqual(body, contents["large.bin"])
            return head.split(b"\r\n")[0]
        self.serves("micro-httpd", daemon, [program("micro-httpd"), folder], ask)

    @unittest.skipUnless(os.geteuid() == 0, "vsftpd changes its user and root directory itself: needs root")
    @needs("curl")
    def test_vsftpd(self):
        """vsftpd: an anonymous client fetches a file."""
        daemon = self.prepare()
        folder, contents = self.files(daemon)
        os.chmod(folder, 0o755)
        os.mkdir(daemon.path("empty"))
        config = daemon.write("vsftpd.conf", "listen=NO\nlisten_ipv6=NO\nanonymous_enable=YES\nlocal_enable=NO\n"
                              f"ftp_username=daemon\nnopriv_user=nobody\nanon_root={folder}\n"
                              f"secure_chroot_dir={daemon.path('empty')}\nxferlog_enable=NO\nseccomp_sandbox=NO\n")

        def ask(uri):
            data = self.run_client("curl", "-sS", f"ftp://127.0.0.1:{self.port(uri)}/large.bin")
            self.assertEqual(data, contents["large.bin"])
            return data
        self.serves("vsftpd", daemon, [originals.program("vsftpd", "usr/sbin/vsftpd"), config], ask, {"user": "root"})


class Reports(WarmProgramCase):
    """Servers of text."""

    def test_fingerd(self):
        """in.fingerd: what finger says of a user; finger itself is a script here."""
        daemon = self.prepare()
        finger = daemon.script("finger", "#!/bin/sh\nshift $(($# - 1))\necho \"Login: $1\"\n")

        def ask(uri):
            answer = exchange(uri, b"somebody\r\n")
            self.assertIn(b"Login: somebody", answer)
            return answer
        self.serves("in.fingerd", daemon, [originals.program("fingerd", "usr/sbin/in.fingerd"), "-p", finger], ask)

    @needs("bash", "ps", "df")
    def test_agent(self):
        """An agent of a monitoring system, in bash, that starts programs for each client."""
        daemon = self.prepare()

        def ask(uri):
            answer = exchange(uri).decode()
            self.assertEqual(re.findall(r"<<<(\w+)>>>", answer), ["agent", "df", "mem", "cpu", "ps"])
            return answer
        self.serves("agent in bash", daemon, [daemon.script("agent", AGENT)], ask)


@needs("sshd", "ssh", "ssh-keygen", "unshare")
class Sshd(SshdCase, WarmProgramCase):
    def test_run_a_command(self):
        """sshd -i: a user logs in by key and runs a command."""
        daemon, login = self.prepare_login()
        words, keys = self.sshd(daemon)
        uid = self.UID if login == "tester" else os.geteuid()

        def ask(uri):
            answer = self.run_client(*self.ssh(daemon, uri, login), "echo ran as $(id -u); wc -c </etc/passwd")
            self.assertIn(f"ran as {uid}\n", answer.decode())
            return answer
        self.serves("sshd -i", daemon, words, ask, keys)
