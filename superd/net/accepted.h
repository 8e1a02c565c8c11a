// SPDX-License-Identifier: MIT
#pragma once
// Which sockets of a process are clients' connections.

#include <sys/types.h>

#include <vector>

#include "conf/service.h"
#include "sys/address.h"

namespace superd::net {

/// Is one of these sockets, given by their inodes, a connection that was accepted at `where`? A connection that the
/// worker itself opened, to a database or the system's log, is not. True if the kernel does not tell.
bool any_accepted(const sys::Address& where, conf::SocketType type, const std::vector<ino_t>& sockets);

}  // namespace superd::net
