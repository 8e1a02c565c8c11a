# SPDX-License-Identifier: MIT
"""neighbours_worker.py FOLDER NAME: a worker that spoils the listening socket that it was given, once FOLDER/NAME.do
says how; FOLDER/NAME.done says that it has. It ends when FOLDER/NAME.end is there.

Under "storm" it does everything that it knows again and again; under "orphan" a process of another session does, which
it leaves behind."""

import ctypes
import os
import socket
import struct
import sys
import time

SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER, SO_MAX_PACING_RATE, IP_MINTTL = 26, 27, 44, 47, 21
NO_ONE = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: ret 0
DENY = struct.pack("HxxxxxxP", 1, ctypes.addressof(NO_ONE))

TCP, IP, SOL = socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.SOL_SOCKET
OPTIONS = [
    (SOL, socket.SO_KEEPALIVE, 1), (SOL, socket.SO_RCVBUF, 2304), (SOL, socket.SO_SNDBUF, 4608),
    (SOL, socket.SO_PRIORITY, 5), (SOL, socket.SO_BROADCAST, 1), (SOL, socket.SO_RCVLOWAT, 100000),
    (SOL, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000)), (SOL, socket.SO_LINGER, struct.pack("ii", 1, 30)),
    (SOL, SO_MAX_PACING_RATE, 1), (SOL, socket.SO_DONTROUTE, 1), (SOL, socket.SO_BINDTODEVICE, b"lo"),
    (IP, socket.IP_TTL, 3), (IP, socket.IP_TOS, 0x10), (IP, IP_MINTTL, 255),
    (TCP, socket.TCP_NODELAY, 1), (TCP, socket.TCP_DEFER_ACCEPT, 60), (TCP, socket.TCP_KEEPIDLE, 77),
    (TCP, socket.TCP_KEEPINTVL, 7), (TCP, socket.TCP_KEEPCNT, 3), (TCP, socket.TCP_USER_TIMEOUT, 1),
    (TCP, socket.TCP_MAXSEG, 88), (TCP, socket.TCP_CORK, 1), (TCP, socket.TCP_CONGESTION, b"reno"),
]


def set_options(sock):
    for level, name, value in OPTIONS:
        if level == TCP and (sock.family == socket.AF_UNIX or sock.type == socket.SOCK_DGRAM):
            continue
        try:
            sock.setsockopt(level, name, value)
        except OSError:
            pass


def lock(sock):
    sock.setsockopt(SOL, SO_ATTACH_FILTER, DENY)
    sock.setsockopt(SOL, SO_LOCK_FILTER, 1)


def lock_open(sock):
    ACTS["detach"](sock)
    sock.setsockopt(SOL, SO_LOCK_FILTER, 1)


def unconnect(sock):
    """connect(2) to no address: a listening socket stops listening, a bound one may lose its address."""
    nowhere = ctypes.create_string_buffer(16)
    if ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), nowhere, 16) != 0:
        raise OSError("connect")


def shutdown(sock):
    """On a datagram socket without a peer this is an error, and has its effect nevertheless."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        if sock.type != socket.SOCK_DGRAM:
            raise


def connect(sock):
    """From then on a datagram socket takes datagrams only from its peer."""
    sock.connect(sock.getsockname() if sock.family == socket.AF_UNIX else ("127.0.0.1", 9))


ACTS = {
    "detach": lambda sock: sock.setsockopt(SOL, SO_DETACH_FILTER, 0),
    "deny": lambda sock: sock.setsockopt(SOL, SO_ATTACH_FILTER, DENY),
    "lock": lock, "lock-open": lock_open,
    "shutdown": shutdown,
    "unconnect": unconnect,
    "connect": connect,
    "backlog": lambda sock: sock.listen(0),
    "nonblock": lambda sock: os.set_blocking(sock.fileno(), False),
    "block": lambda sock: os.set_blocking(sock.fileno(), True),
    "options": set_options,
}


def storm(sock):
    """First everything that a program can undo itself; then the rest."""
    begin = time.monotonic()
    while time.monotonic() < begin + 1:
        for name in ("detach", "deny", "shutdown", "unconnect", "backlog", "nonblock", "block", "options", "connect"):
            try:
                ACTS[name](sock)
            except OSError:
                pass
            time.sleep(0.001)
    try:
        lock(sock)
    except OSError:
        pass


def orphan(sock):
    if os.fork() == 0:
        os.setsid()
        while True:
            try:
                storm(sock)
            except OSError:
                time.sleep(0.01)


def main(folder, name):
    at = os.path.join(folder, name)
    sock = socket.socket(fileno=os.dup(0))
    with open(at + ".new", "w", encoding="ascii") as ready:
        ready.write(str(os.getpid()))
    os.rename(at + ".new", at + ".ready")
    while not os.path.exists(at + ".do"):
        time.sleep(0.005)
    with open(at + ".do", encoding="ascii") as what:
        act = {**ACTS, "storm": storm, "orphan": orphan}[what.read()]
    try:
        act(sock)
        said = "done"
    except PermissionError:
        said = "not permitted"
    except OSError as error:
        said = repr(error)
    with open(at + ".new", "w", encoding="utf-8") as done:
        done.write(said)
    os.rename(at + ".new", at + ".done")
    while not os.path.exists(at + ".end"):
        time.sleep(0.005)


main(*sys.argv[1:])
