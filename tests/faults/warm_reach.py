# SPDX-License-Identifier: MIT
"""warm_reach.py PARENT SECONDS: tries to get hold of every new child of a process as soon as it is seen, by tracing it
and by stopping it, and lets go after a moment; prints "PROGRAM taken" for a channel to that process that it took, "held
COUNT" and "done". Before a handler waits for a client there is nothing else of superd's or of a client's to take."""

import ctypes
import errno
import os
import platform
import signal
import socket
import stat
import sys
import time

PIDFD_OPEN, PIDFD_GETFD = 434, 438
PTRACE = {"x86_64": 101, "aarch64": 117}[platform.machine()]
SEIZE, DETACH, INTERRUPT = 0x4206, 17, 0x4207
HOLDS = 0.05

libc = ctypes.CDLL(None, use_errno=True)


def called(number, *arguments):
    result = libc.syscall(number, *[ctypes.c_long(argument) for argument in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as line:
        return int(line.read().rsplit(")", 1)[1].split()[1])


def is_channel(number):
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        return False
    with socket.socket(fileno=os.dup(number)) as sock:
        return sock.type == socket.SOCK_SEQPACKET


def take_descriptors(pid):
    own = called(PIDFD_OPEN, pid, 0)
    try:
        for number in range(8):
            try:
                taken = called(PIDFD_GETFD, own, number, 0)
            except OSError as error:
                if error.errno == errno.EBADF:
                    continue
                raise
            if is_channel(taken):
                print(f"{os.readlink(f'/proc/{pid}/exe')} taken", flush=True)
            os.close(taken)
    finally:
        os.close(own)


def trace(pid):
    called(PTRACE, SEIZE, pid, 0, 0)
    called(PTRACE, INTERRUPT, pid, 0, 0)
    os.waitpid(pid, 0x40000000)  # __WALL
    time.sleep(HOLDS)
    called(PTRACE, DETACH, pid, 0, 0)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    time.sleep(HOLDS)
    os.kill(pid, signal.SIGCONT)


def main():
    parent, deadline = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    known, held = set(), 0
    while time.monotonic() < deadline:
        there = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
        new, known = there - known, there
        for pid in new:
            for way in (take_descriptors, trace, stop):
                try:
                    if parent_of(pid) == parent:
                        way(pid)
                        held += 1
                except OSError:
                    pass
    print(f"held {held}\ndone", flush=True)


main()
