# SPDX-License-Identifier: MIT
"""Processes that read superd's log, or do not, and those that fill it: no client waits for a log. Points 2 and 7 of
hostile neighbours."""

import os
import re
import socket
import threading
import time
import unittest

import everything
from faults import cpu_seconds, figure
from harness import connect, exchange, process
from harness.daemon import PATIENCE
from harness.loopback import own_loopback
from neighbours_case import NeighbourCase, attack, needs_root, python

LINES = 8000  # of one client's handler: more than any queue in front of the log holds, and within stderr_burst
NOISE = """import os, sys
count, text = int(sys.argv[1]), "x" * int(sys.argv[2])
for first in range(0, count, 100):
    os.write(2, "".join(f"noise-{n} {text}\\n" for n in range(first, min(first + 100, count))).encode())
print("answer", flush=True)
"""
LOST = re.compile(rb"(\d+) [a-z' ]*(?:lost|dropped)")

# In a separate mount namespace, "journal" of the daemon's folder replaces the journal's socket folder; everything else
# of the journal and the programs in /run stays in its place.
OWN_JOURNAL = """exec 7<"$1" 8<"$2" && mount -t tmpfs none /run && mkdir -p "$1" "$2" /run/systemd/journal &&
mount -c --bind /proc/self/fd/7 "$1" && mount -c --bind /proc/self/fd/8 "$2" &&
mount --bind "$1/journal" /run/systemd/journal && shift 2 && exec 7<&- 8<&- && exec "$@\""""


class Journal:
    """A journal's socket."""

    log_format = "journal"

    def __init__(self, daemon):
        os.mkdir(daemon.path("journal"))
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(daemon.path("journal/socket"))
        os.chmod(daemon.path("journal/socket"), 0o666)
        self.sock.settimeout(0.2)
        programs = os.path.dirname(os.path.dirname(daemon.installation.superd))
        self.prefix = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", OWN_JOURNAL, "sh",
                       daemon.directory, programs]

    def read(self):
        """One record, b"" if there is none."""
        try:
            return self.sock.recv(1 << 20)
        except TimeoutError:
            return b""

    def close(self):
        self.sock.close()


class Pipe:
    """stderr as a pipe."""

    log_format = "json"

    def __init__(self, daemon):
        os.mkfifo(daemon.path("log"))
        self.fd = os.open(daemon.path("log"), os.O_RDWR | os.O_NONBLOCK)
        self.rest = b""
        self.prefix = ["/bin/sh", "-c", 'exec "$@" 2>' + daemon.path("log"), "sh"]

    def read(self):
        deadline = time.monotonic() + 0.2
        while b"\n" not in self.rest:
            try:
                self.rest += os.read(self.fd, 65536)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return b""
                time.sleep(0.005)
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def close(self):
        os.close(self.fd)


@needs_root
class StuckLogs(NeighbourCase):
    port = 7960
    made = 0  # clients that are logged

    def other_address(self):
        return f"tcp://{own_loopback()}:{self.port}"

    def start(self, kind):
        """A daemon whose log has such a reader, which reads only when told to."""
        def prefix(daemon):
            self.log = kind(daemon)
            self.addCleanup(self.log.close)
            return self.log.prefix
        self.prefix = prefix
        self.noise = f"tcp://{own_loopback()}:{self.port + 1}"

        def services(daemon):
            script = daemon.write("noise.py", NOISE)
            return {"noise": dict(listen=self.noise, model="fork", exec=[python(), script, str(LINES), "400"]),
                    "logged": dict(listen=f"tcp://{own_loopback()}:{self.port + 2}", model="fork", exec=[self.answer],
                                   log={"connections": "all"})}
        self.made = 0
        daemon = self.neighbours(services, wait=False, log_format=kind.log_format, log_level="info")
        self.eventually(lambda: self.answered(self.other_address()), "superd serves")
        return daemon

    def disturb(self, daemon):
        """Fills the log from a handler, and by clients that are logged."""
        with self.nobody_waits(daemon, uri=self.other_address()):
            self.assertEqual(exchange(self.noise, timeout=60), b"answer\n")
            for _ in range(50):
                self.assertEqual(exchange(f"tcp://{own_loopback()}:{self.port + 2}", timeout=60), b"answer\n")
                self.made += 1
            time.sleep(1)

    def counts(self, daemon):
        """Read to its end, the log has each line, or has counted it as lost."""
        lines = lost = 0
        deadline = time.monotonic() + PATIENCE
        while lines + lost < LINES and time.monotonic() < deadline:
            if not (record := self.log.read()):
                self.answered(f"tcp://{own_loopback()}:{self.port + 2}")  # the next record reports what was lost
                self.made += 1
            elif b"noise-" in record:
                lines += 1
            elif found := LOST.search(record):
                lost += int(found.group(1))
        figure(f"{self.name()}: of {LINES} lines {lines} were logged; {lost} records told as lost")
        self.assertLess(lines, LINES)
        self.assertLessEqual(LINES - lines, lost)
        self.assertLessEqual(lost, LINES - lines + 2 * self.made)  # and the lines of logged clients
        made = {"noise": 1, "logged": self.made}
        self.balances(daemon, made, made)

    def never_read(self, kind):
        daemon = self.start(kind)
        self.disturb(daemon)
        self.counts(daemon)
        self.disturb(daemon)
        self.stops(daemon)

    def slowly_read(self, kind):
        daemon = self.start(kind)
        over = threading.Event()

        def read():
            while not over.wait(0.1):
                self.log.read()
        reader = threading.Thread(target=read)
        reader.start()
        try:
            self.disturb(daemon)
            self.stops(daemon)
        finally:
            over.set()
            reader.join()

    @attack
    def test_a_journal_that_is_never_read(self):
        """Nobody reads the journal's socket: nobody waits, lost records are counted and reported, and superd stops."""
        self.never_read(Journal)

    @attack
    def test_a_slow_journal(self):
        """The journal takes 10 records a second."""
        self.slowly_read(Journal)

    @attack
    def test_a_full_pipe(self):
        """stderr is a pipe that nobody reads."""
        self.never_read(Pipe)

    @attack
    def test_a_slow_pipe(self):
        """stderr is a pipe from which 10 lines a second are read."""
        self.slowly_read(Pipe)


class FloodOfErrors(NeighbourCase):
    """Handlers that fill the log by their stderr."""

    def start(self, program, *words, **keys):
        def services(daemon):
            script = daemon.write("noise.py", program)
            return {"flood": dict(listen="tcp://127.0.0.1:0", model="fork", exec=[python(), script, *words],
                                  stop_timeout="1s", **keys)}
        # AddressSanitizer keeps what is freed, which would look as if superd did.
        return self.neighbours(services, log_level="info",
                               environment={"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=1"})

    def told(self, daemon):
        """Lines that were logged, and how many the log says it left out: of this service, and for want of a reader."""
        logged = dropped = lost = 0
        for record in daemon.find(lambda r: True):
            message = str(record["message"])
            if message.startswith("noise-"):
                logged += 1
            elif found := LOST.search(message.encode()):
                if record.get("service") == "flood":
                    dropped += int(found.group(1))
                else:
                    lost += int(found.group(1))
        return logged, dropped, lost

    def floods(self, count, rate, burst, slack, **keys):
        """This many lines from one handler: what is logged is bounded, and the rest is reported."""
        daemon = self.start(NOISE, str(count), "20", **keys)
        begin = time.monotonic()
        with self.nobody_waits(daemon):
            self.assertEqual(exchange(daemon.address("flood"), timeout=60), b"answer\n")

        def complete():
            self.answered(daemon.address("other"))
            return sum(self.told(daemon)) >= count
        took = time.monotonic() - begin
        self.eventually(complete, "each line was logged or counted")
        logged, dropped, lost = self.told(daemon)
        figure(f"{self.name()}: {count} lines in {took:.1f} s: {logged} logged, {dropped} told as dropped, {lost} lost")
        self.assertLessEqual(logged, burst + rate * (took + 1))
        self.assertGreater(dropped, 0)
        self.assertTrue(count <= logged + dropped + lost <= count + slack)
        self.serves_again(lambda: self.answered(daemon.address("other")), "the other service")
        self.balances(daemon, {"flood": 1})
        self.stops(daemon)

    @attack
    def test_a_flood(self):
        """By default 1,000 lines a second of a service are logged, and 10,000 at once."""
        self.floods(40000, 1000, 10000, 20)

    @attack
    def test_a_flood_of_a_quiet_service(self):
        """As many as the service says, and each other is counted."""
        self.floods(20000, 100, 50, 0, log={"stderr_rate": "100/s", "stderr_burst": 50})

    @attack
    def test_floods_without_end(self):
        """Ten handlers that write without end, lines or one endless line, and what they leave behind: others are
        served, and superd's memory and log stay as they are."""
        daemon = self.start("import os, subprocess\n"
                            "subprocess.Popen(['sh', '-c', 'yes noise- >&2'], start_new_session=True)\n"
                            "print('answer', flush=True)\n"
                            "while True: os.write(2, b'x' * 65536)\n")
        self.addCleanup(self.end_noise)
        before = process.resident(daemon.pid)
        begin, cpu = time.monotonic(), cpu_seconds(daemon.pid)
        with self.nobody_waits(daemon):
            clients = [self.client(daemon.address("flood")) for _ in range(10)]
            self.assertEqual([client.recv(100) for client in clients], [b"answer\n"] * 10)
            time.sleep(3)
        took, grown = time.monotonic() - begin, process.resident(daemon.pid) - before
        share = (cpu_seconds(daemon.pid) - cpu) / took
        logged = len(daemon.find(lambda r: r.get("service") == "flood"))
        figure(f"{self.name()}: in {took:.1f} s {logged} lines were logged; superd grew by {grown >> 10} MiB and used "
               f"{share * 100:.0f} % of a processor")
        self.assertLessEqual(logged, 10000 + 1000 * (took + 1))
        self.assertLess(grown, 48 << 10)
        answer = everything.Control(daemon.control).ask("kill", target="flood", signal="KILL")
        self.assertTrue(answer["ok"], answer)
        self.end_noise()
        self.serves_again(lambda: self.begins(daemon.address("flood")), "the flooding service", grace=1.0)
        self.stops(daemon)

    @staticmethod
    def begins(uri):
        with connect(uri, timeout=5) as sock:
            return sock.recv(100) == b"answer\n"

    @staticmethod
    def end_noise():
        """What this test's handlers have left behind."""
        for one in process.processes():
            if process.words(one.pid) == ["yes", "noise-"]:
                try:
                    os.kill(one.pid, 9)
                except ProcessLookupError:
                    pass


if __name__ == "__main__":
    unittest.main()
