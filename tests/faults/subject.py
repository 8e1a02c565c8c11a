# SPDX-License-Identifier: MIT
"""A superd with every service at once, and what it is like when nobody asks anything of it."""

import collections
import signal

import everything
from everything import Control
from harness import process
from injection import Clients, until

CLIENT_PATIENCE = 30.0


def exchange(uri, data):
    return everything.exchange(uri, data, CLIENT_PATIENCE)


class Subject:
    """A superd with every service, and what it is like when nobody asks anything of it."""

    def __init__(self, test, prefix=(), leaks=True, unaccepted=False):
        options = {} if leaks else {"ASAN_OPTIONS": "detect_leaks=0"}
        self.daemon = test.prepare(prefix=prefix, environment=options, log_level="info")
        self.names = everything.write_all(self.daemon)
        self.control = Control(self.daemon.control)
        self.unaccepted = unaccepted
        self.round_number = 0
        self.uris, self.rest = {}, None

    def start(self):
        self.daemon.start()
        self.find()
        return self

    def find(self):
        """Where everything listens, once it does. The log may have lost a line, and the control socket be missing."""
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
        """True too where it will never be."""
        if not self.alive() or self.daemon.find(lambda record: record["message"].startswith("ready")):
            return True
        try:
            return self.control.ask("list")["ok"]
        except OSError:
            return False

    def fallible(self, verb, **words):
        """Asked twice: a fault may end the first connection to the control socket."""
        for last in (False, True):
            try:
                return self.control.ask(verb, **words)
            except OSError:
                if last:
                    raise

    def round(self, each=2):
        """Clients of every service while superd is reloaded, asked and told; what became of them."""
        self.round_number += 1
        number = str(self.round_number)
        clients = Clients(self.uris, each, exchange)
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
        return clients.join()

    def measure(self):
        """Descriptors that do not belong to a process with a pair of its own, by what they are."""
        paired = sum(child["kind"] in ("worker", "parked") for child in self.control.processes())
        kinds = collections.Counter(target.split(":")[0] for target in process.descriptors(self.daemon.pid).values())
        kinds["socket"] -= paired
        return kinds

    def settle(self):
        """What is made once is made, and what is left when all have gone is what `unrest` compares with."""
        self.rest = None
        self.round()
        self.round()
        self.control.ask("reload")
        if not until(lambda: not self.unrest()):
            raise AssertionError(self.unrest())
        self.rest = self.measure()

    def unrest(self):
        """What is not as it is to be once all clients have left; "" if all is."""
        try:
            services = self.control.services()
            wrong = [f"{name}: {text}" for name, service in services.items()
                     if (text := everything.imbalance(name, service, self.unaccepted))]
            if self.rest is not None and (now := self.measure()) != self.rest:
                wrong.append(f"descriptors {dict(now - self.rest)} more, {dict(self.rest - now)} less")
        except OSError as error:
            return repr(error)
        children = {child["pid"] for child in self.control.processes()}
        strangers = [child.pid for child in process.children(self.daemon.pid) if child.pid not in children]
        if strangers:
            wrong.append(f"children that superd does not know of, or has not reaped: {strangers}")
        return "; ".join(wrong)

    def alive(self):
        return self.daemon.process is not None and self.daemon.process.poll() is None

    def verdict(self):
        """After the fault: what is wrong; "" if superd does all that it did before."""
        if not self.alive():
            return f"superd ended with status {self.daemon.process.returncode}"
        try:
            answer = until(lambda: (said := self.control.ask("reload"))["ok"] and said, patience=5)
            if not answer:
                return f"reload: {self.control.ask('reload')}"
        except OSError as error:
            return f"reload: {error!r}"
        ends = Clients(self.uris, 1, exchange).join()
        if lost := unserved(ends):
            return f"not served afterwards: {lost}"
        return "" if until(lambda: not self.unrest()) else self.unrest()


def unserved(ends):
    """Of what became of clients: who did not get what the service is for."""
    lost = {}
    for name, counts in ends.items():
        fine = {"broken": ("closed",), "turned-away": ("served", "refused")}.get(name, ("served",))
        bad = {end: number for end, number in counts.items() if end not in fine}
        if bad:
            lost[name] = bad
    return lost
