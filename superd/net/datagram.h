// SPDX-License-Identifier: MIT
#pragma once
// Datagrams one by one, with both of their addresses.

#include <sys/types.h>

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

/// What tells the next datagram from others: its sender, size and beginning. Empty where none waits or the socket is
/// of another kind.
std::string peek(int fd);

/// Whose reply it is, where that is not superd's own user.
struct Sender {
    uid_t uid = 0;
    gid_t gid = 0;
};

/// Sends a reply to `to` from the address `from`; over a unix socket with the rights and credentials of `as`.
/// Errors: sendmsg(2).
Result<void> send(int fd, std::string_view data, const sys::Address& to, const sys::Address& from,
                  const Sender* as = nullptr);

}  // namespace superd::net
