# SPDX-License-Identifier: MIT
"""Handlers that reach for what is not theirs; each answers in one line with the outcome.

    keys NAME                what it finds of a session keyring in which there is a key of that name
    clear                    throws its user's keys away
    fill                     uses up the quota of keys of its user, then "answer"
    command SOCKET VERB HOW  gives superd a command over its control socket: "itself"; "orphan", which lives on by
                             itself; "gone", whose peer has ended when the command comes; "namespace", out of one of
                             processes of its own"""

import ctypes
import json
import os
import platform
import socket
import sys
import time

ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
CLEAR, SEARCH, READ = 7, 10, 11
SESSION, USER = -3, -4
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000

libc = ctypes.CDLL(None, use_errno=True)


def say(text):
    """To the client; of a worker, into the log."""
    try:
        os.write(1, text.encode() + b"\n")
    except OSError:
        os.write(2, text.encode() + b"\n")


def keys(name):
    found = libc.syscall(KEYCTL, SEARCH, SESSION, b"user", name.encode(), 0)
    if found < 0:
        say("none")
        return
    data = ctypes.create_string_buffer(100)
    size = libc.syscall(KEYCTL, READ, found, data, len(data))
    say("found " + data.raw[:max(0, size)].decode())


def clear():
    libc.syscall(KEYCTL, CLEAR, USER)
    say("answer")


def fill():
    for number in range(100000):
        if libc.syscall(ADD_KEY, b"user", b"fill-%d" % number, b"x" * 100, 100, USER) < 0:
            break
    say("answer")


def connected(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(path)
    return sock


def give(sock, verb, target):
    """The answer to one command."""
    request = {"version": 1, "verb": verb, **({"service": target} if verb in ("pause", "drain") else {}),
               **({"target": target, "signal": "KILL"} if verb == "kill" else {})}
    try:
        sock.sendall(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n") and (data := sock.recv(65536)):
            answer += data
        if not answer:
            return "closed"
        told = json.loads(answer)
        return "done" if told["ok"] else "refused: " + told["error"]
    except OSError as error:
        return repr(error)


def command(path, verb, how, target):
    if how == "orphan":
        if os.fork() > 0:
            return
        os.setsid()
        parent = os.getpid()
        if os.fork() > 0:
            os._exit(0)
        while os.getppid() == parent:
            time.sleep(0.01)
    elif how == "namespace":
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0:
            say("no namespace")
            return
        if child := os.fork():
            os.waitpid(child, 0)
            return
    if how == "gone":
        ours, theirs = socket.socketpair()
        if (child := os.fork()) == 0:
            sock = connected(path)
            socket.send_fds(theirs, [b"x"], [sock.fileno()])
            os._exit(0)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
        sock = socket.socket(fileno=descriptors[0])
        sock.settimeout(20)
    else:
        sock = connected(path)
    say(give(sock, verb, target))


def main(what, *words):
    {"keys": keys, "clear": clear, "fill": fill, "command": command}[what](*words)
    if what == "keys":
        time.sleep(0.2)  # a worker that ends at once would only be started again


main(*sys.argv[1:])
