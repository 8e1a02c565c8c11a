# SPDX-License-Identifier: MIT
"""Peers that do not read, and peers that send or come without end: the clients of other services do not notice."""

import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from everything import Control
from faults import FaultCase, figure
from harness import Reader, connect, exchange, installation
from injection import Case, Strace, available

TCP = "tcp://127.0.0.1:0"
SOON = 5.0  # seconds; a hang is for ever, and the figure is what counts
LOUD = 3000  # lines of 1,000 bytes: far more than any queue holds


class Witness(threading.Thread):  # has no tests itself
    """Keeps sending requests to a service of its own, and records how long it waited."""

    def __init__(self, uri):
        super().__init__(daemon=True)
        self.uri, self.waits, self.wrong, self.over = uri, [], None, threading.Event()

    def run(self):
        try:
            while not self.over.wait(0.01):
                began = time.monotonic()
                with connect(self.uri, timeout=10 * SOON) as client:
                    client.sendall(b"hello\n")
                    if Reader(client).line() != b"hello":
                        raise OSError("no answer")
                self.waits.append(time.monotonic() - began)
        except OSError as error:
            self.wrong = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def verdict(self, test, what):
        test.assertIsNone(self.wrong)
        test.assertGreater(len(self.waits), 5)
        waits = sorted(self.waits)
        figure(f"{what}: {len(waits)} clients of another service; the longest waited {waits[-1] * 1000:.0f} ms, "
               f"half of them {waits[len(waits) // 2] * 1000:.1f} ms at most")
        test.assertLess(waits[-1], SOON)


class BoundsCase(FaultCase):  # has no tests itself
    def witnessed(self, services, **options):
        """A daemon with these services and one for the witness."""
        daemon = self.prepare(**options)
        daemon.service("witness", listen=TCP, model="fork", exec=["cat"])
        for name, keys in services.items():
            daemon.service(name, **{"listen": TCP, "model": "fork", **keys})
        return daemon

    def address(self, daemon, name):
        """Over the control socket, since the log may be lost."""
        control = Control(daemon.control)

        def listening():
            try:
                return control.services()[name]["listeners"][0]
            except OSError:
                return None
        self.eventually(listening, "superd answers")
        return listening()["address"]

    def superd_says(self, daemon):
        return Control(daemon.control).ask("status")["superd"]


@unittest.skipUnless(os.geteuid() == 0, "needs root to stand in for the journal")
class Journals(BoundsCase):
    def setUp(self):
        super().setUp()
        if subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("needs to be allowed to unshare mounts")

    def with_journal(self):
        """A daemon that logs to a journal with this socket, and what a client of "loud" makes it log."""
        daemon = self.witnessed({"loud": dict(exec=["sh", "-c", f"yes {'x' * 1000} | head -{LOUD} >&2; echo done"])},
                                log_format="journal")
        folder = daemon.shared("journal")
        daemon.prefix = ["unshare", "--mount", "sh", "-c",
                         "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && "
                         f"mount --bind {folder} /run/systemd/journal && exec \"$@\"", "sh"]
        self.listen(folder)
        daemon.start(wait=False)
        return daemon, folder

    def listen(self, folder):
        """A new journal at that place."""
        path = os.path.join(folder, "socket")
        if os.path.exists(path):
            os.unlink(path)
        self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.journal.close)
        self.journal.bind(path)
        self.journal.settimeout(1)

    def records(self, enough=lambda record: False):
        """All that comes until nothing does for a second, or until one is enough."""
        found = []
        try:
            while not (found and enough(found[-1])):
                found.append(self.journal.recv(65536))
        except TimeoutError:
            pass
        return found

    @staticmethod
    def lost(records):
        return sum(int(line[5:]) for record in records for line in record.split(b"\n") if line.startswith(b"LOST="))

    def loud_lines(self, records):
        return sum(b"MESSAGE=" + b"x" * 1000 in record for record in records)

    def test_one_that_is_never_read(self):
        """Nobody reads the journal's socket: clients are served; lost records are counted, and reported once it is
        read."""
        daemon, _ = self.with_journal()
        loud = self.address(daemon, "loud")
        with Witness(self.address(daemon, "witness")) as witness:
            self.assertEqual(exchange(loud), b"done\n")
            self.eventually(lambda: self.superd_says(daemon)["log_lines_lost"] > 0, "lines are lost")
            time.sleep(1)
        witness.verdict(self, "a journal that is never read")
        records = self.records()
        daemon.process.send_signal(signal.SIGUSR1)  # the next record reports it
        records += self.records()
        lost = self.superd_says(daemon)["log_lines_lost"]
        self.assertEqual(self.lost(records), lost)
        figure(f"a journal that is never read: {lost} lines lost, and told")

    def test_one_that_reads_ten_lines_a_second(self):
        """A journal that reads ten lines a second holds up no client."""
        daemon, _ = self.with_journal()
        loud, over = self.address(daemon, "loud"), threading.Event()

        def read_slowly():
            while not over.wait(0.1):
                try:
                    self.journal.recv(65536)
                except TimeoutError:
                    pass
        reader = threading.Thread(target=read_slowly)
        reader.start()
        try:
            with Witness(self.address(daemon, "witness")) as witness:
                self.assertEqual(exchange(loud), b"done\n")
                time.sleep(2)
        finally:
            over.set()
            reader.join()
        witness.verdict(self, "a journal that reads ten lines a second")

    def test_one_that_goes_and_comes_back(self):
        """While the journal is away its records wait; the one that comes next gets them."""
        daemon, folder = self.with_journal()
        loud = self.address(daemon, "loud")
        self.records()
        self.journal.close()
        with Witness(self.address(daemon, "witness")) as witness:
            self.assertEqual(exchange(loud), b"done\n")
            time.sleep(0.5)
        witness.verdict(self, "a journal that is away")
        self.listen(folder)
        records = self.records()
        self.assertGreater(self.loud_lines(records), 100)

    def test_an_upgrade_beside_one_that_is_never_read(self):
        """An upgrade does not wait for the journal: the next superd counts as lost what the journal has not taken."""
        daemon, _ = self.with_journal()
        self.assertEqual(exchange(self.address(daemon, "loud")), b"done\n")
        self.eventually(lambda: self.superd_says(daemon)["log_lines_lost"] > 0, "lines are lost")
        before = self.superd_says(daemon)["log_lines_lost"]
        daemon.process.send_signal(signal.SIGUSR2)

        def upgraded():
            try:
                return self.superd_says(daemon)["upgrades"]["done"] == 1
            except ConnectionError:  # the upgrade has cut it
                return False
        self.eventually(upgraded, "it is upgraded", timeout=60)
        after = self.superd_says(daemon)["log_lines_lost"]
        self.assertGreater(after, before + 500)  # one mebibyte of them waited
        records = self.records()
        daemon.process.send_signal(signal.SIGHUP)
        records += self.records()
        self.assertEqual(self.lost(records), self.superd_says(daemon)["log_lines_lost"])


class Stderr(BoundsCase):
    def test_a_full_pipe(self):
        """superd's stderr is a pipe that nobody reads: clients are served, lines are lost and counted."""
        daemon = self.witnessed({"loud": dict(exec=["sh", "-c", f"yes {'x' * 1000} | head -{LOUD} >&2; echo done"])})
        fifo = daemon.path("log")
        os.mkfifo(fifo)
        ends = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        self.addCleanup(os.close, ends)
        daemon.prefix = ["sh", "-c", f"exec \"$@\" 2>{fifo}", "sh"]
        daemon.start(wait=False)
        loud = self.address(daemon, "loud")
        with Witness(self.address(daemon, "witness")) as witness:
            self.assertEqual(exchange(loud), b"done\n")
            self.eventually(lambda: self.superd_says(daemon)["log_lines_lost"] > 0, "lines are lost")
            time.sleep(1)
        witness.verdict(self, "stderr as a full pipe")

    def loud_service(self, lines, **log):
        daemon = self.prepare()
        # One handler after the other: a line that two begin is one.
        daemon.service("loud", listen=TCP, model="iterative", log=log,
                       exec=["sh", "-c", f"seq {lines} >&2; echo done"])
        daemon.start()
        return daemon, daemon.address("loud"), Control(daemon.control)

    def logged(self, daemon):
        return len(daemon.find(lambda record: record.get("stream") == "stderr"))

    def test_stderr_rate(self):
        """Above log.stderr_rate lines of handlers are dropped, counted, and reported once: each line is either logged
        or counted, and the handler never waits."""
        daemon, uri, control = self.loud_service(20000, stderr_rate="1/m", stderr_burst=50)
        self.assertEqual(exchange(uri), b"done\n")
        told = daemon.wait_for(lambda record: "dropped" in record, service="loud")
        self.assertEqual((self.logged(daemon), int(told["dropped"])), (50, 20000 - 50))
        self.assertEqual(control.services()["loud"]["stderr_dropped"], 20000 - 50)
        self.assertIn('superd_stderr_dropped_total{service="loud"} 19950', control.ask("metrics")["text"])
        self.assertEqual(len(daemon.find(lambda record: "dropped" in record)), 1)

    def test_the_default_rate(self):
        """By default 10,000 lines at once are logged."""
        daemon, uri, _ = self.loud_service(10000)
        self.assertEqual(exchange(uri), b"done\n")
        self.eventually(lambda: self.logged(daemon) == 10000, "all are logged")

    def test_stderr_rate_over_an_upgrade(self):
        """The burst stays used up, and the count continues."""
        daemon, uri, control = self.loud_service(100, stderr_rate="1/d", stderr_burst=50)
        installation().of_its_own(daemon)
        self.assertEqual(exchange(uri), b"done\n")
        self.eventually(lambda: control.services()["loud"]["stderr_dropped"] == 50, "half of them are dropped")
        since = daemon.mark()
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_for(message="upgraded", since=since)
        self.assertEqual(exchange(uri), b"done\n")
        self.eventually(lambda: control.services()["loud"]["stderr_dropped"] == 150, "the rest as well")
        self.assertEqual(self.logged(daemon), 50)
        daemon.service("loud", listen=TCP, model="iterative", log={"stderr_burst": 1000},
                       exec=["sh", "-c", "seq 100 >&2; echo done"])
        daemon.reload()
        self.assertEqual(exchange(daemon.address("loud")), b"done\n")
        self.eventually(lambda: self.logged(daemon) > 50, "a reload lets more through")


class Floods(BoundsCase):
    def flooded_status(self, what, **options):
        daemon = self.witnessed({}, **options)
        ended = daemon.write("ended", "", 0o666)
        daemon.service("flooded", listen=TCP, model="prefork", handoff="listen", prefork={"min_spare": 1},
                       exec=[self.install(daemon), "flood-status", ended, "300"])
        daemon.start()

        def all_ended():
            with open(ended, encoding="ascii") as lines:
                return len(lines.readlines()) >= 8
        with Witness(daemon.address("witness")) as witness:
            self.eventually(all_ended, "two workers have exited, and so have the flooders that they started")
        witness.verdict(self, what)

    def test_a_status_descriptor(self):
        """Four processes flood their worker's status descriptor while it exits: superd reads so much and no more, and
        they end with it."""
        self.flooded_status("four processes that flood a status descriptor")

    def test_a_status_descriptor_that_is_faster_than_superd(self):
        """The same if they write faster than superd, which is traced, can read: it does not read for ever."""
        if why := available():
            self.skipTest(why)
        strace = Strace("recvfrom")
        self.addCleanup(strace.discard)
        self.flooded_status("the same, faster than superd reads", prefix=strace.prefix(),
                            environment={"ASAN_OPTIONS": "detect_leaks=0"})  # which cannot look while it is traced

    def test_a_throttled_service(self):
        """A hundred clients flood a service whose handlers do not start."""
        daemon = self.witnessed({"broken": dict(exec=["true"], limits={"on_excess": "close"})})
        daemon.service("broken", listen=TCP, model="fork", limits={"on_excess": "close"},
                       exec=[daemon.script("neither", "neither\n")])
        daemon.start()
        load = self.load(daemon.address("broken"), parallel=100, total=0)
        daemon.wait_for(message="handlers fail as soon as they start")
        with Witness(daemon.address("witness")) as witness:
            time.sleep(3)
        figures = load.end()
        witness.verdict(self, f"100 clients that flood a throttled service ({figures['begun']} connections)")
        status = daemon.status()["broken"]
        self.assertEqual(int(status["accepted"]), figures["begun"])
        self.assertEqual(int(status["refused_exec_failed"]), figures["begun"])

    def test_a_socket_that_goes(self):
        """Clients flood an address that a reload removes: the reload comes to an end."""
        daemon = self.witnessed({"flooded": dict(exec=["true"], limits={"on_excess": "close", "instances": 1})})
        daemon.start()
        load = self.load(daemon.address("flooded"), parallel=100, total=0)
        with Witness(daemon.address("witness")) as witness:
            time.sleep(0.5)
            daemon.remove("flooded")
            began = time.monotonic()
            daemon.reload()
            took = time.monotonic() - began
            time.sleep(0.5)
        load.kill()
        figure(f"an address that 100 clients flood goes by a reload within {took * 1000:.0f} ms")
        witness.verdict(self, "an address that goes while 100 clients flood it")


class Provers(BoundsCase):
    def prepare(self, **options):
        return installation().of_its_own(super().prepare(**options))

    def refused(self, text):
        """Why an upgrade to this program was refused, and what the witness saw."""
        daemon = self.witnessed({})
        daemon.start()
        binary = daemon.installation.superd
        os.rename(binary, binary + ".kept")
        with open(binary, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(binary, 0o755)
        with Witness(daemon.address("witness")) as witness:
            daemon.process.send_signal(signal.SIGUSR2)
            record = daemon.wait_for(message="upgrade refused", timeout=60)
        os.rename(binary + ".kept", binary)
        return record["message"], witness

    def test_one_that_prints_without_end(self):
        """The program that must prove itself prints without end: it is ended in time, and nothing waits for it."""
        why, witness = self.refused("#!/bin/sh\nexec yes it goes on and on\n")
        self.assertIn("has not proved within 10s", why)
        witness.verdict(self, "a prover that prints without end")

    def test_one_that_dies_by_a_real_time_signal(self):
        """Its signal has a name."""
        number = signal.SIGRTMIN + 3
        why, _ = self.refused(f"#!/usr/bin/python3 -IS\nimport os\nos.kill(os.getpid(), {number})\n")
        self.assertIn("it was killed by SIGRTMIN+3", why)


class FailedStarts(BoundsCase):
    def test_a_handler_that_is_no_program(self):
        """A client whose handler does not start takes no token of the service's rate."""
        daemon = self.prepare()
        path = daemon.script("handler", "neither\n")
        daemon.service("rated", listen=TCP, model="fork", exec=[path],
                       limits={"rate": "1/d", "burst": 1, "on_excess": "close"})
        daemon.start()
        uri = daemon.address("rated")
        self.assertEqual(exchange(uri), b"")
        daemon.wait_for(refusal="exec_failed")
        daemon.script("handler", "#!/bin/sh\necho served\n")
        self.eventually(lambda: exchange(uri) == b"served\n", "the token is there for the next")
        status = daemon.status()["rated"]
        self.assertEqual((status["state"], int(status["started"]) - int(status["spawn_failures"])), ("paused", 1))

    def test_no_process_for_a_handler(self):
        """The kernel has no process for a client's handler: it waits, keeps its token, and is served."""
        if why := available():
            self.skipTest(why)
        daemon = self.prepare()
        daemon.service("rated", listen=TCP, model="fork", exec=["cat"], limits={"rate": "1/d", "burst": 1})
        daemon.start()
        strace = Strace("clone", [Case("clone", "EAGAIN")]).attach(daemon.pid)
        self.addCleanup(strace.discard)
        self.assertEqual(self.converse(daemon.address("rated")), b"hello")
        strace.detach()
        self.assertEqual(len(strace.hits()), 1)
        status = daemon.status()["rated"]
        self.assertEqual((int(status["accepted"]), int(status["refused_no_processes"])), (1, 1))


class Answers(BoundsCase):
    def asker(self, daemon):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(os.path.join(daemon.path("askers"), f"{len(os.listdir(daemon.path('askers')))}.sock"))
        os.chmod(sock.getsockname(), 0o777)
        sock.settimeout(30)
        return sock

    def answering(self, command):
        daemon = self.prepare()
        daemon.shared("askers")
        daemon.service("answers", listen=f"unix-dgram://{daemon.path('answers.sock')}", model="fork",
                       exec=["sh", "-c", command], socket={"mode": "0666"})
        daemon.start()
        return daemon, Control(daemon.control), daemon.path("answers.sock")

    def test_one_that_is_too_long(self):
        """An answer longer than superd takes is not cut: it is counted as failed, and the service is named."""
        daemon, control, path = self.answering("head -c 70000 /dev/zero | dd bs=70000 iflag=fullblock 2>/dev/null; "
                                               "echo short")
        sock = self.asker(daemon)
        sock.sendto(b"x", path)
        self.assertEqual(sock.recv(100000), b"short\n")
        service = control.services()["answers"]
        self.assertEqual((service["replies"], service["reply_failures"]), (1, 1))
        record = daemon.wait_for(lambda r: "could not be sent" in r["message"], service="answers")
        self.assertIn("70000 bytes", record["message"])
        self.assertIn('superd_reply_failures_total{service="answers"} 1', control.ask("metrics")["text"])

    def test_askers_that_are_gone(self):
        """Answers to clients that have gone are counted by service, and reported once, however many there are."""
        daemon, control, path = self.answering("read line; sleep 0.3; echo late")
        for _ in range(10):
            sock = self.asker(daemon)
            sock.sendto(b"x\n", path)
            sock.close()
        self.eventually(lambda: control.services()["answers"]["reply_failures"] == 10, "all are counted")
        self.assertEqual(len(daemon.find(lambda r: "could not be sent" in r["message"])), 1)
        record = daemon.wait_for(lambda r: "more answers could not be sent" in r["message"], timeout=60)
        self.assertEqual((record["service"], int(record["count"])), ("answers", 9))


if __name__ == "__main__":
    unittest.main()
