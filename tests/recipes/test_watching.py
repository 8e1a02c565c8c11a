# SPDX-License-Identifier: MIT
"""Recipes for monitoring, and for devices and processors that others use, each used by its own client."""

import os

from place import RecipeCase, folder, run, write


class Watching(RecipeCase):
    @staticmethod
    def prepare_nrpe():
        # Of another user's process: this one.
        write("/etc/nagios/nrpe.d/test.cfg", f"command[process]=/bin/cat /proc/{os.getpid()}/comm\n")

    def test_nrpe(self):
        """check_nrpe has a command run, which sees the processes of the machine."""
        answer = self.run_client("/usr/lib/nagios/plugins/check_nrpe", "-H", "127.0.0.1", "-c", "process")
        self.assertIn(b"python", answer)

    @staticmethod
    def prepare_nsca():
        folder("/var/lib/nagios", "nagios")
        write("/etc/nsca.cfg", "command_file=/var/lib/nagios/none\nalternate_dump_file=/var/lib/nagios/dump\n"
                               "append_to_file=0\nmax_packet_age=30\ndecryption_method=1\n")

    def test_nsca(self):
        """send_nsca sends the result of a check, which is written down."""
        config = write(f"{self.home}/send_nsca.cfg", "encryption_method=1\n")
        self.run_client("send_nsca", "-H", "127.0.0.1", "-c", config, stdin=b"host\tcheck\t0\tall is well\n")
        dump = "/var/lib/nagios/dump"
        self.eventually(lambda: os.path.exists(dump) and os.path.getsize(dump), "a result")
        with open(dump, encoding="utf-8") as file:
            self.assertIn("host;check;0;all is well", file.read())

    @staticmethod
    def prepare_munin_node_c():
        # Somebody else's process, and how often port 4949 is listened on.
        write("/etc/munin/plugins/here", f"""#!/bin/sh
            [ "$1" = config ] && echo graph_title here && exit
            echo here.value $(cat /proc/{os.getpid()}/comm) $(cat /proc/net/tcp* | grep -c :1355)
            """.replace("            ", ""), 0o755)

    def test_munin_node_c(self):
        """A client of Munin's lists the plug-ins and fetches the figures of one."""
        answer = self.ask(4949, b"list\nconfig here\nfetch here\nquit\n")
        self.assertIn(b"graph_title here\n", answer)
        self.assertRegex(answer, rb"here.value python\S* [1-9]")

    def test_check_mk_agent(self):
        """A Checkmk server reads sections."""
        self.assertIn(b"<<<check_mk>>>", self.ask(6556, b""))

    def test_node_exporter(self):
        """curl scrapes figures of the machine, its network's traffic among them."""
        figures = self.run_client("curl", "-sS", "--fail", "http://127.0.0.1:9100/metrics")
        self.assertIn(b"node_load1 ", figures)
        self.assertIn(b'\nnode_scrape_collector_success{collector="netdev"} 1\n', figures)
        self.assertRegex(figures, rb"(?m)^node_netstat_Tcp_InSegs [1-9]")

    def test_metrics_script(self):
        """curl scrapes a figure, and promtool finds nothing wrong with it."""
        figures = self.run_client("curl", "-sS", "--fail", "http://127.0.0.1:9101/metrics")
        self.assertRegex(figures, rb"(?m)^machine_load [\d.]+$")
        self.run_client("promtool", "check", "metrics", stdin=figures)

    @staticmethod
    def prepare_distccd():
        run("update-distcc-symlinks")  # which compilers there are, as its postinst does

    def test_distccd(self):
        """distcc has a file compiled there, and not here."""
        write(f"{self.home}/one.c", "int one(void) { return 1; }\n")
        self.run_client("distcc", "gcc", "-c", "one.c", "-o", "one.o", DISTCC_HOSTS="127.0.0.1",
                        DISTCC_FALLBACK="0", DISTCC_DIR=self.home)
        self.assertIn(b"one", self.run_client("nm", "one.o"))

    @staticmethod
    def prepare_saned():
        # The device that sane has for tests, and the client's way to saned.
        write("/etc/sane.d/dll.conf", "test\nnet\n")
        write("/etc/sane.d/saned.conf", "127.0.0.1\n")
        folder("/etc/sane.d/dll.d")

    def test_saned(self):
        """scanimage finds a scanner and scans a page."""
        picture = self.run_client("scanimage", "-d", "net:127.0.0.1:test:0", "--format=pnm", "--resolution=50")
        self.assertEqual(picture[:2], b"P5")
