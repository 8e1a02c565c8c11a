# SPDX-License-Identifier: MIT
"""neighbours_keyring.py NAME PROGRAM ARGUMENTS...: as from a login: a session keyring with a key of that name in it."""

import ctypes
import os
import platform
import sys

ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
JOIN, SESSION = 1, -3

libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(KEYCTL, JOIN, b"login", 0, 0) < 0 or \
        libc.syscall(ADD_KEY, b"user", sys.argv[1].encode(), b"precious", 8, SESSION) < 0:
    sys.exit("no key: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
