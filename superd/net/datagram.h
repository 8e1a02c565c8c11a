// SPDX-License-Identifier: MIT
#pragma once
// Single datagrams, with both addresses.

#include <sys/types.h>

#include <optional>
#include <string>

#include "sys/address.h"

namespace superd::net {

struct Datagram {
    std::string data;
    sys::Address peer;   ///< unspecified if a unix sender has no name
    sys::Address local;  ///< where it was sent to, from IP_PKTINFO in ip(7)
};

/// Takes the next datagram without blocking. EAGAIN: none waits.
Result<Datagram> receive(int fd, const sys::Address& bound);

/// Identifies the next datagram by its sender, size and beginning. Empty if none waits or the socket is of another
/// kind.
std::string peek(int fd);

/// The reply's sender, if it is not superd's own user.
struct Sender {
    uid_t uid = 0;
    gid_t gid = 0;
};

/// Sends a reply to `to` from the address `from`; over a unix socket with the rights and credentials of `as`. Errors:
/// sendmsg(2).
Result<void> send(int fd, std::string_view data, const sys::Address& to, const sys::Address& from,
                  const Sender* as = nullptr);

}  // namespace superd::net
