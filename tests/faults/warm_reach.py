# SPDX-License-Identifier: MIT
"""warm_reach.py PARENT SECONDS: tries to get hold of every new child of a process as soon as it is seen, by tracing it
and by stopping it, and lets go after a moment; prints "PROGRAM taken" for a channel to that process that it took, "held
COUNT" and "done". Before a handler waits for a client there is nothing else of superd's or of a client's to take."""

import errno
import os
import signal
import socket
import stat
import sys
import time

from reach import PIDFD_GETFD, PIDFD_OPEN, called, new_processes, parent_of, trace

HOLDS = 0.05


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


def hold(pid):
    trace(pid, HOLDS)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    time.sleep(HOLDS)
    os.kill(pid, signal.SIGCONT)


def main():
    parent, held = int(sys.argv[1]), 0
    for pid in new_processes(float(sys.argv[2])):
        for way in (take_descriptors, hold, stop):
            try:
                if parent_of(pid) == parent:
                    way(pid)
                    held += 1
            except OSError:
                pass
    print(f"held {held}\ndone", flush=True)


main()
