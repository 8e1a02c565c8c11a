# SPDX-License-Identifier: MIT
"""Passes descriptors whose last close sleeps for LINGER seconds: TCP sockets with unread data.

    large LINGER ADDRESS                                     a file, over datagrams, that takes long to be freed
    connect LINGER KIND ADDRESS COUNT stay|leave [REQUEST]   by a stranger, over connections or datagrams of his own
    pair LINGER PID                                          over the pair of another process of the same user
    answer LINGER                                            as a datagram's handler, over its stdout
    report LINGER                                            as a worker, over SUPERD_STATUS_FD; then it echoes

Each prints the outcome of each send, "sent" or an error, and "done"; a stranger stays until stdin ends."""

import array
import ctypes
import errno
import os
import socket
import struct
import sys
import time

KINDS = {"unix": socket.SOCK_STREAM, "unix-dgram": socket.SOCK_DGRAM, "unix-seqpacket": socket.SOCK_SEQPACKET}
SHAPES = ("plain", "many", "nested")
LARGE = 1536 << 20
PIDFD_OPEN, PIDFD_GETFD = 434, 438

linger = 0
peers = []  # stay open, and read nothing


def poison():
    """A socket that cannot be closed at once."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peers.extend([server, server.accept()[0]])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
    client.setblocking(False)
    try:
        while True:
            client.send(bytes(65536))
    except BlockingIOError:
        return client


def pass_on(sock, descriptors, text):
    rights = array.array("i", [descriptor.fileno() for descriptor in descriptors])
    sock.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT)


def send(sock, shape, text=b"poison\n", ahead=b""):
    """One, several in one message, or one in the queue of a socket that is passed. `ahead`: messages that keep superd
    busy until our own copy is closed, or we would be the last to close it."""
    descriptors = [poison() for _ in range(3 if shape == "many" else 1)]
    if shape == "nested":
        outer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        pass_on(outer[0], descriptors, b"inner")
        descriptors.append(outer[1])
        outer[0].close()
    for _ in range(20 if ahead else 0):
        sock.send(ahead)
    try:
        pass_on(sock, descriptors[-1:] if shape == "nested" else descriptors, text)
        outcome = "sent"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    for descriptor in descriptors:
        if outcome != "sent" and descriptor.family == socket.AF_INET:  # the last reference: closed at once
            descriptor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        descriptor.close()
    return outcome


def connect(kind, address, count, how, request=""):
    address = "\0" + address[1:] if address.startswith("@") else address
    socks = []
    for number in range(int(count)):
        sock = socket.socket(socket.AF_UNIX, KINDS[kind])
        sock.connect(address)
        if request:
            sock.sendall(request.encode() * 100)
        tell(send(sock, SHAPES[number % len(SHAPES)]))
        if how == "stay":
            socks.append(sock)
        else:
            sock.close()
    print("done", flush=True)
    sys.stdin.read()


def large(address):
    """Nobody sleeps over this one; the process that drops it last is busy for as long, and no signal ends that."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        file = os.memfd_create("large")
        for _ in range(LARGE >> 20):
            os.write(file, bytes(1 << 20))
        try:
            for _ in range(20):
                sock.send(b"ahead")
            socket.send_fds(sock, [b"large"], [file])
            outcome = "sent"
        except OSError as error:
            outcome = errno.errorcode[error.errno]
        os.close(file)
    tell(outcome)
    print("done", flush=True)


def tell(outcome):
    print(outcome, flush=True)


def pair(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(PIDFD_OPEN, int(pid), 0)
    taken = libc.syscall(PIDFD_GETFD, pidfd, 0, 0)
    if taken < 0:
        tell("not taken")
    else:
        sock = socket.socket(fileno=taken)
        for shape in SHAPES:
            tell(send(sock, shape, struct.pack("i", 2)))
            tell(send(sock, shape, struct.pack("i", 2) + bytes(60)))
    print("done", flush=True)
    sys.stdin.read()


def answer():
    out = socket.socket(fileno=os.dup(1))
    outcomes = [send(out, shape, text, b"ahead") for shape in SHAPES for text in (b"", b"poisoned")]
    out.send(" ".join(outcomes).encode())
    time.sleep(2 * linger)  # our end of the pair would end the sleep


def report():
    status = socket.socket(fileno=os.dup(int(os.environ["SUPERD_STATUS_FD"])))
    outcomes = [send(status, shape, text, b"idle\nbusy\n") for shape in SHAPES for text in (b"idle\n", b"nonsense")]
    listener = socket.socket(fileno=os.dup(0))
    while True:
        client, _ = listener.accept()
        client.sendall(" ".join(outcomes).encode() + b"\n")
        client.close()


def main(what, seconds, *words):
    global linger  # pylint: disable=global-statement
    linger = int(seconds)
    {"large": large, "connect": connect, "pair": pair, "answer": answer, "report": report}[what](*words)


main(*sys.argv[1:])
