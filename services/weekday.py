#!/usr/bin/python3 -I
# SPDX-License-Identifier: MIT
"""Answers each line with a date in it, 2026-11-26, by the day of the week. A handler that shows what prefork.warm is
for: all that it takes to start, the interpreter and its modules, is done before its client comes."""

import datetime
import sys

LONGEST = 64  # bytes of a line, since anybody may send any number


def answer(line):
    try:
        return datetime.date.fromisoformat(line.decode("ascii").strip()).strftime("%A")
    except ValueError:
        return "not a date like 2026-11-26"


def main():
    while True:
        line = sys.stdin.buffer.readline(LONGEST)
        if not line:
            return
        sys.stdout.write(answer(line) + "\r\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except ConnectionError:
        sys.stdout = None  # which would be flushed at exit, and complain
