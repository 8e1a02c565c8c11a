# SPDX-License-Identifier: MIT
"""Nothing is left after many connections: descriptors, processes and memory as before. tests/bench/soak makes more."""

import os
import threading
import unittest

from harness import Reader, SuperdCase, connect
from harness import process

CONNECTIONS = int(os.environ.get("SUPERD_SOAK", "3000"))
SANITIZED = bool(os.environ.get("SUPERD_SANITIZE"))


class NothingLeft(SuperdCase):
    MODELS = {
        "fork": dict(model="fork", exec=["cat"]),
        "prefork": dict(model="prefork", exec=["cat"], prefork={"min_spare": 3, "max_spare": 3}),
        "iterative": dict(model="iterative", exec=["cat"]),
        "delayed": dict(model="delayed", exec=["cat"]),
        "pool": dict(model="prefork", handoff="listen", exec=["superd-echo"], prefork={"min_spare": 2}),
    }
    STANDING = 3 + 2  # parked processes and workers, which are there without clients

    def load(self, daemon, count):
        """`count` connections over all services by four clients; one of seven leaves without a word, and one of
        eleven resets."""
        uris = [daemon.address(name) for name in self.MODELS] + [daemon.address("datagram")]
        failures = []

        def client(first):
            for number in range(first, count, 4):
                uri = uris[number % len(uris)]
                try:
                    with connect(uri) as sock:
                        if number % 7 == 0:
                            continue
                        sock.sendall(b"hello\n")
                        if number % 11 == 0 and uri.startswith("tcp"):
                            sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: a reset
                            continue
                        if Reader(sock).line() != b"hello":
                            failures.append(f"{uri}: no answer")
                except OSError as error:
                    failures.append(f"{uri}: {error!r}")

        clients = [threading.Thread(target=client, args=(first,)) for first in range(4)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        self.assertEqual(failures, [])

    def counts(self, daemon):
        states = daemon.status()
        return {
            "descriptors": len(process.descriptors(daemon.pid)),
            "children": len(process.children(daemon.pid)),
            "handlers": {name: int(state["handlers"]) for name, state in states.items() if name != "pool"},
        }

    def test_nothing_is_left(self):
        """After many connections of every model, broken ones among them: the same counts as before, by /proc."""
        daemon = self.prepare()
        for name, keys in self.MODELS.items():
            daemon.service(name, listen="tcp://127.0.0.1:0", **keys)
        daemon.service("datagram", listen="udp://127.0.0.1:0", model="fork", exec=["cat"])
        daemon.start()
        # What is allocated once is allocated before the count; a fifth of the load shows everything once.
        self.load(daemon, max(CONNECTIONS // 5, 300))
        settled = self.settle(daemon, None)
        memory = process.resident(daemon.pid)
        self.load(daemon, CONNECTIONS)
        self.settle(daemon, settled)
        grown = process.resident(daemon.pid) - memory
        print(f"{CONNECTIONS} connections: {settled}, memory {memory} KiB then {grown:+} KiB", flush=True)
        if not SANITIZED:
            self.assertLess(grown, 512, "KiB more than before")
        zombies = [child for child in process.children(daemon.pid) if child.state == "Z"]
        self.assertEqual(zombies, [])

    def settle(self, daemon, wanted):
        """The counts once all handlers have ended; equal to `wanted` where given."""
        def quiet():
            now = self.counts(daemon)
            if any(now["handlers"].values()) or now["children"] != self.STANDING:
                return None
            return now if wanted is None or now == wanted else None
        return self.eventually(quiet, f"the counts {wanted or 'at rest'} (now {self.counts(daemon)})")


if __name__ == "__main__":
    unittest.main()
