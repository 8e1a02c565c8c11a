# SPDX-License-Identifier: MIT
"""superd, from its package, under the service manager itself."""

import json
import os
import re
import socket
import threading

from harness import Reader, TestCase, connect, definition, exchange

from machine import Machine

# How often superd is killed while clients come, and how many are served from one time to the next.
KILLS = int(os.environ.get("SUPERD_KILLS", "5"))
CLIENTS = 500
UNIX = "/run/superd-test.sock"
OTHERS = ("/run/systemd/", "/run/superd/")


def sockets():
    """What listens in the machine, except systemd and control, and UDP sockets: addresses to inodes."""
    found = {}
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        with open(f"/proc/thread-self/net/{protocol}", encoding="ascii") as table:
            for line in list(table)[1:]:
                fields = line.split()
                address, port = fields[1].split(":")
                if fields[3] == state:
                    host = socket.inet_ntoa(bytes.fromhex(address)[::-1])
                    found[f"{protocol}://{host}:{int(port, 16)}"] = int(fields[9])
    with open("/proc/thread-self/net/unix", encoding="utf-8", errors="replace") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if len(fields) == 8 and fields[3] == "00010000" and not fields[7].startswith(OTHERS):
                found[f"unix://{fields[7]}"] = int(fields[6])
    return found


class Manager(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.discard)
        cls.machine.systemctl("stop", "superd")  # the package has started it

    def setUp(self):
        self.addCleanup(self.clean_up)

    def clean_up(self):
        self.machine.run("sh", "-c", "systemctl stop 'superd*.socket' superd; systemctl kill -s KILL superd; "
                         "rm -rf /etc/superd/conf.d/* /run/systemd/system/superd*; "
                         "systemctl daemon-reload; systemctl reset-failed")

    def define(self, name, text=None, **keys):
        self.machine.write(f"/etc/superd/conf.d/{name}.toml", definition(**keys) if text is None else text)

    def cat(self, name, listen, **more):
        self.define(name, **({"listen": listen, "model": "fork", "exec": ["cat"]} | more))

    def unit(self, name, text):
        self.machine.write(f"/run/systemd/system/{name}", text)
        self.machine.systemctl("daemon-reload")

    def drop_in(self, *lines):
        self.unit("superd.service.d/test.conf", "\n".join(["[Service]", *lines, ""]))

    def start(self):
        self.machine.systemctl("start", "superd")

    def main_pid(self):
        return int(self.machine.show("MainPID"))

    def is_another(self, pid):
        """Has a superd that is not this one become ready?"""
        now = self.machine.run("systemctl", "show", "-p", "MainPID,ActiveState", "superd").split()
        return "ActiveState=active" in now and f"MainPID={pid}" not in now and "MainPID=0" not in now

    def crash(self):
        """SIGKILL. Returns the process that was."""
        pid = self.main_pid()
        self.signal("KILL")
        return pid

    def signal(self, name):
        self.machine.systemctl("kill", "--kill-whom=main", f"--signal={name}", "superd")

    def crash_and_return(self):
        pid = self.crash()
        self.eventually(lambda: self.is_another(pid), "superd is there again")

    def answers(self, uri):
        with connect(uri) as client:
            client.sendall(b"hello\n")
            return Reader(client).line() == b"hello"

    def stored(self):
        return int(self.machine.show("NFileDescriptorStore"))

    def inside(self, path):
        return f"unix://{self.machine.root}{path}"

    # -- sockets of the manager -------------------------------------------------------------------

    def test_the_first_client_of_a_socket_unit_starts_superd_and_tcp_udp_and_unix_sockets_serve(self):
        kinds = {"tcp": ("ListenStream", "127.0.0.1:7101"), "udp": ("ListenDatagram", "127.0.0.1:7101"),
                 "unix": ("ListenStream", UNIX)}
        for name, (key, address) in kinds.items():
            self.unit(f"superd-{name}.socket", f"[Socket]\n{key}={address}\nFileDescriptorName={name}\n"
                                               "Service=superd.service\n")
            self.cat(name, f"systemd:{name}")
        self.machine.systemctl("start", *(f"superd-{name}.socket" for name in kinds))
        self.assertEqual(self.machine.show("ActiveState"), "inactive")
        before = sockets()

        self.assertTrue(self.answers("tcp://127.0.0.1:7101"))
        self.assertEqual(self.machine.show("ActiveState"), "active")
        with connect("udp://127.0.0.1:7101") as client:
            client.send(b"hello")
            self.assertEqual(client.recv(100), b"hello")
        self.assertTrue(self.answers(self.inside(UNIX)))
        self.assertEqual(self.stored(), 0, "the manager's own sockets need not be stored")
        self.crash_and_return()
        self.assertTrue(self.answers("tcp://127.0.0.1:7101"))
        self.assertEqual(sockets(), before)

    def test_an_ordinary_user_s_superd_serves_a_port_below_1024_and_reloads(self):
        self.unit("superd-finger.socket", "[Socket]\nListenStream=127.0.0.1:79\nFileDescriptorName=finger\n"
                                          "Service=superd.service\n")
        self.drop_in("User=daemon")
        self.define("finger", listen="systemd:finger", model="fork", exec=["sh", "-c", "id -un; ulimit -n"])
        self.machine.systemctl("start", "superd-finger.socket")
        self.assertEqual(exchange("tcp://127.0.0.1:79"), b"daemon\n1024\n")
        status = (self.machine.root / f"proc/{self.main_pid()}/status").read_text()
        self.assertRegex(status, r"\nUid:\t1\t1\t1\t1\n")
        self.define("finger", listen="systemd:finger", model="fork", exec=["echo", "again"])
        self.machine.systemctl("reload", "superd")
        self.assertEqual(exchange("tcp://127.0.0.1:79"), b"again\n")

    # -- what the unit forbids --------------------------------------------------------------------

    # What a handler can do, by its user: a script that prints "yes" if it worked. None works under hardening.conf.
    FORBIDDEN = {
        "setuid": ("nobody", "[ $(/var/lib/superd-test/id -u) = 0 ] && echo yes"),
        "usr": ("root", "touch /usr/superd-test && echo yes"),
        "etc": ("root", "touch /etc/superd-test && echo yes"),
        "home": ("root", "[ -e /home/superd-test ] && echo yes"),
        "tmp": ("root", "[ -e /tmp/superd-test ] && echo yes"),
        "device": ("root", "[ -e /dev/superd-test ] && echo yes"),
        "sysctl": ("root", "f=/proc/sys/kernel/domainname; echo x > $f && echo yes"),
        "namespaces": ("root", "unshare --uts true && echo yes"),
        "mount": ("root", "mount -t tmpfs none /mnt && umount /mnt && echo yes"),
        "personality": ("nobody", "setarch --addr-no-randomize true && echo yes"),
        "realtime": ("root", "chrt --fifo 1 true && echo yes"),
        "mode": ("root", "touch /var/tmp/superd-test && chmod u+s /var/tmp/superd-test && echo yes"),
        "code": ("nobody", "perl -e 'print \"yes\" if -1 != syscall($ARGV[0], 0, 4096, 7, 0x22, -1, 0)' "
                           "$(case $(uname -m) in x86_64) echo 9;; *) echo 222;; esac)"),
        "packets": ("root", "perl -e 'use Socket; print \"yes\" if socket(S, 17, SOCK_RAW, 0)'"),
        "trace": ("root", "perl -e 'print \"yes\" if -1 != syscall($ARGV[0], 0, 0, 0, 0)' "
                          "$(case $(uname -m) in x86_64) echo 101;; *) echo 117;; esac)"),
    }
    # superd's own work, which must continue.
    ALLOWED = {
        "user": ({"user": "daemon"}, "[ $(id -u) = 1 ] && echo yes"),
        "nice": ({"nice": -5}, "[ $(nice) = -5 ] && echo yes"),
        "limit": ({"rlimits": {"memlock": "16M"}}, "[ $(ulimit -l) = 16384 ] && echo yes"),
        "mark": ({"socket": {"mark": 7}}, "echo yes"),
        "root": ({"root_directory": "/usr", "working_directory": "/bin"}, "[ -x /bin/sh ] && echo yes"),
        "state": ({"user": "root"}, "touch /var/lib/superd-test/written && echo yes"),
        "stderr": ({}, "echo x > /dev/stderr && echo yes"),
        "shared": ({"model": "prefork"}, "echo yes"),
    }

    def probes(self):
        """Which of the scripts above say yes."""
        self.machine.run("sh", "-c", "mkdir -p /var/lib/superd-test; cp /usr/bin/id /var/lib/superd-test; "
                         "chmod 4755 /var/lib/superd-test/id; touch /home/superd-test /tmp/superd-test /dev/superd-test; "
                         "rm -f /var/tmp/superd-test")
        scripts = {name: ({"user": user}, script) for name, (user, script) in self.FORBIDDEN.items()} | self.ALLOWED
        ports = {}
        for port, (name, (keys, script)) in enumerate(scripts.items(), 7160):
            inside = "/bin/sh" if name == "root" else "/usr/bin/sh"
            self.cat(name, f"tcp://127.0.0.1:{port}", exec=[inside, "-c", script if name in self.ALLOWED else f"({script}) 2>&1"], **keys)
            ports[name] = f"tcp://127.0.0.1:{port}"
        self.start()
        said = {name: exchange(uri).decode() for name, uri in ports.items()}
        self.machine.systemctl("stop", "superd")
        self.machine.run("sh", "-c", "rm -rf /var/lib/superd-test /home/superd-test /tmp/superd-test /dev/superd-test "
                         "/usr/superd-test /etc/superd-test /var/tmp/superd-test")
        return {name for name, text in said.items() if text.rstrip("\n").endswith("yes")}, said

    def test_the_drop_in_forbids_handlers_what_its_comments_say_and_superd_nothing(self):
        """Each script first runs without hardening.conf, so that a failure under it has that cause."""
        without, said = self.probes()
        # A container may keep its root from raising limits, and from some of what is forbidden here.
        self.assertLessEqual(set(self.ALLOWED) - {"limit"}, without, said)
        shown = without - set(self.ALLOWED)
        print("figure: shown of what hardening.conf forbids:", ", ".join(sorted(shown)), flush=True)
        self.assertLessEqual({"setuid", "usr", "etc", "home", "tmp", "device", "mode", "code", "namespaces"}, shown, said)
        example = self.machine.run("cat", "/usr/share/doc/superd/examples/hardening.conf")
        self.unit("superd.service.d/hardening.conf", example)
        under, said = self.probes()
        self.assertEqual(under, without & set(self.ALLOWED), said)

    # -- what the manager is told -----------------------------------------------------------------

    def test_start_reload_and_stop_are_states_of_the_unit_with_a_line_of_status(self):
        self.cat("one", "tcp://127.0.0.1:7110")
        since = self.machine.cursor()
        self.machine.systemctl("log-level", "debug")
        self.addCleanup(self.machine.systemctl, "log-level", "info")
        self.start()
        self.assertEqual([self.machine.show(name) for name in ("ActiveState", "SubState", "StatusText")],
                         ["active", "running", "1 service on 1 address"])
        pid = self.main_pid()
        self.assertGreater(pid, 1)
        self.cat("two", "tcp://127.0.0.1:7111")
        self.machine.systemctl("reload", "superd")
        self.assertEqual([self.machine.show(name) for name in ("MainPID", "SubState", "StatusText")],
                         [str(pid), "running", "2 services on 2 addresses"])
        self.machine.systemctl("stop", "superd")
        self.assertEqual([self.machine.show(name) for name in ("ActiveState", "Result", "ExecMainStatus")],
                         ["inactive", "success", "0"])
        said = "\n".join(str(record["MESSAGE"]) for record in self.machine.journal("_PID=1", since=since))
        steps = ["Changed start -> running", "Changed running -> reload", r"RELOADING=1, MONOTONIC_USEC=\d+",
                 r"READY=1, STATUS=2 services on 2 addresses", "Changed reload -> running",
                 "Changed running -> stop-sigterm", "STOPPING=1, STATUS=Stopping"]
        self.assertRegex(said, "(?s)" + ".*".join(steps))

    def test_a_reload_that_is_refused_fails_with_its_error_in_the_manager_s_view(self):
        self.cat("cat", "tcp://127.0.0.1:7112")
        self.start()
        since = self.machine.cursor()
        self.cat("bad", "tcp://127.0.0.1:7113", model="frok")
        status, said = self.machine.attempt("systemctl", "reload", "superd")
        self.assertNotEqual(status, 0, said)
        self.assertEqual(self.machine.show("StatusText"), "Reload refused: 1 error in the definitions")
        self.assertEqual([self.machine.show(name) for name in ("ActiveState", "SubState")], ["active", "running"])
        told = [record["MESSAGE"] for record in self.machine.journal("--unit", "superd", since=since)]
        self.assertTrue([line for line in told if re.search(r'bad\.toml:\d+:\d+: error: model "frok"', line)], told)
        self.assertTrue(self.answers("tcp://127.0.0.1:7112"))

    def test_the_watchdog_restarts_a_superd_that_was_stopped_and_its_handlers_finish(self):
        self.drop_in("WatchdogSec=3s")
        self.cat("cat", "tcp://127.0.0.1:7114")
        self.start()
        pid = self.main_pid()
        with connect("tcp://127.0.0.1:7114") as client:
            client.sendall(b"before\n")
            reader = Reader(client)
            self.assertEqual(reader.line(), b"before")
            self.signal("STOP")
            self.eventually(lambda: self.is_another(pid), "superd is there again")
            client.sendall(b"after\n")
            self.assertEqual(reader.line(), b"after")
        self.assertEqual(self.machine.show("NRestarts"), "1")
        self.assertTrue(self.answers("tcp://127.0.0.1:7114"))

    def test_the_journal_has_fields(self):
        self.cat("open", "tcp://127.0.0.1:7115", log={"connections": "all"})
        self.cat("shut", "tcp://127.0.0.1:7116", access={"deny": ["127.0.0.0/8"]})
        self.start()
        with connect("tcp://127.0.0.1:7115") as client:
            peer = "127.0.0.1:%d" % client.getsockname()[1]
            client.sendall(b"hello\n")
            self.assertEqual(Reader(client).line(), b"hello")
        self.assertEqual(exchange("tcp://127.0.0.1:7116"), b"")
        (started,) = self.eventually(
            lambda: [r for r in self.machine.journal("SERVICE=open", f"PEER={peer}") if "started" in r["MESSAGE"]],
            "the start is in the journal")
        self.assertEqual(started["_SYSTEMD_UNIT"], "superd.service")
        self.assertEqual((started["SYSLOG_IDENTIFIER"], started["PRIORITY"]), ("superd", "6"))
        self.assertGreater(int(started["CHILD_PID"]), 1)
        (refused,) = self.eventually(lambda: self.machine.journal("REFUSAL=denied"), "the refusal is in the journal")
        self.assertEqual((refused["SERVICE"], refused["PEER"].split(":")[0]), ("shut", "127.0.0.1"))

    # -- upgrades ---------------------------------------------------------------------------------

    def upgrades(self):
        return json.loads(self.machine.run("superctl", "--json", "status"))["superd"]["upgrades"]["done"]

    def test_a_newer_package_goes_on_in_place_or_else_by_a_restart(self):
        self.cat("cat", "tcp://127.0.0.1:7150")
        self.start()
        unit = lambda: [self.machine.show(name) for name in ("MainPID", "ActiveState", "SubState", "StatusText")]
        before, listening = unit(), sockets()
        with connect("tcp://127.0.0.1:7150") as client:
            reader = Reader(client)
            commands = [("superctl", "upgrade"), ("dpkg", "--install", "/root/superd.deb")]
            for number, command in enumerate(commands, 1):
                client.sendall(b"%d\n" % number)
                self.assertEqual(reader.line(), b"%d" % number)
                self.machine.run(*command)
                self.assertEqual(self.upgrades(), number)
                self.assertEqual(unit(), before)
                self.assertEqual(sockets(), listening)
            client.sendall(b"still there\n")
            self.assertEqual(reader.line(), b"still there")
        self.assertTrue(self.answers("tcp://127.0.0.1:7150"))
        # One that the package's script cannot ask.
        self.drop_in("ExecStart=", "ExecStart=/usr/sbin/superd --control /run/superd/other.sock")
        self.machine.systemctl("restart", "superd")
        pid = self.main_pid()
        self.machine.run("dpkg", "--install", "/root/superd.deb")
        self.assertTrue(self.is_another(pid))
        self.assertTrue(self.answers("tcp://127.0.0.1:7150"))

    # -- crashes ----------------------------------------------------------------------------------

    def test_after_each_of_many_crashes_the_sockets_are_the_same_ones_and_no_client_is_refused(self):
        served = ["tcp://127.0.0.1:7120", "unix://@superd-test", f"unix://{UNIX}"]
        self.cat("tcp", served[0], limits={"instances": 1000})
        self.cat("abstract", served[1])
        self.cat("path", served[2], socket={"mode": "0660"})
        self.cat("udp", "udp://127.0.0.1:7121")
        self.cat("any", "tcp://127.0.0.1:0")
        self.cat("pool", "tcp://127.0.0.1:7122", model="prefork", handoff="listen", exec=["superd-echo"])
        self.start()
        path = self.machine.root / UNIX.lstrip("/")
        before, file = sockets(), os.stat(path)
        self.assertEqual(self.stored(), 6)
        old = connect(served[0])
        self.addCleanup(old.close)
        reader = Reader(old)
        uris = [served[0], served[1], self.inside(UNIX), "tcp://127.0.0.1:7122"]
        stop, made, wrong = threading.Event(), [0] * len(uris), []

        def come(index):
            while not stop.is_set():
                try:
                    with connect(uris[index]) as client:
                        client.sendall(b"hello\n")
                        if Reader(client).line() == b"hello":
                            made[index] += 1
                except (ConnectionResetError, BrokenPipeError):
                    pass  # accepted, and not started yet: it went with superd
                except OSError as error:
                    wrong.append(f"{uris[index]}: {error}")

        threads = [threading.Thread(target=come, args=(index,)) for index in range(len(uris))]
        for thread in threads:
            thread.start()
        try:
            for turn in range(KILLS):
                self.crash_and_return()
                self.assertEqual(sockets(), before)
                done = list(made)
                self.eventually(lambda: all(now > then for now, then in zip(made, done)), "all serve again")
                self.eventually(lambda: sum(made) >= CLIENTS * (turn + 1), "so many clients are served", 120)
                old.sendall(b"%d\n" % turn)
                self.assertEqual(reader.line(), b"%d" % turn, "a handler of before the crash")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(int(self.machine.show("NRestarts")), KILLS)
        self.assertEqual(self.stored(), 6)
        with connect("udp://127.0.0.1:7121") as client:
            client.send(b"hello")
            self.assertEqual(client.recv(100), b"hello")
        self.assertEqual((os.stat(path).st_ino, os.stat(path).st_mode), (file.st_ino, file.st_mode))
        self.machine.systemctl("stop", "superd")
        self.assertFalse(path.exists(), "a path that came from the store was left")
        self.assertEqual(self.stored(), 0)
        with self.assertRaises(ConnectionRefusedError):
            connect(served[0])

    def test_who_comes_between_the_crash_and_the_start_waits_and_is_served(self):
        self.drop_in("RestartSec=3s")
        self.cat("cat", "tcp://127.0.0.1:7123")
        self.start()
        pid = self.crash()
        with connect("tcp://127.0.0.1:7123") as client:
            self.assertFalse(self.is_another(pid), "too late")
            client.sendall(b"hello\n")
            self.assertEqual(Reader(client).line(), b"hello")

    def test_a_socket_whose_service_went_leaves_the_store_by_reload_and_by_crash(self):
        for number in range(3):
            self.cat(f"cat{number}", f"tcp://127.0.0.1:{7130 + number}")
        self.cat("path", f"unix://{UNIX}")
        self.start()
        self.assertEqual(self.stored(), 4)
        self.machine.run("rm", "/etc/superd/conf.d/cat0.toml")
        self.machine.systemctl("reload", "superd")
        self.assertEqual(self.stored(), 3)
        with self.assertRaises(ConnectionRefusedError):
            connect("tcp://127.0.0.1:7130")
        self.machine.run("rm", "/etc/superd/conf.d/cat1.toml", "/etc/superd/conf.d/path.toml")
        self.crash_and_return()
        self.assertEqual(self.stored(), 1)
        for gone in ("tcp://127.0.0.1:7131", self.inside(UNIX)):
            with self.assertRaises((ConnectionRefusedError, FileNotFoundError)):
                connect(gone)
        self.assertFalse((self.machine.root / UNIX.lstrip("/")).exists())
        self.assertTrue(self.answers("tcp://127.0.0.1:7132"))

    def test_a_handler_that_outlived_a_crash_ends_with_the_stop(self):
        """The restarted superd has taken over its cgroup. Without cgroup v2 it outlives the stop too, and `systemctl
        kill` ends it."""
        before = self.machine.cursor()
        self.cat("cat", "tcp://127.0.0.1:7140")
        self.start()
        with connect("tcp://127.0.0.1:7140") as old, connect("tcp://127.0.0.1:7140") as second:
            for client in (old, second):
                client.sendall(b"hello\n")
                self.assertEqual(Reader(client).line(), b"hello")
            self.crash_and_return()
            with connect("tcp://127.0.0.1:7140") as own:
                own.sendall(b"hello\n")
                reader = Reader(own)
                self.assertEqual(reader.line(), b"hello")
                self.machine.systemctl("stop", "superd")
                self.assertEqual(reader.rest(), b"", "its own handler ends with superd")
            messages = [record["MESSAGE"] for record in self.machine.journal("_COMM=superd", since=before)]
            if not any(message.startswith("services have cgroups of their own") for message in messages):
                old.sendall(b"still\n")
                self.assertEqual(Reader(old).line(), b"still")
                self.machine.systemctl("kill", "superd")
            self.assertEqual(Reader(old).rest(), b"")
            self.assertEqual(Reader(second).rest(), b"")
