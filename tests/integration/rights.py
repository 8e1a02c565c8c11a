# SPDX-License-Identifier: MIT
"""Descriptors that strangers pass to superd: a TCP socket that lingers for half a minute with unread data, so that the
process that drops its last reference sleeps as long."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

from harness import Reader, connect, process
from harness.daemon import PATIENCE
from harness.installation import python

SO_PASSRIGHTS = 83
LINGER = 30

# As a module of handlers, and as the program of an attacker: KIND ADDRESS COUNT leave|stay [REQUEST]. superd is stopped
# while any are sent, so that the sender's own close is not the last one.
POISON = f"""import os, pathlib, socket, struct, sys, time
KINDS = {{"unix": socket.SOCK_STREAM, "unix-dgram": socket.SOCK_DGRAM, "unix-seqpacket": socket.SOCK_SEQPACKET}}
peers = []

def poison():
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peers.extend([server, server.accept()[0]])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, {LINGER}))
    client.setblocking(False)
    try:
        while True:
            client.send(bytes(65536))
    except BlockingIOError:
        return client

def send(sock, text=b"poison"):
    client = poison()
    try:
        socket.send_fds(sock, [text], [client.fileno()])
        return "sent"
    except PermissionError:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        return "EPERM"
    finally:
        client.close()

def send_on_cue(sock, text):
    folder = pathlib.Path(__file__).parent / "cues"
    (folder / "ready").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    outcome = send(sock, text)
    (folder / "new").write_text(outcome)
    (folder / "new").rename(folder / "outcome")

def main(kind, address, count, how, request=""):
    socks = []
    for _ in range(int(count)):
        sock = socket.socket(socket.AF_UNIX, KINDS[kind])
        sock.connect(address)
        if request:
            sock.sendall(request.encode() * 100)
        print(send(sock), flush=True)
        if how == "stay":
            socks.append(sock)
        else:
            sock.close()
    print("done", flush=True)
    sys.stdin.read()

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def kernel_forbids():
    """Has this kernel the option?"""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
            return True
        except OSError:
            return False


def attack(test, daemon, uri, count=3, leave=True, request=""):
    """What happened to each descriptor that user nobody sent to `uri` while superd is stopped; superd stays stopped.
    The attacker keeps the other ends until the test ends."""
    pause(daemon)
    kind, address = uri.split("://")
    words = [python(), daemon.write("poison.py", POISON), kind, address, str(count), "leave" if leave else "stay"]
    attacker = subprocess.Popen([*words, *([request] if request else [])], text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                **as_nobody())
    test.addCleanup(attacker.communicate, timeout=PATIENCE)
    outcomes = []
    while (line := attacker.stdout.readline().strip()) != "done":
        test.assertTrue(line, attacker.stderr.read() if not line else "")
        outcomes.append(line)
    return outcomes


def pause(daemon):
    """superd does nothing until SIGCONT."""
    os.kill(daemon.pid, signal.SIGSTOP)
    while process.Process(daemon.pid).state not in "Tt":
        time.sleep(0.005)


def occupy(test, uri):
    """A connection of user nobody to a service of cat, whose handler has started."""
    kind, address = uri.split("://")
    assert kind in ("unix", "unix-seqpacket")
    words = "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_" + \
        ("STREAM" if kind == "unix" else "SEQPACKET") + ")\ns.connect(sys.argv[1])\ns.send(b'x\\n')\n" + \
        "print(s.recv(9), flush=True)\nsys.stdin.read()"
    occupant = subprocess.Popen([python(), "-c", words, address], text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, **as_nobody())
    test.addCleanup(occupant.communicate, timeout=PATIENCE)
    test.assertEqual(occupant.stdout.readline().strip(), repr(b"x\n"))


def as_nobody():
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@contextlib.contextmanager
def others(uri):
    """Keeps sending requests to another service. Yields a list; at the end its one item is the longest time that a
    client has waited, in seconds."""
    worst, end = [0.0], threading.Event()

    def ask():
        while not end.is_set():
            begin = time.monotonic()
            with connect(uri, timeout=3 * LINGER) as client:
                client.sendall(b"x\n")
                Reader(client).line()
            worst[0] = max(worst[0], time.monotonic() - begin)
            time.sleep(0.005)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield worst
        time.sleep(0.3)  # what superd has not dropped yet
    finally:
        end.set()
        asker.join()
