# SPDX-License-Identifier: MIT
"""superctl import on the files that Debian's packages ship: the definitions that it makes, and that these serve.

tests/install unpacks packages that were found by a search over the distribution's Contents index, not by hand. Each
definition in imported/ has been reviewed; SUPERD_IMPORTED=write writes them again."""

import ftplib
import json
import os
import re
import shutil
import socket
import subprocess
import tomllib
import unittest

from harness import SuperdCase, TestCase
from harness.daemon import PATIENCE, definition
from harness.place import new_folder
from release import is_debian_12

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = os.path.join(HERE, "imported")
PACKAGES = os.environ.get("SUPERD_PACKAGES", "")
SUPERCTL = os.environ.get("SUPERD_CTL", "")
UNITS = "lib/systemd/system/"

# Of packages that the tests install anyway.
INSTALLED = {
    "fcgiwrap": UNITS + "fcgiwrap.socket",
    "micro-httpd": UNITS + "micro-httpd.socket",
    "openssh-server": UNITS + "ssh.socket",
}
LINE = re.compile(r"""["'](#?(?:<off>)?#?[ ]?[\w/-]+(?:\\t|\s)+(?:stream|dgram)[^"'\n]*)["']""")


def shipped(package, path):
    """A file of a package: unpacked, or installed."""
    for root in (os.path.join(PACKAGES, package), "/"):
        if os.path.exists(os.path.join(root, path)):
            return os.path.join(root, path)
    raise unittest.SkipTest(f"neither unpacked nor installed: {package} (tests/install unpacked)")


def inetd_lines(package):
    """What a package's postinst adds to inetd.conf, with no value for the script's variables."""
    try:
        with open(shipped(package, "DEBIAN/postinst"), encoding="utf-8", errors="replace") as file:
            lines = LINE.findall(file.read())
    except unittest.SkipTest:
        return ""
    return "".join(re.sub(r"\$\w+", "", line.replace("\\t", "\t")) + "\n" for line in lines
                   if not line.startswith("#") or line.startswith("#<off>#"))


def unpacked():
    """The packages under build/packages."""
    found = sorted(os.listdir(PACKAGES)) if os.path.isdir(PACKAGES) else []
    if not found:
        raise unittest.SkipTest("no packages are unpacked (tests/install unpacked)")
    return [name for name in found if not name.startswith(".")]


def files_of(package, fits):
    """Its files whose path and text match, in order."""
    found = []
    for folder, _, names in os.walk(os.path.join(PACKAGES, package)):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < 1 << 16 and fits(path):
                found.append(path)
    return sorted(found)


def text_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def is_xinetd(path):
    return not path.endswith((".md", ".html")) and "xinetd" in path.split("/packages/", 1)[1].split("/", 1)[1] and \
        re.search(r"(?m)^service\s+\S+\s*\{?\s*$", text_of(path)) is not None


def is_inetd(path):
    return "inetd.conf" in os.path.basename(path) and re.search(r"(?m)^\S+\s+(stream|dgram)\s", text_of(path)) is not None


def superctl(*arguments, status=0):
    done = subprocess.run([SUPERCTL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                          text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"superctl {arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class ImportCase(TestCase):  # has no tests itself
    def setUp(self):
        self.folder = new_folder("superd-import-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def definitions(self, folder):
        """NAME and the file's text; empty without a folder."""
        found = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), "rb") as file:
                found[name.removesuffix(".toml")] = tomllib.load(file)
        return found


class ImportOfPackages(ImportCase):
    def compare(self, form, package, *arguments):
        """Imports into a new folder; on Debian 12, whose packages they are of, the definitions are those in
        imported/FORMAT/PACKAGE. Everything that `check` says about them is in the report. If there are no definitions,
        the report says why."""
        out = self.path(f"{form}-{package}")
        report = json.loads(superctl("--json", "import", form, *arguments, "--output", out).stdout)
        self.assertEqual(report["version"], 1)
        kept = os.path.join(EXPECTED, form, package)
        if os.environ.get("SUPERD_IMPORTED") == "write":
            shutil.rmtree(kept, ignore_errors=True)
            for service in report["services"]:
                os.makedirs(kept, exist_ok=True)
                with open(os.path.join(kept, service["name"] + ".toml"), "w", encoding="utf-8") as file:
                    file.write(re.sub(r"(?m)^# Imported from .*?([^/]+)$", r"# Imported from \1", service["toml"]))
        found = self.definitions(out)
        expected = self.definitions(kept) if is_debian_12() else found
        self.assertEqual(found, expected)
        self.assertEqual(sorted(service["name"] for service in report["services"]), sorted(expected))
        if not expected:
            self.assertTrue([note for note in report["report"] if note["fate"] in ("skipped", "error")], package)
        if os.geteuid() != 0:
            return report  # check would miss root's rights: the definitions are for a superd that has them
        said = {note["text"] for note in report["report"] if note["fate"] == "missing"}
        checked = superctl("check", "--conf-dir", out, status=1 if said else 0).stderr if expected else ""
        for error in re.findall(r": error: (.*)", checked):
            self.assertTrue(any(text.startswith(error) for text in said), f"{error}: not in {said}")
        return report

    def test_xinetd(self):
        """Every file for xinetd that is unpacked, examples too, becomes the definitions that are kept."""
        tried = 0
        for package in unpacked():
            files = files_of(package, is_xinetd)
            tried += len(files)
            # Its own folder is one file that includes all of it.
            folder = os.path.join(PACKAGES, package, "etc/xinetd.d")
            files = sorted({folder if path.startswith(folder) else path for path in files})
            with self.subTest(package=package):
                if files:
                    self.compare("xinetd", package, *files)
        self.assertGreater(tried, 20)

    def test_systemd(self):
        """Every unpacked socket unit, and those of packages that the tests install."""
        tried = 0
        for package in [*unpacked(), *INSTALLED]:
            with self.subTest(package=package):
                files = files_of(package, lambda path: path.endswith(".socket"))
                if package in INSTALLED:
                    files = [shipped(package, INSTALLED[package])]
                tried += len(files)
                if files:
                    self.compare("systemd", package, *files)
        self.assertGreater(tried, 25)

    def test_inetd(self):
        """The lines that packages add to inetd.conf, and their example lines; lines that they add switched off are
        named in the report."""
        off, tried = set(), 0
        for package in unpacked():
            with self.subTest(package=package):
                lines = inetd_lines(package)
                files = files_of(package, is_inetd)
                if lines:
                    files.append(self.write(f"{package}.conf", lines))
                tried += len(files)
                if not files:
                    continue
                report = self.compare("inetd", package, "--dialect", "openbsd", *files)
                off |= {note["text"] for note in report["report"] if "switched off" in note["text"]}
        self.assertGreater(tried, 20)
        self.assertLessEqual({f'"{name}" is switched off by #<off>#: left out'
                              for name in ("sane-port", "telnet", "uucp")}, off)

    def test_one_folder(self):
        """All of xinetd.d's files at once: a service whose address another one has is switched off, so that check
        passes."""
        self.write("xinetd.conf", "defaults\n{\n\tinstances = 9\n}\nincludedir " + shipped("xinetd", "etc/xinetd.d") + "\n"
                   "service again\n{\n\ttype = UNLISTED\n\tport = 7\n\tsocket_type = stream\n\twait = no\n\tuser = root\n"
                   "\tserver = /bin/sh\n}\nservice third\n{\n\ttype = UNLISTED\n\tport = 7\n\tsocket_type = stream\n"
                   "\twait = no\n\tuser = root\n\tserver = /bin/sh\n}\n")
        report = superctl("import", "xinetd", self.path("xinetd.conf"), "--output", self.path("out")).stderr
        found = self.definitions(self.path("out"))
        self.assertEqual(found["time-stream"]["limits"], {"instances": 9})
        self.assertNotIn("enabled", found["again"])
        self.assertIs(found["third"]["enabled"], False)
        self.assertRegex(report, r"xinetd\.conf:\d+: third: tcp://\*:7 is taken by \"again\"")
        if os.geteuid() == 0:
            self.assertIn("no errors", superctl("check", "--conf-dir", self.path("out")).stdout)


class ImportCommand(ImportCase):
    LINE = "7007 stream tcp nowait root /bin/sh sh\n"

    def read(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            return file.read()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def test_files_and_status(self):
        """What could not be read or written is exit 1, wrong usage exit 2."""
        path = self.write("inetd.conf", self.LINE)
        self.assertIn("cannot be read", superctl("import", "inetd", self.path("none"), status=1).stderr)
        self.write("bad.conf", "nonsense\n")
        self.assertIn("bad.conf:1: error: ", superctl("import", "inetd", self.path("bad.conf"), status=1).stderr)
        superctl("import", "inetd", path, "--output", path + "/x", status=1)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([SUPERCTL, "import", "inetd", path], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"stdout: error: cannot be written: No space left on device", done.stderr)
        for wrong in (("import",), ("import", "inetd"), ("import", "launchd", path),
                      ("import", "inetd", path, "--dialect", "plan9")):
            superctl(*wrong, status=2)

    def test_again(self):
        """A second import replaces what the first has written, reports the changes, and leaves alone what people
        edited or wrote; --force replaces that too; --dry-run writes nothing. A service that has gone is named."""
        path = self.write("inetd.conf", "".join(self.LINE.replace("7007", port) for port in ("7007", "7008", "7009")))
        arguments = ("import", "inetd", path, "--dialect", "bsd", "--output", self.path("out"))
        self.assertIn("3 services written", superctl(*arguments).stderr)
        before = {name: os.stat(self.path("out", name)) for name in os.listdir(self.path("out"))}
        self.assertIn("(0 new, 0 replaced, 3 unchanged)", superctl(*arguments).stderr)
        for name, status in before.items():
            self.assertEqual(os.stat(self.path("out", name)).st_mtime_ns, status.st_mtime_ns)
        with open(self.path("out", "7008.toml"), "a", encoding="utf-8") as file:
            file.write("# mine\n")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.LINE.replace("nowait", "nowait.60") + "7008 stream tcp nowait root /bin/sh sh -x\n")
        dry = superctl(*arguments, "--dry-run").stderr
        self.assertIn("7007.toml: would be replaced\n", dry)
        self.assertIn('  + rate = "60/m"\n', dry)
        self.assertNotIn("60/m", self.read("out", "7007.toml"))
        done = superctl(*arguments, status=1).stderr
        self.assertIn("7007.toml: replaced\n", done)
        self.assertIn("60/m", self.read("out", "7007.toml"))
        self.assertIn("7008.toml exists, and was edited", done)
        self.assertIn('  + exec = ["/bin/sh", "-x"]\n', done)
        self.assertIn("# mine", self.read("out", "7008.toml"))
        self.assertRegex(done, r"7009\.toml: 7009: .* no longer has this service: file left in place")
        superctl(*arguments, "--force")
        self.assertNotIn("# mine", self.read("out", "7008.toml"))
        report = json.loads(superctl("--json", *arguments).stdout)
        self.assertEqual({service["name"]: service["change"] for service in report["services"]},
                         {"7007": "unchanged", "7008": "unchanged"})

    def test_command(self):
        """A command line becomes a definition that serves, with its rules."""
        rules = self.write("rules", "10.:deny\n127.0.0.2:deny\n")
        out = self.path("out")
        superctl("import", "command", "--output", out, "--", "tcpserver", "-H", "-c", "40", "-u", "65534", "-x", rules, "0", "7777",
                 "/bin/echo", "-n", "hello")
        self.assertEqual(self.definitions(out), {"echo": {
            "listen": "tcp://0.0.0.0:7777", "model": "fork", "exec": ["/bin/echo", "-n", "hello"], "user": "65534",
            "supplementary_groups": [], "socket": {"backlog": 20}, "limits": {"instances": 40},
            "access": {"deny": ["10.0.0.0/8", "127.0.0.2"]}}})
        if os.geteuid() == 0:
            self.assertIn("no errors", superctl("check", "--conf-dir", out).stdout)
        self.assertIn("is not one of tcpserver", superctl("import", "command", "--", "httpd", status=1).stderr)

    def test_units(self):
        """In a folder of links to sockets, as systemd makes it for enabled ones, the services and drop-ins are taken
        from the links' targets; a masked socket is left out; of several units with the same name the first counts."""
        for folder in ("lib", "lib/a.socket.d", "etc"):
            os.mkdir(self.path(folder))
        self.write("lib/a.socket", "[Socket]\nListenStream=7001\nAccept=yes\n")
        self.write("lib/a@.service", "[Service]\nExecStart=/bin/sh\nStandardInput=socket\n")
        self.write("lib/b.socket", "[Socket]\nListenStream=7002\nAccept=yes\n")
        self.write("lib/b@.service", "[Service]\nExecStart=/bin/sh\nStandardInput=socket\n")
        self.write("lib/a.socket.d/10-more.conf", "[Socket]\nListenStream=7003\n")
        os.symlink(self.path("lib/a.socket"), self.path("etc/a.socket"))
        os.symlink("/dev/null", self.path("etc/b.socket"))
        done = superctl("import", "systemd", self.path("etc"), self.path("lib"), "--output", self.path("out"))
        self.assertEqual(self.definitions(self.path("out")), {
            "a": {"listen": ["tcp://*:7001", "tcp://*:7003"], "model": "fork", "exec": ["/bin/sh"], "user": "root"}})
        self.assertIn("etc/b.socket: b.socket has no Listen", done.stderr)
        alone = superctl("import", "systemd", self.path("lib/a@.service")).stderr
        self.assertIn("is not a .socket unit", alone)

    def test_stdout(self):
        """Without --output the definitions go to stdout, each under its file's name, and the report to stderr."""
        done = superctl("import", "inetd", self.write("inetd.conf", self.LINE + "#<off># a stream tcp nowait b c d\n"))
        self.assertTrue(done.stdout.startswith("# 7007.toml\n# Imported from "))
        self.assertEqual(tomllib.loads(done.stdout)["listen"], ["tcp://0.0.0.0:7007", "tcp://[::]:7007"])
        self.assertIn("OpenBSD and Debian's openbsd-inetd (line 2 looks like it)", done.stderr)
        self.assertIn("inetd.conf:2: \"a\" is switched off", done.stderr)

    def test_said_once(self):
        """What a line of defaults means for several services is one line of the report."""
        service = "service %s\n{\n\ttype = UNLISTED\n\tport = %d\n\tsocket_type = stream\n\twait = no\n\tuser = root\n" \
                  "\tserver = /bin/sh\n}\n"
        path = self.write("xinetd.conf", "defaults\n{\n\tlog_on_success = USERID\n\tdisabled = one\n}\n" +
                          service % ("one", 7001) + service % ("two", 7002))
        lines = superctl("import", "xinetd", path).stderr.splitlines()
        self.assertEqual([line.split(":", 1)[1] for line in lines if "disabled" in line],
                         ["4: one: is in disabled; written with enabled = false"])
        self.assertEqual([line.split(":")[1:3] for line in lines if "USERID" in line], [["3", " one, two"]])

    def test_json(self):
        """--json: services with their text and origin, and the report, as documented."""
        path = self.write("inetd.conf", self.LINE + "#<off># a stream tcp nowait b c d\n")
        found = json.loads(superctl("import", "inetd", path, "--json", "--dialect", "gnu").stdout)
        self.assertEqual(found["services"], [{
            "name": "7007", "enabled": True, "from": {"file": path, "line": 1}, "path": None, "change": None,
            "toml": f'# Imported from {path}, line 1.\nlisten = "tcp://0.0.0.0:7007"\nmodel = "fork"\nexec = ["/bin/sh"]\n'
                    'user = "root"\nstderr = "socket"\n'}])
        self.assertEqual(found["report"], [{
            "file": path, "line": 2, "service": None, "fate": "skipped",
            "text": '"a" is switched off by #<off>#: left out'}])


class ImportedServices(SuperdCase):
    """Imported, put on a free port by a drop-in, and asked."""

    def imported(self, daemon, form, path, name, **drop_in):
        more = ("--dialect", "openbsd") if form == "inetd" else ()
        superctl("import", form, path, "--output", daemon.conf_dir, "--force", *more)
        file = daemon.path(f"conf.d/{name}.toml")
        keys = {"listen": "tcp://127.0.0.1:0", "enabled": True, **drop_in}
        if os.geteuid() != 0:
            # Only root runs handlers as others.
            with open(file, encoding="utf-8") as source:
                text = re.sub(r"(?m)^(user|group|supplementary_groups) = .*\n", "", source.read())
            with open(file, "w", encoding="utf-8") as target:
                target.write(text)
        os.makedirs(file + ".d", exist_ok=True)
        daemon.write(f"conf.d/{name}.toml.d/test.toml", definition(**keys))
        for other in os.listdir(daemon.conf_dir):
            if other.endswith(".toml") and not os.path.isdir(daemon.path(f"conf.d/{other}.d")):
                os.unlink(daemon.path(f"conf.d/{other}"))

    def ask(self, uri, question):
        """All that comes back for this and an end."""
        with self.client(uri) as sock:
            sock.sendall(question)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while part := sock.recv(4096):
                answer += part
            return answer

    def program(self, package, path):
        """Copied to a place where every user may run it; a reason to skip if it, or one of its libraries, is
        missing."""
        source = shipped(package, path)
        missing = [line.strip() for line in subprocess.run(["ldd", source], capture_output=True, text=True, check=False)
                   .stdout.splitlines() if "not found" in line]
        if missing:
            self.skipTest(f"{package} needs {missing[0]}")
        target = self.daemons[0].path(os.path.basename(path))
        shutil.copy(source, target)
        return target

    def curl(self, uri, path):
        return subprocess.run(["curl", "--silent", "--max-time", str(PATIENCE), f"http://{uri.removeprefix('tcp://')}{path}"],
                              check=True, capture_output=True).stdout

    def test_answers(self):
        """Ten and more: from xinetd echo, gophernicus, weborf and ftpd, from inetd nullidentd, fingerd and poppassd,
        from systemd micro-httpd, fcgiwrap, tinysshd and atftpd. Each has a client of its own."""
        for package in ("micro-httpd", "fcgiwrap"):
            shipped(package, INSTALLED[package])
        daemon = self.prepare()
        page = daemon.path("page")
        os.mkdir(page, 0o755)
        for name, text in (("gophermap", "a gopher\n"), ("index.html", "a page\n"), ("file", "a file\n")):
            daemon.write(f"page/{name}", text)
        keys = daemon.path("keys")
        identity = ["--user", "nobody", "--group", "nogroup"] if self.root else []
        subprocess.run([self.program("tinysshd", "usr/sbin/tinysshd-makekey"), "-q", keys], check=True)

        def from_inetd(package, path, name, **drop_in):
            lines = daemon.write(f"{package}.conf", inetd_lines(package))
            arguments = drop_in.pop("arguments", [])
            self.imported(daemon, "inetd", lines, name, exec=[self.program(package, path), *arguments], **drop_in)

        self.imported(daemon, "xinetd", shipped("xinetd", "etc/xinetd.d/echo"), "echo-stream")
        self.imported(daemon, "xinetd", shipped("gophernicus", "etc/xinetd.d/gophernicus"), "gopher", user="nobody",
                      exec=[self.program("gophernicus", "usr/sbin/gophernicus"), f"-r{page}", "-nf"])
        self.imported(daemon, "xinetd", shipped("weborf", "usr/share/doc/weborf/examples/xinetd.conf"), "www",
                      exec=[self.program("weborf", "usr/bin/weborf"), "-T", "-b", page])
        from_inetd("nullidentd", "usr/sbin/nullidentd", "ident")
        os.rename(daemon.path("conf.d/ident.toml"), daemon.path("conf.d/null.toml"))
        os.rename(daemon.path("conf.d/ident.toml.d"), daemon.path("conf.d/null.toml.d"))
        self.imported(daemon, "xinetd", shipped("ftpd-ssl", "usr/share/doc/ftpd-ssl/examples/ftpd.xinetd"), "ftp",
                      exec=[self.program("ftpd-ssl", "usr/sbin/in.ftpd"), "-l"])
        answer = daemon.script("answer", "#!/bin/sh\necho a finger\n")
        from_inetd("fingerd", "usr/sbin/in.fingerd", "finger", arguments=["-p", answer])
        from_inetd("poppassd", "usr/sbin/poppassd", "poppassd")
        self.imported(daemon, "systemd", shipped("micro-httpd", INSTALLED["micro-httpd"]), "micro-httpd",
                      exec=[shipped("micro-httpd", "usr/sbin/micro-httpd"), page])
        path = daemon.path("fcgi.sock")
        self.imported(daemon, "systemd", shipped("fcgiwrap", INSTALLED["fcgiwrap"]), "fcgiwrap", listen=f"unix://{path}",
                      socket={"mode": "0666"})
        self.imported(daemon, "systemd", shipped("tinysshd", UNITS + "tinysshd.socket"), "tinysshd",
                      exec=[self.program("tinysshd", "usr/sbin/tinysshd"), "--", keys])
        self.imported(daemon, "systemd", shipped("atftpd", UNITS + "atftpd.socket"), "atftpd", listen="udp://127.0.0.1:0",
                      exec=[self.program("atftpd", "usr/sbin/atftpd"), *identity, page])
        daemon.start()
        self.assertEqual(self.converse(daemon.address("echo-stream")), b"hello")
        self.assertIn(b"a gopher", self.ask(daemon.address("gopher"), b"\r\n"))
        self.assertIn(b"a page", self.curl(daemon.address("www"), "/index.html"))
        self.assertIn(b"USERID", self.ask(daemon.address("null"), b"1, 2\r\n"))
        host, port = daemon.address("ftp").removeprefix("tcp://").rsplit(":", 1)
        with ftplib.FTP() as ftp:
            self.assertIn("220 ", ftp.connect(host, int(port), timeout=PATIENCE))
        self.assertIn(b"a finger", self.ask(daemon.address("finger"), b"root\r\n"))
        with self.client(daemon.address("poppassd")) as sock:
            self.assertIn(b"200 ", sock.recv(200))
        self.assertIn(b"a page", self.curl(daemon.address("micro-httpd"), "/index.html"))
        host, port = daemon.address("tinysshd").removeprefix("tcp://").rsplit(":", 1)
        keyscan = subprocess.run(["ssh-keyscan", "-t", "ed25519", "-p", port, host], capture_output=True,
                                 timeout=PATIENCE, check=False)
        self.assertIn(b"ssh-ed25519", keyscan.stdout, keyscan.stderr)
        host, port = daemon.address("atftpd").removeprefix("udp://").rsplit(":", 1)
        subprocess.run(["tftp", "-m", "octet", host, port, "-c", "get", "file", daemon.path("got")], check=True, timeout=PATIENCE,
                       capture_output=True)
        with open(daemon.path("got"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "a file\n")
        script = daemon.script("hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nfrom %s\\n' \"$(id -un)\"\n")
        done = subprocess.run(["cgi-fcgi", "-bind", "-connect", path], check=True, capture_output=True, timeout=PATIENCE,
                              env={"PATH": "/usr/bin:/bin", "SCRIPT_FILENAME": script, "REQUEST_METHOD": "GET"})
        self.assertIn(b"from ", done.stdout)
        if self.root:
            self.assertIn(b"from www-data", done.stdout)
