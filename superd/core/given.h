// SPDX-License-Identifier: MIT
#pragma once
// The sockets that a worker has before its first client.

#include <sys/types.h>

#include <vector>

#include "conf/service.h"
#include "sys/address.h"

namespace superd::core {

struct GivenSockets {
    sys::Address where;  ///< of the socket that it accepts from
    conf::SocketType type{};
    std::vector<ino_t> inodes;
};

}  // namespace superd::core
