# SPDX-License-Identifier: MIT
"""Two hundred clients at once on warm handlers: each gets its own bytes, from a process that has its own."""

import concurrent.futures
import random
import threading

from harness import Reader
from test_handlers import needs, program
from warm_programs import WarmProgramCase

CLIENTS = 200
# What it asks before its client comes it would have from its template.
ECHO = """import os, sys
block = os.read(0, 4096)
sys.stdout.write(f"{os.getpid()}\\n")
sys.stdout.flush()
while block:
    while block:
        block = block[os.write(1, block):]
    block = os.read(0, 4096)
"""
RECORD = 32
SEEK = """open(my $data, '<', $ARGV[0]) or die;
my $header = <$data>;
$| = 1;
while (my $number = <STDIN>) {
    seek($data, %d * ($number + 1), 0);
    my $first = <$data>;
    my $second = <$data>;
    print $$, ' ', $first, $$, ' ', $second;
    $_ = <$data> for 1 .. 300;  # past what is buffered
}
""" % RECORD


def shell_script():
    """300 lines, each of which counts; bash reads them as it goes. Some start a program and keep what it says."""
    lines = ["#!/bin/bash", "PATH=/usr/bin:/bin", "read -r line", "count=0", "sum="]
    for number in range(300):
        lines.append(f"count=$((count + 1))  # line {number}: {'.' * (number % 60)}")
        if number % 60 == 30:
            lines.append('sum=$(printf %s "$line$sum" | cksum | cut -d " " -f 1)')
    return "\n".join([*lines, 'echo "$BASHPID $line $count $sum"']) + "\n"


def cksum(data):
    """As POSIX's cksum(1)."""
    crc = 0
    length = len(data)
    tail = []
    while length:
        tail.append(length & 0xff)
        length >>= 8
    for byte in data + bytes(tail):
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04c11db7 if crc & 0x80000000 else crc << 1) & 0xffffffff
    return ~crc & 0xffffffff


class TwoHundred(WarmProgramCase):
    def at_once(self, exec_of, one):
        """`one(client, number)` for 200 clients that are all connected before the first of them speaks, under start
        and under clone."""
        daemon = self.prepare()
        for value in ("start", "clone"):
            daemon.service(value, listen="tcp://127.0.0.1:0", model="prefork", exec=exec_of(daemon),
                           limits={"instances": CLIENTS + 50}, prefork={"warm": value, "min_spare": 4, "max_spare": 16})
        daemon.start()
        for value in ("start", "clone"):
            with self.subTest(warm=value):
                self.assertEqual(self.settled(daemon, value)["in_force"], value)
                clients = [self.client(daemon.address(value), timeout=120) for _ in range(CLIENTS)]
                ready = threading.Barrier(CLIENTS)

                def run(number):
                    ready.wait(60)
                    return one(clients[number], number)
                with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                    pids = list(pool.map(run, range(CLIENTS)))
                self.assertEqual(len(set(pids)), CLIENTS, "each client has a process of its own")
                for client in clients:
                    client.close()
                service = self.eventually(lambda: (lambda s: s["handlers"] == 0 and s)(self.service_of(daemon, value)),
                                          "all handlers have left")
                self.assertEqual((service["accepted"], service["exits"]["ok"]), (CLIENTS, CLIENTS))
                self.assertEqual(service["warm"]["in_force"], value, service["warm"]["reason"])
                if value == "clone":
                    self.assertGreater(service["warm"]["copies"], 16, "copies are made past those that wait")

    def test_python_echo(self):
        """A Python script sends back what comes, 100 KiB to each."""
        def one(client, number):
            data = random.Random(number).randbytes(100 << 10)
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(1)))
            sender.start()
            reader = Reader(client)
            pid = reader.line()
            self.assertEqual(reader.rest() == data, True, f"bytes of client {number}")
            sender.join()
            return pid
        self.at_once(lambda daemon: ["/usr/bin/python3", daemon.write("echo.py", ECHO)], one)

    @needs("bash", "cksum")
    def test_bash_that_reads_itself(self):
        """A bash script of 300 lines reads itself as it goes on, and starts programs."""
        def one(client, number):
            line = f"client {number}"
            client.sendall(line.encode() + b"\n")
            pid, *rest = Reader(client).line().decode().split()
            total = ""
            for _ in range(5):
                total = str(cksum((line + total).encode()))
            self.assertEqual(rest, [*line.split(), "300", total])
            return pid
        self.at_once(lambda daemon: [daemon.script("count.sh", shell_script())], one)

    @needs("perl")
    def test_perl_that_seeks(self):
        """A Perl script looks up records in a file that it opened, and began to read, before its client came; all
        clients' look-ups take turns."""
        records = [f"record {number:06}".ljust(RECORD - 1, ".") for number in range(-1, 4000)]

        def one(client, number):
            choose, reader, pids = random.Random(number), Reader(client), set()
            for _ in range(10):
                wanted = choose.randrange(3900)
                client.sendall(b"%d\n" % wanted)
                for place in (wanted, wanted + 1):
                    pid, record = reader.line().decode().split(" ", 1)
                    self.assertEqual(record, records[place + 1])
                    pids.add(pid)
            client.shutdown(1)
            self.assertEqual(reader.rest(), b"")
            self.assertEqual(len(pids), 1)
            return pids.pop()
        self.at_once(lambda daemon: [program("perl"), daemon.write("seek.pl", SEEK),
                                     daemon.write("data", "".join(record + "\n" for record in records))], one)
