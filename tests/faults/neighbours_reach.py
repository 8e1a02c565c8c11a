# SPDX-License-Identifier: MIT
"""neighbours_reach.py PID: all the ways for a process to get at another one of its user; prints one line for each,
"NAME taken" or "NAME ERRNO", then "done".

neighbours_reach.py race PARENT SECONDS: the same to every new child of a process, as soon as it is seen; prints those
that were superd's own program still, or a parked process."""

import errno
import os
import sys

from reach import PIDFD_GETFD, PIDFD_OPEN, called, new_processes, parent_of, trace


def pidfd(pid):
    own = called(PIDFD_OPEN, pid, 0)
    try:
        os.close(called(PIDFD_GETFD, own, 0, 0))
    finally:
        os.close(own)


def memory(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        begin = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as mem:
        mem.seek(begin)
        mem.read(1)


def written(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def opened(pid):
    os.listdir(f"/proc/{pid}/fd")
    os.readlink(f"/proc/{pid}/fd/0")


def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as text:
        text.read()


WAYS = {"pidfd_getfd": pidfd, "ptrace": trace, "memory": memory, "write": written, "descriptors": opened,
        "environment": environment}


def reach(pid):
    for name, way in WAYS.items():
        try:
            way(pid)
            said = "taken"
        except OSError as error:
            said = errno.errorcode[error.errno]
        print(name, said, flush=True)


def race(parent, seconds):
    """A process that has not reached its exec has superd's memory."""
    tried = 0
    for pid in new_processes(seconds):
        try:
            if parent_of(pid) != parent:
                continue
            tried += 1
            pidfd(pid)
            program = os.readlink(f"/proc/{pid}/exe")
            if os.path.basename(program) in ("superd", "superd-exec"):
                print(f"{program} taken", flush=True)
        except OSError:
            pass
    print(f"tried {tried}", flush=True)


if sys.argv[1] == "race":
    race(int(sys.argv[2]), float(sys.argv[3]))
else:
    reach(int(sys.argv[1]))
print("done", flush=True)
