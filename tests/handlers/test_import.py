# SPDX-License-Identifier: MIT
"""superctl import on the files that Debian's packages ship: what it makes of them, and that it serves."""

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

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = os.path.join(HERE, "imported")
PACKAGES = os.environ.get("SUPERD_PACKAGES", "")
SUPERCTL = os.environ.get("SUPERD_CTL", "")
UNITS = "lib/systemd/system/"
EXAMPLES = "usr/share/doc/"

XINETD = {
    "amanda-common": "etc/xinetd.d/amanda",
    "cfingerd": EXAMPLES + "cfingerd/examples/cfingerd.xinetd",
    "distcc": EXAMPLES + "distcc/example/xinetd",
    "fingerd": EXAMPLES + "fingerd/examples/finger.xinetd",
    "gophernicus": "etc/xinetd.d/gophernicus",
    "remctl-server": EXAMPLES + "remctl-server/examples/xinetd",
    "vsftpd": EXAMPLES + "vsftpd/examples/INTERNET_SITE/vsftpd.xinetd",
    "xinetd": "etc/xinetd.d",
}
SYSTEMD = {
    "atftpd": UNITS + "atftpd.socket",
    "cups-daemon": UNITS + "cups.socket",
    "fcgiwrap": UNITS + "fcgiwrap.socket",
    "gophernicus": UNITS + "gophernicus.socket",
    "leafnode": UNITS + "leafnode.socket",
    "micro-httpd": UNITS + "micro-httpd.socket",
    "oidentd": UNITS + "oidentd.socket",
    "openssh-server": UNITS + "ssh.socket",
    "sane-utils": UNITS + "saned.socket",
    "tang": UNITS + "tangd.socket",
    "uucp": UNITS + "uucp.socket",
}
# Their lines stand in scripts that add them to inetd.conf.
INETD = ["amanda-common", "dictd", "fingerd", "inetutils-telnetd", "nullidentd", "poppassd", "rsh-redone-server",
         "sane-utils", "talkd", "uucp"]
LINE = re.compile(r"""["'](#?(?:<off>)?#?[ ]?[\w/-]+(?:\\t|\s)+(?:stream|dgram)[^"'\n]*)["']""")


def shipped(package, path):
    """A file of a package: unpacked, or installed."""
    for root in (os.path.join(PACKAGES, package), "/"):
        if os.path.exists(os.path.join(root, path)):
            return os.path.join(root, path)
    raise unittest.SkipTest(f"neither unpacked nor installed: {package} (tests/install unpacked)")


def inetd_lines(package):
    """What a package's postinst adds to inetd.conf, with no value for the script's variables."""
    with open(shipped(package, "DEBIAN/postinst"), encoding="utf-8") as file:
        lines = LINE.findall(file.read())
    return "".join(re.sub(r"\$\w+", "", line.replace("\\t", "\t")) + "\n" for line in lines)


def superctl(*arguments, status=0):
    done = subprocess.run([SUPERCTL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                          text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"superctl {arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class ImportCase(TestCase):  # no tests of its own
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
        """NAME to what the file says; without a folder there are none."""
        found = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), "rb") as file:
                found[name.removesuffix(".toml")] = tomllib.load(file)
        return found


class ImportOfPackages(ImportCase):
    def compare(self, form, package, path):
        """Imports into a new folder; the definitions are those in imported/FORMAT/PACKAGE, and what `check` says of
        them, the report has said."""
        out = self.path(f"{form}-{package}")
        report = json.loads(superctl("--json", "import", form, path, "--output", out).stdout)
        self.assertEqual(report["version"], 1)
        expected = self.definitions(os.path.join(EXPECTED, form, package))
        self.assertEqual(self.definitions(out), expected)
        self.assertEqual(sorted(service["name"] for service in report["services"]), sorted(expected))
        if os.geteuid() != 0:
            return report  # check would miss root's rights: the definitions are for a superd that has them
        said = {note["text"] for note in report["report"] if note["fate"] == "missing"}
        checked = superctl("check", "--conf-dir", out, status=1 if said else 0).stderr
        for error in re.findall(r": error: (.*)", checked):
            self.assertTrue(any(text.startswith(error) for text in said), f"{error}: not in {said}")
        return report

    def test_xinetd(self):
        """xinetd's own services and what packages ship for it become the definitions that were written by hand."""
        for package, path in XINETD.items():
            with self.subTest(package=package):
                self.compare("xinetd", package, shipped(package, path))

    def test_systemd(self):
        """Socket units with their services become the definitions that were written by hand."""
        for package, path in SYSTEMD.items():
            with self.subTest(package=package):
                self.compare("systemd", package, shipped(package, path))

    def test_inetd(self):
        """The lines that packages add to inetd.conf become the definitions that were written by hand, and those that
        they add switched off are named in the report."""
        off = set()
        for package in INETD:
            with self.subTest(package=package):
                path = self.write(f"{package}.conf", inetd_lines(package))
                report = self.compare("inetd", package, path)
                off |= {note["text"] for note in report["report"] if "switched off" in note["text"]}
        self.assertEqual(off, {f'"{name}" is switched off by #<off>#: left out'
                               for name in ("sane-port", "telnet", "uucp")})

    def test_one_folder(self):
        """All of xinetd.d's files at once: what another one has the address of is switched off, so that check passes."""
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

    def test_files_and_status(self):
        """Files that are there stay as they are unless --force is given; what could not be read or written is exit 1,
        wrong usage exit 2."""
        path = self.write("inetd.conf", self.LINE)
        out = self.path("out")
        superctl("import", "inetd", path, "--output", out)
        with open(os.path.join(out, "7007.toml"), "a", encoding="utf-8") as file:
            file.write("# mine\n")
        refused = superctl("import", "inetd", path, "--output", out, status=1)
        self.assertIn("7007.toml is there already", refused.stderr)
        with open(os.path.join(out, "7007.toml"), encoding="utf-8") as file:
            self.assertIn("# mine", file.read())
        superctl("import", "inetd", path, "--output", out, "--force")
        with open(os.path.join(out, "7007.toml"), encoding="utf-8") as file:
            self.assertNotIn("# mine", file.read())
        self.assertEqual(os.listdir(out), ["7007.toml"])
        self.assertIn("cannot be read", superctl("import", "inetd", self.path("none"), status=1).stderr)
        self.write("bad.conf", "nonsense\n")
        self.assertIn("bad.conf:1: error: ", superctl("import", "inetd", self.path("bad.conf"), status=1).stderr)
        superctl("import", "inetd", path, "--output", path + "/x", status=1)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([SUPERCTL, "import", "inetd", path], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"stdout: error: cannot be written: No space left on device", done.stderr)
        for wrong in (("import",), ("import", "inetd"), ("import", "launchd", path)):
            superctl(*wrong, status=2)

    def test_units(self):
        """Of a folder of links to sockets, as systemd makes it for those that are enabled, the services and drop-ins are
        taken from where the links lead; a masked socket is left out; of units of one name the first counts."""
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
        self.assertIn("is no .socket unit", alone)

    def test_stdout(self):
        """Without --output the definitions go to stdout, each under its file's name, and the report to stderr."""
        done = superctl("import", "inetd", self.write("inetd.conf", self.LINE + "#<off># a stream tcp nowait b c d\n"))
        self.assertTrue(done.stdout.startswith("# 7007.toml\n# Imported from "))
        self.assertEqual(tomllib.loads(done.stdout)["listen"], "tcp://*:7007")
        self.assertIn("inetd.conf:2: \"a\" is switched off", done.stderr)

    def test_said_once(self):
        """What a line of defaults means for several services is one line of the report."""
        service = "service %s\n{\n\ttype = UNLISTED\n\tport = %d\n\tsocket_type = stream\n\twait = no\n\tuser = root\n" \
                  "\tserver = /bin/sh\n}\n"
        path = self.write("xinetd.conf", "defaults\n{\n\tlog_on_success = USERID\n\tdisabled = one\n}\n" +
                          service % ("one", 7001) + service % ("two", 7002))
        lines = superctl("import", "xinetd", path).stderr.splitlines()
        self.assertEqual([line.split(":", 1)[1] for line in lines if "disabled" in line],
                         ["4: one: is in disabled: written with enabled = false"])
        self.assertEqual([line.split(":")[1:3] for line in lines if "USERID" in line], [["3", " one, two"]])

    def test_json(self):
        """--json: services with their text and origin, and the report, as documented."""
        path = self.write("inetd.conf", self.LINE + "#<off># a stream tcp nowait b c d\n")
        found = json.loads(superctl("import", "inetd", path, "--json").stdout)
        self.assertEqual(found["services"], [{
            "name": "7007", "enabled": True, "from": {"file": path, "line": 1}, "path": None,
            "toml": f'# Imported from {path}, line 1.\nlisten = "tcp://*:7007"\nmodel = "fork"\nexec = ["/bin/sh"]\n'
                    'user = "root"\nstderr = "socket"\n'}])
        self.assertEqual(found["report"], [{
            "file": path, "line": 2, "service": None, "fate": "skipped",
            "text": '"a" is switched off by #<off>#: left out'}])


class ImportedServices(SuperdCase):
    """Imported, put on a free port by a drop-in, and asked."""

    def imported(self, daemon, form, path, name, **drop_in):
        superctl("import", form, path, "--output", daemon.conf_dir, "--force")
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

    def test_answers(self):
        """Of xinetd echo and gophernicus, of inetd nullidentd, of systemd micro-httpd and fcgiwrap: each answers."""
        for package in ("micro-httpd", "fcgiwrap"):
            shipped(package, SYSTEMD[package])
        daemon = self.prepare()
        page = daemon.path("page")
        os.mkdir(page, 0o755)
        with open(os.path.join(page, "gophermap"), "w", encoding="utf-8") as file:
            file.write("a gopher\n")
        with open(os.path.join(page, "index.html"), "w", encoding="utf-8") as file:
            file.write("a page\n")
        programs = {}
        for package, program in (("gophernicus", "gophernicus"), ("nullidentd", "nullidentd")):
            programs[package] = daemon.path(program)
            shutil.copy(shipped(package, f"usr/sbin/{program}"), programs[package])
        self.imported(daemon, "xinetd", shipped("xinetd", "etc/xinetd.d/echo"), "echo-stream")
        self.imported(daemon, "xinetd", shipped("gophernicus", XINETD["gophernicus"]), "gopher", user="nobody",
                      exec=[programs["gophernicus"], f"-r{page}", "-nf"])
        lines = daemon.write("inetd.conf", inetd_lines("nullidentd"))
        self.imported(daemon, "inetd", lines, "ident", exec=[programs["nullidentd"]])
        self.imported(daemon, "systemd", shipped("micro-httpd", SYSTEMD["micro-httpd"]), "micro-httpd",
                      exec=[shipped("micro-httpd", "usr/sbin/micro-httpd"), page])
        path = daemon.path("fcgi.sock")
        self.imported(daemon, "systemd", shipped("fcgiwrap", SYSTEMD["fcgiwrap"]), "fcgiwrap", listen=f"unix://{path}",
                      socket={"mode": "0666"})
        daemon.start()
        self.assertEqual(self.converse(daemon.address("echo-stream")), b"hello")
        self.assertIn(b"a gopher", self.ask(daemon.address("gopher"), b"\r\n"))
        self.assertIn(b"USERID", self.ask(daemon.address("ident"), b"1, 2\r\n"))
        self.assertIn(b"a page", self.ask(daemon.address("micro-httpd"), b"GET /index.html HTTP/1.0\r\n\r\n"))
        script = daemon.script("hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nfrom %s\\n' \"$(id -un)\"\n")
        done = subprocess.run(["cgi-fcgi", "-bind", "-connect", path], check=True, capture_output=True, timeout=PATIENCE,
                              env={"PATH": "/usr/bin:/bin", "SCRIPT_FILENAME": script, "REQUEST_METHOD": "GET"})
        self.assertIn(b"from ", done.stdout)
        if self.root:
            self.assertIn(b"from www-data", done.stdout)
