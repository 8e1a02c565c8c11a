// SPDX-License-Identifier: MIT
#pragma once
// Datagrams one by one, with both of their addresses.

#include <optional>
#include <string>

#include "sys/address.h"

namespace superd::net {

struct Datagram {
    std::string data;
    sys::Address peer;   ///< unspecified where a unix sender has no name
    sys::Address local;  ///< where it was sent to, as ip(7) IP_PKTINFO tells
};

/// Takes the next one without blocking. Error with EAGAIN: none waits.
Result<Datagram> receive(int fd, const sys::Address& bound);

/// Sends a reply to `to` from the address `from`. Errors: sendmsg(2).
Result<void> send(int fd, std::string_view data, const sys::Address& to, const sys::Address& from);

}  // namespace superd::net
