# SPDX-License-Identifier: MIT
"""System calls by which a process reaches into another one of its user, for programs that try it."""

import ctypes
import os
import platform
import time

PIDFD_OPEN, PIDFD_GETFD = 434, 438
PTRACE = {"x86_64": 101, "aarch64": 117}[platform.machine()]
SEIZE, DETACH, INTERRUPT = 0x4206, 17, 0x4207

libc = ctypes.CDLL(None, use_errno=True)


def called(number, *arguments):
    result = libc.syscall(number, *[ctypes.c_long(argument) for argument in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def trace(pid, hold=0.0):
    called(PTRACE, SEIZE, pid, 0, 0)
    called(PTRACE, INTERRUPT, pid, 0, 0)
    os.waitpid(pid, 0x40000000)  # __WALL
    time.sleep(hold)
    called(PTRACE, DETACH, pid, 0, 0)


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as line:
        return int(line.read().rsplit(")", 1)[1].split()[1])


def new_processes(seconds):
    """Each process as soon as it is seen."""
    deadline, known = time.monotonic() + seconds, set()
    while time.monotonic() < deadline:
        there = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
        new, known = there - known, there
        yield from new
