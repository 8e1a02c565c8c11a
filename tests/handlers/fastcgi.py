# SPDX-License-Identifier: MIT
"""A client of the FastCGI protocol, version 1: one request on one connection."""

import struct

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6


def record(kind, content=b""):
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name, value):
    return struct.pack("!II", len(name) | 1 << 31, len(value) | 1 << 31) + name.encode() + value.encode()


def request(sock, parameters):
    """What the responder writes to stdout. EOFError: it was cut off."""
    sock.sendall(record(BEGIN, struct.pack("!HB5x", 1, 0)) +
                 record(PARAMS, b"".join(pair(*item) for item in parameters.items())) + record(PARAMS) + record(STDIN))
    stream, output = sock.makefile("rb"), b""
    while True:
        header = stream.read(8)
        if len(header) < 8:
            raise EOFError("connection closed before the end of the request")
        _, kind, _, length, padding = struct.unpack("!BBHHBx", header)
        content = stream.read(length + padding)
        if len(content) < length + padding:
            raise EOFError("connection closed within a record")
        if kind == STDOUT:
            output += content[:length]
        elif kind == END:
            return output
