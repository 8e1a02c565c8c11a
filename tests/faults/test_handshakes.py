# SPDX-License-Identifier: MIT
"""Handshakes that are begun and not finished: another source is served, and they start no handler.

tests/faults/handshakes runs this at full length, where the ratio of p99 is held to 2."""

import os
import signal
import subprocess
import sys
import time
import unittest

from faults import figure
from harness.daemon import PATIENCE
from harness.wire import uri_parts
from securing import TlsCase

RATE = 50
SECONDS = int(os.environ.get("SUPERD_FAULTS_SECONDS", "3"))
STRICT = "SUPERD_FAULTS_STRICT" in os.environ
ASKER = "127.0.7.1"

# Words: port, "hold" or "leave", sources. Begins handshakes as fast as it can, 100 at once from
# each source, and says how many. It is nice, since strangers have processors of their own.
FLOOD = r"""
import select, signal, socket, ssl, sys
port, how, sources = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
over = []
signal.signal(signal.SIGTERM, lambda *_: over.append(1))
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
try:
    ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
except ssl.SSLWantReadError:
    pass
hello, begun, answered = outgoing.read(), 0, 0
poll, open_ones = select.epoll(), {}

def begin():
    global begun
    one = socket.socket()
    one.setblocking(False)
    one.bind((sources[begun % len(sources)], 0))
    try:
        one.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    begun += 1
    open_ones[one.fileno()] = one
    poll.register(one, select.EPOLLOUT)

while not over:
    while len(open_ones) < 100 * len(sources):
        begin()
    for number, events in poll.poll(0.1):
        one = open_ones[number]
        try:
            if events & select.EPOLLOUT:
                one.send(hello)
                poll.modify(one, select.EPOLLIN | select.EPOLLRDHUP)
                continue
            got = one.recv(65536)
            answered += bool(got)
            if got and how == "hold":
                poll.modify(one, select.EPOLLRDHUP)
                continue
        except OSError:
            pass
        poll.unregister(one)
        del open_ones[number]
        one.close()
print(begun, answered)
"""


class Handshakes(TlsCase):
    def ask(self, daemon):
        """The p99, in seconds, of whole exchanges from another source."""
        context, took, begun = self.context(), [], time.monotonic()
        for number in range(RATE * SECONDS):
            time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
            at = time.monotonic()
            client = self.secure(daemon, context, source=(ASKER, 0))
            self.says(client, b"hello")
            client.unwrap().close()  # a connection that is cut makes cat fail
            took.append(time.monotonic() - at)
        took.sort()
        return took[len(took) * 99 // 100]

    def compare(self, how, limits):
        daemon = self.secured(limits=limits)
        _, _, port = uri_parts(daemon.address("web"))
        self.says(self.secure(daemon, source=(ASKER, 0)), b"warm")
        calm = self.ask(daemon)
        before = self.service_status(daemon)
        # On a busy machine a flood that gives way to everybody would be none.
        flood = subprocess.Popen([*(["nice", "-n19"] if STRICT else []), sys.executable, "-c", FLOOD, str(port), how,
                                  "127.0.8.1", "127.0.8.2"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(flood.wait)
        self.addCleanup(flood.kill)
        limit = "pending" if how == "hold" else "per_source_rate"
        self.refused(daemon, limit, 200)
        storm = self.ask(daemon)
        flood.send_signal(signal.SIGTERM)
        begun, answered = map(int, flood.communicate(timeout=PATIENCE)[0].split())
        after = self.service_status(daemon)
        self.assertEqual(after["started"] - before["started"], RATE * SECONDS)
        figure(f"half-done handshakes ({how}): {begun} begun, {answered} of them answered; p99 {calm * 1000:.1f} ms "
               f"without them, {storm * 1000:.1f} ms with them ({storm / calm:.2f} times)")
        # On any machine all of them were served. How long that took is a matter of whom else the processors serve.
        if STRICT:
            self.assertLess(storm, 2 * calm)
        return begun, answered

    def test_who_waits(self):
        """Two sources begin handshakes and say no more: each has at most 64 under way."""
        self.compare("hold", {})

    def test_who_leaves(self):
        """Two sources begin handshakes, have the server sign, and leave: per_source_rate holds them back."""
        at = time.monotonic()
        _, answered = self.compare("leave", {"per_source_rate": "100/s"})
        # Its burst, what has begun before the first of them came to nothing, and then its rate.
        self.assertLess(answered, 2 * (100 + 64 + 100 * (time.monotonic() - at)))


if __name__ == "__main__":
    unittest.main()
