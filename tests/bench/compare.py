# SPDX-License-Identifier: MIT
"""What the benchmarks share: paths, and the load program's figures."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def prepare(build):
    """The tests' harness can be imported after this, and takes superd from `build`."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
    sys.dont_write_bytecode = True
    os.environ.setdefault("SUPERD_BINARY", os.path.join(build, "sbin", "superd"))
    os.environ.setdefault("SUPERD_LIBEXEC", os.path.join(build, "libexec", "superd"))


def load(program, port, clients, seconds, *more):
    """Connections or datagrams per second, with the median and 99th percentile in microseconds."""
    words = [program, "127.0.0.1", str(port), str(clients), str(seconds), *map(str, more)]
    text = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, timeout=60 + 4 * seconds).stdout
    fields = text.split()
    found = dict(zip(fields[::2], map(float, fields[1::2])))
    if found["failures"] or not found["rate"]:
        raise SystemExit(f"load failed: {text}")
    return found
