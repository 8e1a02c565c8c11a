# SPDX-License-Identifier: MIT
"""replay_0_1_0.py FIXTURE PLAN SUPERD ARGUMENTS...: becomes what superd 0.1.0 is at the end of its upgrade.

FIXTURE is a state that a real 0.1.0 has written: its binary was replaced by a script that copies the descriptor named by
--take-over, and then it was sent USR2. This process makes what that one had: sockets under the same numbers,
children, pipes. Then it lets SUPERD prove that it can take over, as 0.1.0 does, and executes it. PLAN (JSON) says which
sockets and connections it has been given, by their numbers here, and where things are."""

import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time

WRITTEN_AT = 18_385_300_000  # when the fixture was, on its own monotonic clock
# Where in the arrays of version 2 things are.
PROOF, DESCRIPTORS, PORTS, SERVICES, CONTROL, PID_FILE = 0, 11, 14, 15, 16, 17
PORT_SOCKET, PORT_OWNER = 2, 4
SERVICE_NAME, SERVICE_ERRORS, SERVICE_INTAKE, SERVICE_CURRENT = 0, 14, 15, 16
HELD, CHILDREN = 2, 5
PID, KIND, PEER, PAIR, RELAY, REPORTS = 0, 1, 4, 6, 7, 13
HANDLER, OWNER, WORKER, PARKED = range(4)
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Replay:
    def __init__(self, state, plan):
        self.state, self.plan = state, plan
        self.pids = {}
        self.shared = {}
        self.running = []

    def give(self, number, fd):
        os.dup2(fd, number, inheritable=True)

    def child(self, record, words, stdin, stdout=None, executable=None, **environment):
        identity = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        passed = [int(environment["SUPERD_STATUS_FD"])] if environment else []
        process = subprocess.Popen(words, executable=executable, stdin=stdin,
                                   stdout=stdin if stdout is None else stdout, start_new_session=True,
                                   pass_fds=passed, env={"PATH": "/usr/bin:/bin", **environment}, **identity)
        self.running.append(process)
        self.pids[record[PID]] = process.pid

    def handler(self, name, record):
        if record[RELAY] is None:
            return self.child(record, ["cat"], self.plan["connections"][name].pop())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        relay = record[RELAY][0]
        self.give(relay[0], ours.fileno())
        self.give(relay[1], self.plan["sockets"][name])
        peer = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(self.plan["sender"]), socket.inet_aton("127.0.0.1"))
        record[PEER] = relay[2] = peer.decode("latin-1")
        with theirs:
            self.child(record, ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done; echo late', self.plan["go"]],
                       subprocess.DEVNULL, theirs)
        ours.close()

    def worker(self, name, record):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            self.child(record, [self.plan["python"], self.plan["worker"]], self.plan["sockets"][name],
                       SUPERD_STATUS_FD=str(theirs.fileno()))
            expected = ["idle\n"] + ["busy\n"] * record[REPORTS][2]
            said = [ours.recv(64).decode() for _ in expected]
            if said != expected:
                sys.exit(f"the worker says {said}")
            self.give(record[PAIR], ours.fileno())

    def children(self, name, generation):
        # A worker that has a client was there first.
        for record in sorted(generation[CHILDREN], key=lambda child: -child[REPORTS][2]):
            kind = record[KIND]
            if kind == HANDLER:
                self.handler(name, record)
            elif kind == OWNER:
                self.child(record, ["sleep", "600"], self.plan["sockets"][name])
            elif kind == WORKER:
                self.worker(name, record)
            elif kind == PARKED:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with ours, theirs:
                    self.child(record, ["superd-exec", "/usr/bin/cat", "cat"], theirs, subprocess.DEVNULL,
                               self.plan["starter"])
                    self.give(record[PAIR], ours.fileno())

    def service(self, service):
        name = service[SERVICE_NAME]
        for ours, theirs in [service[SERVICE_ERRORS][:2]]:
            if ours >= 0:
                ends = os.pipe()
                os.set_blocking(ends[0], False)
                self.give(ours, ends[0])
                self.give(theirs, ends[1])
                for end in ends:
                    os.close(end)
        for held in service[SERVICE_INTAKE][HELD]:
            self.give(held[0][1], self.plan["connections"]["held"].pop())
        for generation in service[SERVICE_CURRENT]:
            self.children(name, generation)

    def control(self):
        kept = self.state[CONTROL][0][0]
        path = self.plan["control"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
            os.chmod(path, 0o600)
            sock.listen(128)
            sock.setblocking(False)
            self.give(kept[0], sock.fileno())
        status = os.stat(path)
        kept[-3:] = [path, status.st_dev, status.st_ino]
        kept[1][4] = path

    def everything(self):
        for service in self.state[SERVICES]:
            self.service(service)
        for port in self.state[PORTS]:
            if port[PORT_SOCKET] is not None:
                self.give(port[PORT_SOCKET][0][0], self.plan["sockets"][port[PORT_OWNER]])
        self.control()
        with open(self.plan["pid_file"], "wb") as file:
            self.give(self.state[PID_FILE], file.fileno())
        for entry in self.state[DESCRIPTORS]:
            status = os.fstat(entry[0])
            entry[1:3] = [status.st_dev, status.st_ino]


def moved(value, change):
    """The same with each whole number in it changed."""
    if isinstance(value, list):
        return [moved(item, change) for item in value]
    if isinstance(value, dict):
        return {name: moved(item, change) for name, item in value.items()}
    return change(value) if type(value) is int else value


def main():
    fixture, plan, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    with open(plan, encoding="utf-8") as file:
        plan = json.load(file)
    with open(fixture, encoding="utf-8") as file:
        text = file.read()
    text = text.replace("/tmp/superd/sbin/superd", command[0]).replace("/tmp/superd/bin/worker.py", plan["worker"])
    text = text.replace("/tmp/superd", plan["folder"])
    if os.geteuid() != 0:
        text = re.sub(r'\[\[65534,65534,\[65534\](,"nobody")?\]\]', "null", text)
    state = json.loads(text)["state"]

    def aside(number):  # from the numbers that the fixture has
        other = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 300)
        os.close(number)
        return other
    plan["sockets"] = {name: aside(number) for name, number in plan["sockets"].items()}
    plan["connections"] = {name: [aside(number) for number in numbers]
                           for name, numbers in plan["connections"].items()}
    replay = Replay(state, plan)
    replay.everything()

    late = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 - WRITTEN_AT
    state = moved(state, lambda number: replay.pids.get(
        number, number + late if abs(number - WRITTEN_AT) < 100_000_000 else number))
    memory = os.memfd_create("superd-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(memory, "w", encoding="utf-8", closefd=False) as file:
        json.dump({"superd": 2, "state": state}, file)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
    os.dup2(memory, 200, inheritable=True)
    kept = [entry[0] for entry in state[DESCRIPTORS]]
    words = [*command, "--take-over", "200"]
    proof = subprocess.run([*words, "--prove"], pass_fds=[200, *kept], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    if proof.returncode != 0 or f"superd can take over {state[PROOF]} and " not in proof.stdout:
        sys.exit(f"no proof: {proof.returncode}\n{proof.stdout}")
    os.execv(words[0], words)


main()
