# SPDX-License-Identifier: MIT
"""Broken handlers: the port stays open, superd does not spin, and a repaired handler serves again."""

import os
import threading
import time
import unittest

from faults import FaultCase, Use, figure
from harness import connect

SECONDS = 3
CLIENTS = 4


class FaultyHandlers(FaultCase):
    def knock(self, uri, over, refused):
        """A connection every 20 ms, for as long as it goes: is the port open?"""
        while not over.wait(0.02):
            try:
                with connect(uri):
                    pass
            except OSError as error:
                refused.append(error)

    def until_served(self, uri, timeout=30):
        """Seconds until a client has its answer."""
        began = time.monotonic()
        while time.monotonic() - began < timeout:
            try:
                with connect(uri, timeout=timeout) as sock:
                    if sock.recv(100) == b"answer\n":
                        return time.monotonic() - began
            except ConnectionResetError:
                pass  # its handler crashed
        self.fail(f"not served in {timeout} s after the repair")

    def suffer(self, what, daemon, uri, mend):
        """Clients keep coming while the handler is broken; then it is repaired."""
        over, refused = threading.Event(), []
        knocking = threading.Thread(target=self.knock, args=(uri, over, refused))
        knocking.start()
        try:
            # From so many sources that no single one can be the reason.
            load = self.load(uri, parallel=CLIENTS, seconds=SECONDS, source="127.0.9.1", sources=40)
            with Use(daemon) as use:
                time.sleep(SECONDS)
            state = daemon.status()["fault"]
            starts = int(state["started"])
            mend()
            took = self.until_served(uri)
            ends = load.finish()["ends"]
        finally:
            over.set()
            knocking.join()
        figure(f"{what}: {starts} starts in {use.wall:.1f} s ({state['state']}), superd's own {use.cpu:.2f} s; "
               f"served again {took:.2f} s after the mend; clients meanwhile: {ends}")
        self.assertEqual(refused, [], "the port was closed")
        self.assertLess(took, 5)
        self.assertLess(use.share, 0.5)
        self.assertLess(starts, 300 * SECONDS, "it spins")
        self.assertNotIn("refused", ends)
        self.assertEqual(self.converse(uri), b"answer")
        return ends

    def test_exits_at_once(self):
        """A handler that leaves with status 1 as soon as it starts."""
        daemon, uri = self.serving("exit-unless", "DIR/mended")
        self.suffer("exit status 1", daemon, uri, lambda: daemon.write("mended", ""))
        self.assertGreater(self.count(daemon, "failures"), 0)

    def test_crashes(self):
        """A handler that dies of SIGSEGV as soon as it starts."""
        daemon, uri = self.serving("crash-unless", "DIR/mended")
        self.suffer("SIGSEGV", daemon, uri, lambda: daemon.write("mended", ""))
        self.assertGreater(self.count(daemon, "failures"), 0)

    def test_vanishes(self):
        """A handler whose binary disappears, and comes back."""
        daemon, uri = self.serving("wait", "0")
        self.assertEqual(self.converse(uri), b"answer")
        program, hidden = daemon.path("handler"), daemon.path("hidden")
        os.rename(program, hidden)
        self.suffer("binary gone", daemon, uri, lambda: os.rename(hidden, program))
        self.assertGreater(self.count(daemon, "refused_exec_failed"), 0)

    def test_vanishes_from_a_pool(self):
        """The same if processes are ready before their clients come."""
        daemon, uri = self.serving("wait", "0", model="prefork")
        self.assertEqual(self.converse(uri), b"answer")
        program, hidden = daemon.path("handler"), daemon.path("hidden")
        os.rename(program, hidden)
        self.suffer("binary of a pool gone", daemon, uri, lambda: os.rename(hidden, program))

    def test_clients_get_on_excess(self):
        """While the handler does not start, clients are turned away by on_excess."""
        daemon, uri = self.serving("wait", "0", limits={"on_excess": "reject", "reject_text": "later\n"})
        program, hidden = daemon.path("handler"), daemon.path("hidden")
        os.rename(program, hidden)
        texts = []
        for _ in range(20):
            with connect(uri) as sock:
                texts.append(sock.recv(100))
        figure(f"a handler that does not start: {texts.count(b'later' + bytes([10]))} of 20 clients got reject_text")
        self.assertEqual(set(texts), {b"later\n"})
        self.assertEqual(self.count(daemon, "refused_exec_failed"), 20)
        os.rename(hidden, program)
        self.assertLess(self.until_served(uri), 5)


if __name__ == "__main__":
    unittest.main()
