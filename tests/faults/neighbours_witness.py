# SPDX-License-Identifier: MIT
"""neighbours_witness.py ADDRESS PORT: a client that keeps coming, fifty times a second, until stdin ends. Prints
{"asked": how many, "failed": [...], "most": the longest wait in seconds}."""

import json
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


def main(host, port):
    asked, failed, most = 0, [], 0.0
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], EACH)[0]:
        begin = time.monotonic()
        wrong = ask((host, int(port)))
        most = max(most, time.monotonic() - begin)
        asked += 1
        if wrong and len(failed) < 10:
            failed.append(wrong)
    print(json.dumps({"asked": asked, "failed": failed, "most": most}), flush=True)


main(*sys.argv[1:])
