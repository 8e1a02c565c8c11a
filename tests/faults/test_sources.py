# SPDX-License-Identifier: MIT
"""What superd remembers of sources is bounded. tests/faults/sources goes through more of them."""

import os
import shutil
import unittest

from faults import SANITIZED, FaultCase, figure
from harness import process

SOURCES = int(os.environ.get("SUPERD_FAULTS_SOURCES", "5000"))
CEILING = 8 << 10  # KiB: admit::Sources::kCeiling
NETWORK = "2001:db8::/32"


class ManySources(FaultCase):
    """In the test's own network namespace, where every address of the documentation prefix is local."""

    LIMITS = {"per_source": 4, "per_source_rate": "1/h", "on_excess": "close"}

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root: a network namespace with many IPv6 addresses")
        for program in ("unshare", "nsenter", "ip"):
            if shutil.which(program) is None:
                self.skipTest(f"{program} is not installed")
        if not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("the kernel has no IPv6")
        self.prefix = ["unshare", "--net", "--", "sh", "-c",
                       f'ip link set lo up && ip -6 route add local {NETWORK} dev lo && exec "$@"', "sh"]

    def from_many(self, daemon, uri, **options):
        return self.load(uri, prefix=["nsenter", f"--net=/proc/{daemon.pid}/ns/net", "--"], **options).finish(
            timeout=3600)

    def test_memory(self):
        """Many IPv6 networks, one client each: all served, and superd grows by less than the table's ceiling; a source
        that had used up its share before them still has no share."""
        daemon, uri = self.serving("wait", "0", listen="tcp://[::1]:0", limits=self.LIMITS, prefix=self.prefix)
        one = self.from_many(daemon, uri, source="2001:db8:ffff::1", parallel=1, total=3)
        self.assertEqual(one["ends"], {"served": 1, "closed": 2})
        # The same source over and over: allocates what is allocated once before the count.
        self.from_many(daemon, uri, source="2001:db8:ffff::1", parallel=50, total=200)
        warm = self.from_many(daemon, uri, source="2001:db8:fffe::1", sources=200, parallel=50, total=200)
        self.all_served(warm, 200)
        before = process.resident(daemon.pid)
        figures = self.from_many(daemon, uri, source="2001:db8::1", sources=SOURCES, parallel=50, total=SOURCES)
        self.all_served(figures, SOURCES)
        grown = process.resident(daemon.pid) - before
        figure(f"{SOURCES} IPv6 sources in {figures['microseconds'] / 1e6:.1f} s: superd {before} KiB then {grown:+} "
               f"KiB; the ceiling is {CEILING} KiB")
        if not SANITIZED:
            self.assertLess(grown, CEILING)
        if SOURCES <= 20000:  # past the ceiling some are forgotten, but which is chance
            again = self.from_many(daemon, uri, source="2001:db8:ffff::1", parallel=1, total=3)
            self.assertEqual(again["ends"], {"closed": 3})
        self.assertGreater(self.count(daemon, "refused_per_source_rate"), 0)

    def test_one_network(self):
        """All addresses of one /64 are one source."""
        daemon, uri = self.serving("wait", "0", listen="tcp://[::1]:0", limits=self.LIMITS, prefix=self.prefix)
        ends = [self.from_many(daemon, uri, source=f"2001:db8:1:1::{host}", total=1)["ends"] for host in range(1, 4)]
        self.assertEqual(ends, [{"served": 1}, {"closed": 1}, {"closed": 1}])


if __name__ == "__main__":
    unittest.main()
