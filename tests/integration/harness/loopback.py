# SPDX-License-Identifier: MIT
"""An address in 127/8 for this test process only, so that fixed ports do not collide with other tests."""

import os


def own_loopback():
    pid = os.getpid()
    return f"127.{64 + (pid >> 14) % 64}.{1 + (pid >> 7) % 128}.{1 + pid % 128}"
