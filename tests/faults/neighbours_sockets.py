# SPDX-License-Identifier: MIT
"""superd's own listening sockets, as root sees them through pidfd_getfd(2)."""

import contextlib
import ctypes
import os
import select
import socket
import struct
import zlib

from harness import process
from harness.wire import uri_parts

PIDFD_OPEN, PIDFD_GETFD = 434, 438
SO_GET_FILTER, SO_LOCK_FILTER = 26, 44
SOL, TCP, IP = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP

# What a client or the next holder of the socket would notice: connections inherit it, or it decides about them.
OPTIONS = {
    "keepalive": (SOL, socket.SO_KEEPALIVE), "receive buffer": (SOL, socket.SO_RCVBUF),
    "send buffer": (SOL, socket.SO_SNDBUF), "priority": (SOL, socket.SO_PRIORITY),
    "broadcast": (SOL, socket.SO_BROADCAST), "low water": (SOL, socket.SO_RCVLOWAT),
    "linger": (SOL, socket.SO_LINGER),
    "pacing": (SOL, 47), "device": (SOL, socket.SO_BINDTODEVICE),
    "ttl": (IP, socket.IP_TTL), "tos": (IP, socket.IP_TOS), "least ttl": (IP, 21),
    "nodelay": (TCP, socket.TCP_NODELAY), "defer accept": (TCP, socket.TCP_DEFER_ACCEPT),
    "keepalive time": (TCP, socket.TCP_KEEPIDLE), "keepalive interval": (TCP, socket.TCP_KEEPINTVL),
    "keepalive probes": (TCP, socket.TCP_KEEPCNT), "user timeout": (TCP, socket.TCP_USER_TIMEOUT),
    "cork": (TCP, socket.TCP_CORK), "congestion": (TCP, socket.TCP_CONGESTION),
}

libc = ctypes.CDLL(None, use_errno=True)


def taken(pid, number):
    """A copy of another process's descriptor, or None."""
    pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
    if pidfd < 0:
        return None
    try:
        copy = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)
    return copy if copy >= 0 else None


@contextlib.contextmanager
def bound(pid, uri):
    """Copies of all sockets of a process that are bound to an address. A path may have a longer name: such a socket
    was bound next to another and renamed."""
    address = uri_parts(uri)[1:]
    wanted = address[0] if len(address) == 1 else address
    found = []
    try:
        for number, what in process.descriptors(pid).items():
            if not what.startswith("socket:") or (copy := taken(pid, number)) is None:
                continue
            sock = socket.socket(fileno=copy)
            with contextlib.suppress(OSError, AttributeError, TypeError):  # of another family
                name = sock.getsockname()
                if name == wanted or (name.startswith(wanted + "~") if len(address) == 1 else name[:2] == wanted):
                    found.append(sock)
                    continue
            sock.close()
        yield found
    finally:
        for sock in found:
            sock.close()


def filter_of(sock):
    """The socket's filter as a short text; "" if there is none."""
    instructions = ctypes.create_string_buffer(4096 * 8)
    count = ctypes.c_int(4096)
    if libc.getsockopt(sock.fileno(), SOL, SO_GET_FILTER, instructions, ctypes.byref(count)) != 0:
        return "?"
    code = instructions.raw[:count.value * 8]
    return f"{count.value} instructions, {zlib.crc32(code):x}" if code else ""


def state(sock):
    """Everything that a worker can change on it, except O_NONBLOCK and the time to wait for a client, which concern
    only the next holder."""
    watch = select.poll()
    watch.register(sock, select.POLLRDHUP)
    found = {"filter": filter_of(sock), "shut down": bool(watch.poll(0)),
             "locked": sock.getsockopt(SOL, SO_LOCK_FILTER),
             "listening": sock.getsockopt(SOL, socket.SO_ACCEPTCONN)}
    try:
        found["peer"] = sock.getpeername()
    except OSError:
        found["peer"] = None
    for name, (level, option) in OPTIONS.items():
        if level != SOL and sock.family == socket.AF_UNIX or level == TCP and sock.type == socket.SOCK_DGRAM:
            continue
        with contextlib.suppress(OSError):
            found[name] = sock.getsockopt(level, option, 64)
    if sock.family != socket.AF_UNIX and sock.type == socket.SOCK_STREAM and found["listening"]:
        found["backlog"] = struct.unpack_from("I", sock.getsockopt(TCP, socket.TCP_INFO, 104), 28)[0]  # tcpi_sacked
    return found


def states(pid, uri):
    with bound(pid, uri) as sockets:
        return [state(sock) for sock in sockets]


def changes(before, after):
    return {name: (before.get(name), after.get(name)) for name in {*before, *after}
            if before.get(name) != after.get(name)}
