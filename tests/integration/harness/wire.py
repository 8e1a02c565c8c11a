# SPDX-License-Identifier: MIT
"""A client's side of an address as superd writes it."""

import re
import socket

PATIENCE = 30.0


def uri_parts(uri):
    """("tcp", "127.0.0.1", 80), ("unix", "/path"), ("unix-dgram", "\\0name"), ("vsock", cid, port)."""
    scheme, rest = uri.split("://", 1)
    if scheme.startswith("unix"):
        return (scheme, "\0" + rest[1:] if rest.startswith("@") else rest)
    match = re.fullmatch(r"\[(.*)\]:(\d+)|(.*):(\d+)", rest)
    host = match.group(1) if match.group(1) is not None else match.group(3)
    port = int(match.group(2) or match.group(4))
    if scheme == "vsock":
        return (scheme, socket.VMADDR_CID_ANY if host == "*" else int(host), port)
    return (scheme, {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)


def connect(uri, timeout=PATIENCE, source=None):
    """A socket connected to `uri`, also for datagrams, so that answers from elsewhere are ignored."""
    parts = uri_parts(uri)
    scheme = parts[0]
    if scheme in ("tcp", "udp"):
        family = socket.AF_INET6 if ":" in parts[1] else socket.AF_INET
        kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
        address = parts[1:]
    elif scheme == "vsock":
        family, kind, address = socket.AF_VSOCK, socket.SOCK_STREAM, (1, parts[2])
    else:
        family = socket.AF_UNIX
        kind = {"unix": socket.SOCK_STREAM, "unix-dgram": socket.SOCK_DGRAM,
                "unix-seqpacket": socket.SOCK_SEQPACKET}[scheme]
        address = parts[1]
    client = socket.socket(family, kind)
    try:
        client.settimeout(timeout)
        if source is not None:
            client.bind(source)
        elif scheme == "unix-dgram":
            client.bind("")  # an abstract name chosen by the kernel, so that an answer can come back
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


class Reader:
    """Lines from a stream socket."""

    def __init__(self, client):
        self.client = client
        self.buffer = b""

    def line(self):
        """The next line without its newline; at the end of the stream the rest; then b""."""
        while b"\n" not in self.buffer:
            data = self.client.recv(65536)
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def rest(self):
        """All up to the end of the stream."""
        while data := self.client.recv(65536):
            self.buffer += data
        rest, self.buffer = self.buffer, b""
        return rest


def exchange(uri, data=b"", timeout=PATIENCE):
    """Connects, sends, shuts down writing, and returns everything that comes back."""
    with connect(uri, timeout) as client:
        if data:
            client.sendall(data)
        try:
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the handler has answered and gone already
        return Reader(client).rest()
