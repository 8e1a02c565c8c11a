# SPDX-License-Identifier: MIT
"""launch.py NAMES FD,FD,... PROGRAM ARGUMENTS...: passes descriptors as a service manager does."""

import os
import sys


def main():
    names, numbers, command = sys.argv[1], [int(part) for part in sys.argv[2].split(",")], sys.argv[3:]
    spare = [os.dup(number) for number in numbers]
    spare = [os.dup(number) if number < 3 + len(spare) else number for number in spare]
    for target, number in enumerate(spare, 3):
        os.dup2(number, target, inheritable=True)
    os.closerange(3 + len(spare), max(spare + numbers) + 1)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(spare))
    os.environ["LISTEN_FDNAMES"] = names
    os.execv(command[0], command)


main()
