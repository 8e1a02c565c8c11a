# SPDX-License-Identifier: MIT
"""A superd with every service at once, and its state when nobody uses it."""

import collections
import re
import signal
import socket

import everything
from everything import LOSING, OWNERS, POOLS, Control
from harness import process
from harness.daemon import PATIENCE
from harness.manager import Manager
from harness.wire import uri_parts
from injection import Clients, until

CLIENT_PATIENCE = 30.0
UNACCEPTED = re.compile(r"accept4\(.*(ECONNABORTED|EPROTO|EPERM)")  # counted as gone, while it waits in the backlog
UNHEARD = re.compile(r"sendmsg\(.*FDSTOREREMOVE.* = -1 (EPERM|EPIPE)")  # which is not sent to the manager again


def exchange(uri, data, came):
    return everything.exchange(uri, data, CLIENT_PATIENCE, came)


class Sockets:
    """The sockets of a superd: their names, except those of nameless SOCK_SEQPACKET pairs, over which it speaks to a
    worker, a parked process or a datagram's handler; and how many of those pairs there are."""

    # The kernel names an end that wants to know the sender's credentials when it sends something itself.
    PAIR = re.compile(r"unix seqpacket( @[0-9a-f]{5})?")
    OWN = 2  # both ends of the pair by which a connection comes back from an exec that failed

    STATES = {"01": "to", "0A": "listens"}
    TYPES = {"0001": "stream", "0002": "datagram", "0005": "seqpacket"}

    def __init__(self, pid):
        tables = {kind: self.table(pid, kind) for kind in ("unix", "tcp", "tcp6", "udp", "udp6")}
        inodes = [target[8:-1] for target in process.descriptors(pid).values() if target.startswith("socket:[")]
        names = {}
        for kind, lines in tables.items():
            names.update((self.of_unix if kind == "unix" else self.of_inet)(kind, lines, set(inodes)))
        self.pairs, self.others = -self.OWN, []
        for inode in inodes:
            name = names.get(inode, "a socket of no known kind")
            if self.PAIR.fullmatch(name):
                self.pairs += 1
            else:
                self.others.append(name)

    @staticmethod
    def table(pid, kind):
        with open(f"/proc/{pid}/net/{kind}", encoding="utf-8", errors="replace") as table:
            return list(table)[1:]

    @classmethod
    def of_unix(cls, _, lines, wanted):
        found = {}
        for line in lines:
            _, _, _, _, kind, _, inode, *path = line.split(maxsplit=7)
            if inode in wanted:
                found[inode] = " ".join(["unix", cls.TYPES.get(kind, kind), *(part.strip() for part in path)])
        return found

    @classmethod
    def of_inet(cls, kind, lines, wanted):
        """Thousands of others are there: what clients of all tests have closed waits for a minute."""
        def address(text):
            host, port = text.split(":")
            words = [bytes.fromhex(host[at:at + 8])[::-1] for at in range(0, len(host), 8)]
            family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
            return f"{socket.inet_ntop(family, b''.join(words))}:{int(port, 16)}"
        found = {}
        for line in lines:
            _, local, remote, state, *rest = line.split(maxsplit=10)
            if rest[5] in wanted:
                peer = f" {address(remote)}" if state == "01" else ""
                found[rest[5]] = f"{kind} {address(local)} {cls.STATES.get(state, 'state ' + state)}{peer}"
        return found


def measure(control, pid):
    """Descriptors of a superd by kind: sockets by name, and pairs only beyond one for each process that may have one,
    since superd reaps a process some time after it has closed its pair. The connection that asks for the processes is
    open all the time, so it counts each time; earlier ones are closed, since superd has answered again since then."""
    with control.connected() as ask:
        answer = ask("processes")
        if "processes" not in answer:  # a failing call has met this very question
            raise OSError(answer)
        children = answer["processes"]
        ask("list")
        sockets = Sockets(pid)
        targets = process.descriptors(pid).values()
    kinds = collections.Counter(target.split(":")[0] for target in targets if not target.startswith("socket:"))
    kinds += collections.Counter(sockets.others)
    if (more := sockets.pairs - sum(child["kind"] in ("worker", "parked", "template") for child in children)) > 0:
        kinds["pair"] = more
    return kinds


class Subject:
    """A superd with every service, and its state when nobody uses it. `exact`: all its clients come from `visit`, so
    that each of its counters can be predicted."""

    def __init__(self, test, prefix=(), leaks=True, exact=False):
        self.manager = Manager()
        test.addCleanup(self.manager.stop)
        options = {} if leaks else {"ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=10"}
        self.daemon = test.prepare(prefix=prefix, environment={**self.manager.environment, **options},
                                   log_level="info")
        self.daemon.arguments += ["--pid-file", self.daemon.path("pid")]
        self.names = everything.write_all(self.daemon)
        self.control = Control(self.daemon.control)
        self.exact = exact
        self.round_number = 0
        self.uris, self.rest = {}, None
        self.came = collections.Counter()
        self.ends = collections.defaultdict(collections.Counter)
        self.forgiven = collections.Counter()  # clients that a fault may have lost, by service
        self.unaccepted = collections.Counter()
        self.kept_by_manager = 0

    def start(self):
        self.daemon.start()
        self.find()
        return self

    def find(self):
        """Where everything listens, once it does. The log may have lost a line, and the control socket may be
        missing."""
        def listeners():
            try:
                found = {name: self.control.services()[name]["listeners"][0] for name in self.names}
            except (OSError, KeyError):
                return None
            return all(listener["open"] for listener in found.values()) and found
        if found := until(listeners, patience=10):
            self.uris = {name: listener["address"] for name, listener in found.items()}
        else:
            self.uris = {name: self.daemon.address(name) for name in self.names}

    def ready(self):
        """Also True if it will never be."""
        if not self.alive() or self.daemon.find(lambda record: record["message"].startswith("ready")):
            return True
        try:
            return self.control.ask("list")["ok"]
        except OSError:
            return False

    def fallible(self, verb, **words):
        """Asks twice: a fault may end the first connection to the control socket."""
        for last in (False, True):
            try:
                return self.control.ask(verb, **words)
            except OSError:
                if last:
                    raise

    def visit(self, each=1, meanwhile=lambda: None, hopeless=lambda: False):
        """Clients of every service; returns those that were not served, by service."""
        clients = Clients(self.uris, each, exchange)
        try:
            meanwhile()
        finally:
            ends = clients.join(hopeless)
            self.came += clients.came
            for name, counts in ends.items():
                self.ends[name] += counts
        return unserved(ends)

    def round(self, each=2, hopeless=lambda: False):
        """Clients of every service while superd is reloaded, asked and commanded; returns those that were not
        served."""
        return self.visit(each, self.meddle, hopeless)

    def meddle(self):
        self.round_number += 1
        number = str(self.round_number)
        everything.write_all(self.daemon, ROUND=number)
        self.daemon.service("extra", listen=[f"unix://{self.daemon.path('extra.sock')}", "tcp://127.0.0.1:0"],
                            model="fork", exec=["cat"])
        self.fallible("reload")
        for verb, words in (("list", {}), ("metrics", {}), ("processes", {}), ("pause", {"service": "fork"}),
                            ("explain", {"service": "fork", "client": "127.0.0.1"}), ("resume", {"service": "fork"})):
            self.fallible(verb, **words)
        self.daemon.process.send_signal(signal.SIGUSR1)
        self.daemon.remove("extra")
        self.daemon.process.send_signal(signal.SIGHUP)

    def service_of(self, line):
        """Whose socket a line of strace is about; None if no service's."""
        for name, uri in self.uris.items():
            scheme, *address = uri_parts(uri)
            text = address[0] if scheme.startswith("unix") else f":{address[1]}"
            if re.search(re.escape(text) + r'(?!\d)', line):
                return name
        return None

    def note_fault(self, line):
        """A call went wrong, which may affect a service's counters."""
        if UNACCEPTED.search(line):
            self.unaccepted[self.service_of(line)] += 1
        self.kept_by_manager += UNHEARD.search(line) is not None

    def measure(self):
        return measure(self.control, self.daemon.pid)

    def settle(self):
        """Allocates what is allocated once, and records the idle state for `unrest` to compare with."""
        self.rest = None
        self.round()
        self.round()
        self.control.ask("reload")
        if not until(lambda: not self.unrest()):
            raise AssertionError(self.unrest())
        self.note_rest()

    def note_rest(self):
        """What is the same for a while counts."""
        seen = [self.measure()]
        if not until(lambda: seen.append(self.measure()) or len(seen) > 5 and seen[-5:] == seen[-1:] * 5, pause=0.1):
            raise AssertionError(f"never at rest: {seen[-5:]}")
        self.rest = seen[-1]

    def unrest(self):
        """What differs from the idle state once all clients have left; "" if nothing does."""
        try:
            services = self.control.services()
            wrong = [f"{name}: {text}" for name, service in services.items()
                     if (text := everything.imbalance(name, service, self.unaccepted[name]) or
                         (self.miscounted(name, service) if self.exact else ""))]
            if self.rest is not None and (now := self.measure()) != self.rest:
                wrong.append(f"descriptors {dict(now - self.rest)} more, {dict(self.rest - now)} less")
            if open_to_children := process.kept_by_exec(self.daemon.pid):
                wrong.append(f"descriptors that an exec would keep: {open_to_children}")
            children = {child["pid"] for child in self.control.processes()}
        except OSError as error:
            return repr(error)
        strangers = [child.pid for child in process.children(self.daemon.pid) if child.pid not in children]
        if strangers:
            wrong.append(f"children that superd does not know of, or has not reaped: {strangers}")
        listeners = sum(len(service["listeners"]) for service in services.values())
        if len(self.manager.store) != listeners + self.kept_by_manager:
            wrong.append(f"{len(self.manager.store)} sockets in the manager's store")
        told = [pairs for pairs in self.manager.said if "READY" in pairs or "RELOADING" in pairs]
        if not told or "READY" not in told[-1]:
            wrong.append("the manager was not told that it is ready")
        return "; ".join(wrong)

    def miscounted(self, name, service):
        """Counters of one service that differ from what its clients have seen."""
        ends, refused, exits = self.ends[name], service["refused"], service["exits"]
        wrong = [f"{count} handlers {how}" for how in ("failed", "killed") if (count := exits[how])]
        if name in POOLS + OWNERS:
            return "; ".join(wrong)
        scheme = uri_parts(self.uris[name])[0]
        client = "uid:0" if scheme.startswith("unix") else "127.0.0.1"
        for step in self.control.told("explain", "steps", service=name, client=client):
            if step["step"] in ("instances", "per_source") and not step["text"].startswith("0 of "):
                wrong.append(f"{step['step']}: {step['text']}")
        if service["accepted"] != self.came[name]:
            wrong.append(f"accepted {service['accepted']} of {self.came[name]} that came")
        counted = {"served": service["started"] - service["spawn_failures"], "refused": refused["per_source"],
                   "closed": refused["exec_failed"]}
        if scheme in ("udp", "unix-dgram"):
            counted["served"] -= self.came[name] - sum(ends.values())  # answers that were lost on their way
        for end, count in counted.items():
            if abs(count - ends[end]) > self.forgiven[name]:
                wrong.append(f"{count} counted as {end}, {ends[end]} were")
        others = {reason: refused[reason] for reason in LOSING if reason not in ("per_source", "exec_failed")}
        if any(others.values()):
            wrong.append(f"refused: {others}")
        return "; ".join(wrong)

    def alive(self):
        return self.daemon.process is not None and self.daemon.process.poll() is None

    def verdict(self, patience=PATIENCE):
        """After the fault: what is wrong; "" if superd does everything that it did before."""
        if not self.alive():
            return f"superd ended with status {self.daemon.process.returncode}"
        try:
            answer = until(lambda: (said := self.control.ask("reload"))["ok"] and said, patience=5)
            if not answer:
                return f"reload: {self.control.ask('reload')}"
        except OSError as error:
            return f"reload: {error!r}"
        if lost := self.visit():
            return f"not served afterwards: {lost}"
        return "" if until(lambda: not self.unrest(), patience) else self.unrest()


def unserved(ends):
    """Outcomes of clients: those that did not get what the service is for."""
    lost = {}
    for name, counts in ends.items():
        fine = {"broken": ("closed",), "turned-away": ("served", "refused")}.get(name, ("served",))
        bad = {end: number for end, number in counts.items() if end not in fine}
        if bad:
            lost[name] = bad
    return lost
