# SPDX-License-Identifier: MIT
"""An address of 127/8 that is this test process's own, so that fixed ports do not meet those of other tests."""

import os


def own_loopback():
    pid = os.getpid()
    return f"127.{64 + (pid >> 14) % 64}.{1 + (pid >> 7) % 128}.{1 + pid % 128}"
