# SPDX-License-Identifier: MIT
"""One service of every model and kind of socket, a client for each, and superd's own word on them."""

import contextlib
import json
import os
import socket

from harness import handler
from harness.wire import Reader, connect, uri_parts

REFUSED = b"too many of you\n"
AGAIN = 1.0  # seconds after which a datagram is sent again: like any datagram, it may be dropped on its way

# Services whose handlers superd does not start for each client.
POOLS = ("pool", "later", "datagram-pool", "threads")
OWNERS = ("owner",)


def services(folder):
    """Name to keys. The addresses are any free ones, and paths in `folder`."""
    tcp, udp, unix = "tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix://{folder}/"
    echo = handler("superd-echo")
    found = {
        "fork": dict(listen=tcp, model="fork", exec=["cat"]),
        "fork6": dict(listen="tcp://[::1]:0", model="fork", exec=["cat"],
                      log={"connections": "all", "usage": True}),
        "noisy": dict(listen=tcp, model="fork", exec=["sh", "-c", "echo a word >&2; exec cat"]),
        "unix": dict(listen=unix + "stream.sock", model="fork", exec=["cat"]),
        "seqpacket": dict(listen=f"unix-seqpacket://{folder}/seqpacket.sock", model="fork", exec=["cat"]),
        "datagram": dict(listen=udp, model="fork", exec=["cat"]),
        "unix-datagram": dict(listen=f"unix-dgram://{folder}/dgram.sock", model="fork", exec=["cat"]),
        "iterative": dict(listen=tcp, model="iterative", exec=["cat"]),
        "owner": dict(listen=udp, model="iterative", exec=[echo, "--idle", "1"]),
        "delayed": dict(listen=tcp, model="delayed", exec=["cat"], delayed={"delay": "50ms"}),
        "later": dict(listen=tcp, model="delayed", handoff="listen", exec=[echo], delayed={"delay": "50ms"},
                      prefork={"max_idle": "300ms"}),
        "parked": dict(listen=tcp, model="prefork", exec=["cat"], prefork={"min_spare": 2, "max_spare": 2}),
        "warm": dict(listen=tcp, model="prefork", exec=["cat"],
                     prefork={"warm": "clone", "min_spare": 1, "max_spare": 2}),
        "pool": dict(listen=tcp, model="prefork", handoff="listen", exec=[echo],
                     prefork={"min_spare": 2, "max_spare": 4, "max_requests": 50, "max_idle": "300ms"}),
        "datagram-pool": dict(listen=udp, model="prefork", exec=[echo], prefork={"min_spare": 2, "max_spare": 2}),
        "held": dict(listen=tcp, model="fork", exec=["cat"], limits={"per_source": 1, "wait_timeout": "1m"}),
        "turned-away": dict(listen=tcp, model="fork", exec=["cat"],
                            limits={"per_source": 1, "on_excess": "reject", "reject_text": REFUSED.decode()}),
    }
    return {name: {"stop_timeout": "1s", **keys} for name, keys in found.items()}


# A service whose handler does not start: the file is neither a script nor a program.
BROKEN = dict(listen="tcp://127.0.0.1:0", model="fork", limits={"on_excess": "close"})


def exchange(uri, data, patience, came=lambda: None):
    """One client: sends `data` and compares the answer. Returns "served", "refused", "closed" (without an answer), or
    what went wrong. `came` is called for each connection and each datagram that superd must see."""
    if uri_parts(uri)[0] in ("udp", "unix-dgram"):
        return exchange_datagram(uri, data, patience, came)
    try:
        with connect(uri, timeout=patience) as sock:
            came()
            sock.sendall(data + b"\n")
            line = sock.recv(4096) if uri.startswith("unix-seqpacket") else Reader(sock).line() + b"\n"
            if line == data + b"\n":
                return "served"
            return "refused" if line == REFUSED else "closed" if line.strip() == b"" else f"answer {line!r}"
    except (ConnectionResetError, BrokenPipeError):
        return "closed"
    except OSError as error:
        return repr(error)


def exchange_datagram(uri, data, patience, came):
    try:
        with connect(uri, timeout=AGAIN) as sock:
            for _ in range(int(patience / AGAIN)):
                try:
                    sock.send(data + b"\n")
                    came()
                    answer = sock.recv(4096)
                    return "served" if answer == data + b"\n" else f"answer {answer!r}"
                except (TimeoutError, ConnectionRefusedError):
                    pass
    except OSError as error:
        return repr(error)
    return "closed"


class Control:
    """superd's control socket, used as superctl does. Raises OSError if superd does not answer."""

    def __init__(self, path, patience=30.0):
        self.path, self.patience = path, patience

    @contextlib.contextmanager
    def connected(self):
        """A connection on which one thing after the other is asked: a function for that."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(self.patience)
            sock.connect(self.path)
            reader = Reader(sock)

            def ask(verb, **words):
                sock.sendall(json.dumps({"version": 1, "verb": verb, **words}).encode() + b"\n")
                line = reader.line()
                if not line:
                    raise ConnectionError(f"no answer to {verb}")
                return json.loads(line)
            yield ask

    def ask(self, verb, **words):
        with self.connected() as ask:
            return ask(verb, **words)

    def services(self):
        return {service["name"]: service for service in self.told("status", "services")}

    def processes(self):
        return self.told("processes", "processes")

    def told(self, verb, what, **words):
        answer = self.ask(verb, **words)
        if not answer["ok"]:
            raise OSError(f"{verb}: {answer['error']}")
        return answer[what]


LOSING = ("instances", "max_load", "denied", "time", "per_source", "per_source_rate", "wait_timeout", "exec_failed")


def imbalance(name, service, unaccepted=0):
    """What is wrong with the counters of an idle service, as text; "" if they agree. `unaccepted`: this many of the
    clients counted as gone could not be accepted, rather than left."""
    started, exits, refused = service["started"], service["exits"], service["refused"]
    wrong = []
    ended = sum(exits.values()) + service["spawn_failures"]
    if started != ended + service["handlers"]:
        wrong.append(f"started {started} != ended {ended} + running {service['handlers']}")
    if name not in POOLS + OWNERS:
        lost = sum(refused[reason] for reason in LOSING)
        # A process that did not reach its program counts both as started and as refused.
        served = started - service["spawn_failures"]
        rest = service["accepted"] - served - lost - service["held"] - service["stalled"]
        if rest != refused["gone"] - unaccepted:
            wrong.append(f"accepted {service['accepted']} != served {served} + refused {lost} + held "
                         f"{service['held']} (gone {refused['gone']})")
    if service["held"] + service["stalled"] > 0:
        wrong.append(f"held {service['held']}, stalled {service['stalled']}")
    if name not in POOLS + OWNERS and service["handlers"] > 0:
        wrong.append(f"{service['handlers']} handlers run")
    return "; ".join(wrong)


def write_all(daemon, **more):
    """Every service's definition into the daemon's folder, with `more` in each environment."""
    # LeakSanitizer stops its process by ptrace. A worker gets SIGCONT when superd dies, which undoes that stop, and the
    # worker would wait for it for ever.
    more["ASAN_OPTIONS"] = "detect_leaks=0"
    path = daemon.script("broken", "neither\n") if not os.path.exists(daemon.path("broken")) \
        else daemon.path("broken")
    everything = {**services(daemon.directory), "broken": dict(BROKEN, exec=[path])}
    for name, keys in everything.items():
        daemon.service(name, **{**keys, "environment": more})
    return everything
