# SPDX-License-Identifier: MIT
"""neighbours_witness.py ADDRESS PORT [ADDRESS PORT]...: for each a client that keeps coming, fifty times a second, until
stdin ends. Prints a list of {"asked": how many, "failed": [...], "most": the longest wait in seconds}."""

import json
import os
import select
import socket
import sys
import time

EACH = 0.02  # a small part of a wait that is told
PATIENCE = 45.0


def ask(address):
    """One request, from connect to the end of the answer; returns what is wrong with it."""
    try:
        with socket.create_connection(address, PATIENCE) as sock:
            answer = b""
            while data := sock.recv(100):
                answer += data
        return "" if answer == b"answer\n" else f"answer {answer!r}"
    except OSError as error:
        return repr(error)


def watch(address):
    asked, failed, most = 0, [], 0.0
    while not select.select([sys.stdin], [], [], EACH)[0]:
        begin = time.monotonic()
        wrong = ask(address)
        most = max(most, time.monotonic() - begin)
        asked += 1
        if wrong and len(failed) < 10:
            failed.append(wrong)
    return {"asked": asked, "failed": failed, "most": most}


def main(*words):
    """A process for each, so that none waits for another."""
    ends = []
    for host, port in zip(words[::2], words[1::2]):
        end, other = os.pipe()
        if os.fork() == 0:
            os.write(other, json.dumps(watch((host, int(port)))).encode())
            os._exit(0)
        os.close(other)
        ends.append(open(end, encoding="utf-8"))
    print("begun", flush=True)
    print(json.dumps([json.load(end) for end in ends]), flush=True)


main(*sys.argv[1:])
