# SPDX-License-Identifier: MIT
"""neighbours_silent.py KIND: a worker that reports nothing and handles no signal. It sends its pid to each client,
waits for a line, sends "answer" and waits for the end; with one thread, a thread or a child for each client, or a
loop; or it is one that cannot be stopped, or inspected quickly."""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time

CLONE, CLONE_VFORK = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x4000
PTRACE, SEIZE = {"x86_64": 101, "aarch64": 117}[os.uname().machine], 0x4206
EVENTS = {"epoll": select.epoll, "poll": select.poll}

libc = ctypes.CDLL(None, use_errno=True)
listener = socket.socket(fileno=os.dup(0))


def converse(client, meanwhile=lambda: None):
    client.sendall(b"%d\n" % os.getpid())
    if meanwhile() is None:
        client.recv(100)
    client.sendall(b"answer\n")
    client.recv(100)
    client.close()


def compute():
    """A client's answer is always on its way, without a system call."""
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        sum(range(10000))
    return True


def sleep():
    time.sleep(4)
    return True


def loop(kind):
    """Clients wait in the same call as the listening socket."""
    events, clients = EVENTS[kind](), {}
    readable = getattr(select, kind.upper() + "IN")
    events.register(listener.fileno(), readable)
    while True:
        for number, _ in events.poll():
            if number == listener.fileno():
                client, _ = listener.accept()
                client.sendall(b"%d\n" % os.getpid())
                clients[client.fileno()] = client
                events.register(client.fileno(), readable)
            elif clients[number].recv(100):
                clients[number].sendall(b"answer\n")
            else:
                events.unregister(number)
                clients.pop(number).close()


def by_child(client):
    if os.fork() == 0:
        converse(client)
        os._exit(0)
    client.close()


def spoil(kind):
    """What keeps a process from being stopped or looked at."""
    if kind == "vfork":  # sleeps in a place that ignores signals
        while True:
            if libc.syscall(CLONE, CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
                time.sleep(60)
                os._exit(0)
    elif kind == "descriptors":
        for _ in range(19900):
            os.dup(0)
    elif kind == "many-threads":
        for _ in range(300):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    elif kind == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "traced":
        parent = os.getpid()
        if os.fork() == 0:
            libc.syscall(PTRACE, SEIZE, parent, 0, 0)
            while True:
                time.sleep(60)  # anything that comes to the other stays with this one
    while True:
        time.sleep(60)


def main(kind, ready=""):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if ready:
        with open(ready, "w", encoding="ascii"):
            pass
        spoil(kind)
    if kind in EVENTS:
        loop(kind)
    while True:
        client, _ = listener.accept()
        if kind == "threads":
            threading.Thread(target=converse, args=(client,)).start()
        elif kind == "child":
            by_child(client)
        else:
            converse(client, {"compute": compute, "sleep": sleep}.get(kind, lambda: None))


main(*sys.argv[1:])
