# SPDX-License-Identifier: MIT
"""superctl import compared with the daemons whose files it reads: for each file of a table, the same clients ask the
original, and superd with the imported definitions. Both agree on who is served or refused, on what listens, and on
what the handler finds, or the report says otherwise."""

import inetd_files
import originals
import xinetd_files
from release import is_debian_12

SENTINEL = 19999  # the last port that a daemon opens: it listens
FIRST = 20000
# superctl import takes these as Debian 12's xinetd 2.3.15.3 does. 2.3.15.4 serves neither the first nor the last, and
# takes localhost for 127.0.0.1 alone where an entry has sockets for IPv6 too.
OF_DEBIAN_12 = ("bind-v4-flag6", "only-from-localhost", "datagram-nowait")
HOSTS = "127.0.0.1 localhost\n::1 localhost\n10.0.0.2 named.example\n10.0.0.1 home.example\n"


class XinetdBesideSuperd(originals.Case):
    def ask_xinetd(self, table):
        """Theirs, ours, the report."""
        for file in table.files:
            self.write("xinetd.d/" + file.name, file.text)
        last = xinetd_files.entry("zlast", f"\tport = {SENTINEL}\n").replace("PROBE", "/bin/true")
        conf = self.write("xinetd.conf", f"includedir {self.path('xinetd.d')}\n{last}")
        ports = [port for file in table.files for port in file.ports]
        xinetd = originals.program("xinetd", "usr/sbin/xinetd")
        command = [xinetd, "-dontfork", "-f", conf, "-pidfile", self.path("pid")]
        theirs = self.under(command, self.listening(SENTINEL), ports)
        report = self.imported("xinetd", conf)
        self.forget("zlast")
        return theirs, self.under_superd(SENTINEL, ports), report

    def surroundings(self):
        self.mount("/etc/hosts.deny", "kept-out: ALL\nsome: 10.0.0. [fd00:1::]/32\n")
        self.mount("/etc/networks", "testnet 10.1\n")
        self.mount("/etc/hosts", HOSTS)

    def test_attributes(self):
        """Each attribute and flag, and common mistakes."""
        self.surroundings()
        table = xinetd_files.plain(originals.PROBE, FIRST)
        if not is_debian_12():
            table.files = [file for file in table.files if file.name not in OF_DEBIAN_12]
        self.assertGreater(len(table.files), 100)
        self.compare(table.files, *self.ask_xinetd(table))

    def test_defaults(self):
        """Files whose defaults, or whose traps, apply to all services."""
        self.surroundings()
        for file in xinetd_files.alone(originals.PROBE, FIRST).files:
            table = xinetd_files.Table(originals.PROBE, FIRST)
            table.files = [file]
            self.compare(table.files, *self.ask_xinetd(table))
            self.clear("xinetd.d")


class InetdBesideSuperd(originals.Case):
    def ask_inetd(self, dialect, command):
        self.mount("/etc/hosts", HOSTS)
        self.mount("/etc/hosts.deny", "kept-out: ALL\nsome: 10.0.0. [fd00:1::]/32\n")
        table = inetd_files.common(inetd_files.Table(originals.PROBE, FIRST), dialect)
        last = f"{SENTINEL} stream tcp4 nowait root /bin/true true\n"
        conf = self.write("inetd.conf", "".join(file.text for file in table.files) + last)
        ports = [port for file in table.files for port in file.ports]
        theirs = self.under([*command, conf], self.listening(SENTINEL), ports)
        report = self.imported("inetd", conf, "--dialect", dialect)
        self.forget(str(SENTINEL))
        self.compare(table.files, theirs, self.under_superd(SENTINEL, ports), report)

    def test_openbsd(self):
        """openbsd-inetd, which is Debian's."""
        self.ask_inetd("openbsd", [originals.program("openbsd-inetd", "usr/sbin/inetd"), "-i"])

    def test_gnu(self):
        """inetutils-inetd."""
        self.ask_inetd("gnu", [originals.program("inetutils-inetd", "usr/sbin/inetutils-inetd"), "-d"])
