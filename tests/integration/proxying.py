# SPDX-License-Identifier: MIT
"""Headers of the PROXY protocol, as a proxy sends them."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def v1(client, local="192.0.2.1", ports=(40000, 443)):
    family = ipaddress.ip_address(client).version
    if family == 6 and ":" not in local:
        local = "2001:db8::1"
    return f"PROXY TCP{family} {client} {local} {ports[0]} {ports[1]}\r\n".encode()


def v2_of(what, body):
    return SIGNATURE + what + struct.pack("!H", len(body)) + body


def v2(client, local="192.0.2.1", ports=(40000, 443), more=b""):
    address = ipaddress.ip_address(client)
    if address.version == 6 and ":" not in local:
        local = "2001:db8::1"
    body = address.packed + ipaddress.ip_address(local).packed + struct.pack("!HH", *ports)
    return v2_of(b"\x21\x11" if address.version == 4 else b"\x21\x21", body + more)


def v2_unix(client, local):
    return v2_of(b"\x21\x31", client.ljust(108, b"\0") + local.ljust(108, b"\0"))
