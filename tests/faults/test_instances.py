# SPDX-License-Identifier: MIT
"""Never more handlers than `instances`, whatever else happens. tests/faults/instances makes more connections."""

import os
import threading
import unittest

from faults import Counter, FaultCase, figure

CONNECTIONS = int(os.environ.get("SUPERD_FAULTS_CONNECTIONS", "3000"))
INSTANCES = 10


class Instances(FaultCase):
    def limits(self, number):
        """Limits that reloads go round through; `instances` stays."""
        rate = ["900/s", "1200/s", "1500/s"][number % 3]
        limits = {"instances": INSTANCES, "rate": rate, "burst": 5}
        if number % 4 == 3:
            limits["per_source"] = 100
        return limits

    def test_the_limit_holds(self):
        """Over many connections, with reloads and rate trips between, the handlers never count more than ten."""
        daemon = self.prepare()
        program = self.install(daemon)
        counter = Counter(daemon)

        def write(number):
            daemon.service("fault", listen="tcp://127.0.0.1:0", model="fork",
                           exec=[program, "count", counter.path, "2"],
                           limits=self.limits(number), environment={"RELOAD": str(number)})
        write(0)
        daemon.start()
        uri = daemon.address("fault")
        over = threading.Event()
        reloads = []

        def reload():
            while not over.wait(0.2):
                write(len(reloads) + 1)
                reloads.append(daemon.reload())

        reloading = threading.Thread(target=reload)
        load = self.load(uri, parallel=50, total=CONNECTIONS)
        reloading.start()
        try:
            figures = load.finish(timeout=3600)
        finally:
            over.set()
            reloading.join()
        self.all_served(figures, CONNECTIONS)
        running, most, total = counter.read()
        state = daemon.status()["fault"]
        figure(f"instances = {INSTANCES}: {CONNECTIONS} connections, {len(reloads)} reloads, "
               f"{state['refused_rate']} rate trips: at most {most} handlers at once, all served in "
               f"{figures['microseconds'] / 1e6:.1f} s")
        self.assertLessEqual(most, INSTANCES)
        self.assertEqual((running, total), (0, CONNECTIONS))
        self.assertGreater(len(reloads), 0)
        self.assertGreater(int(state["refused_rate"]), 0)
        self.eventually(lambda: self.count(daemon, "handlers") == 0, "all handlers have left")


class CountsSurvive(FaultCase):
    """What is counted stays counted over reloads that change the limits."""

    def test_instances_up_and_down(self):
        """Running handlers count under a new limit: after lowering it, no client comes in until enough have left;
        after raising it, clients come in at once."""
        daemon, uri = self.serving("until", "DIR/go", limits={"instances": 4})
        load = self.load(uri, parallel=10, total=10)
        self.eventually(lambda: self.count(daemon, "handlers") == 4, "four run")
        self.again(daemon, "until", "DIR/go", limits={"instances": 2})
        state = daemon.status()["fault"]
        self.assertEqual((int(state["handlers"]), int(state["limit"]), state["state"]), (4, 2, "full"))
        self.again(daemon, "until", "DIR/go", limits={"instances": 6})
        self.eventually(lambda: self.count(daemon, "handlers") == 6, "six run")
        self.again(daemon, "until", "DIR/go", limits={"instances": 4})
        self.assertEqual(self.count(daemon, "handlers"), 6)
        daemon.write("go", "")
        self.all_served(load.finish(), 10)
        self.eventually(lambda: self.count(daemon, "handlers") == 0, "all have left")
        self.assertEqual(daemon.status()["fault"]["state"], "listening")

    def test_per_source_up_and_down(self):
        """The same for the clients of one source, held ones among them."""
        daemon, uri = self.serving("until", "DIR/go", limits={"per_source": 2, "wait_timeout": "5m"})
        load = self.load(uri, parallel=8, total=8)
        self.eventually(lambda: self.count(daemon, "held") == 6, "six are held")
        self.assertEqual(self.count(daemon, "handlers"), 2)
        self.again(daemon, "until", "DIR/go", limits={"per_source": 5, "wait_timeout": "5m"})
        self.eventually(lambda: self.count(daemon, "handlers") == 5, "five run")
        self.assertEqual(self.count(daemon, "held"), 3)
        self.again(daemon, "until", "DIR/go", limits={"per_source": 1, "wait_timeout": "5m"})
        self.assertEqual(self.count(daemon, "handlers"), 5)
        other = self.client(uri, source=("127.0.9.9", 0))
        self.eventually(lambda: self.count(daemon, "handlers") == 6, "another source goes straight through")
        self.assertEqual(self.count(daemon, "held"), 3)
        daemon.write("go", "")
        self.all_served(load.finish(), 8)
        self.assertEqual(other.recv(100), b"answer\n")
        self.eventually(lambda: self.count(daemon, "handlers") == 0, "all have left")

    def test_a_limit_that_comes_later(self):
        """Clients that were there before per_source was set count under it."""
        daemon, uri = self.serving("until", "DIR/go")
        load = self.load(uri, parallel=3, total=3)
        self.eventually(lambda: self.count(daemon, "handlers") == 3, "three run")
        self.again(daemon, "until", "DIR/go", limits={"per_source": 3, "on_excess": "close"})
        with self.client(uri, timeout=5) as sock:
            self.assertEqual(sock.recv(100), b"", "the fourth")
        daemon.write("go", "")
        self.all_served(load.finish(), 3)


if __name__ == "__main__":
    unittest.main()
