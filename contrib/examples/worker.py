#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker of a superd pool, in Python: model = "prefork", handoff = "listen".

It accepts on the listening socket on stdin, reports on SUPERD_STATUS_FD when it takes a client and when it has room for
another, and exits between two clients when superd closes its side of that descriptor."""

import os
import select
import socket
import sys

listener = socket.socket(fileno=os.dup(0))
status = int(os.environ.get("SUPERD_STATUS_FD", "-1"))


def report(record):
    if status >= 0:
        os.write(status, record)  # b"busy\n" or b"idle\n", each whole


def serve(client):
    with client, client.makefile("rb") as lines:
        for line in lines:
            client.sendall(b"hello " + line)


def main():
    listener.setblocking(False)
    report(b"idle\n")  # ready
    waited_for = [listener, status] if status >= 0 else [listener]
    while True:
        ready, _, _ = select.select(waited_for, [], [])
        if status in ready:
            return 0  # superd never sends: this is end-of-file, so leave
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue  # another worker was faster
        client.setblocking(True)
        report(b"busy\n")
        try:
            serve(client)
        except OSError as error:
            print(f"client: {error}", file=sys.stderr)
        report(b"idle\n")


sys.exit(main())
