// SPDX-License-Identifier: MIT
#pragma once
// What a service has counted since superd started.

#include <cstdint>

namespace superd::core {

struct Stats {
    std::uint64_t accepted = 0;        ///< clients taken from the kernel
    std::uint64_t started = 0;         ///< handlers, owners and workers that were started
    std::uint64_t failures = 0;        ///< handlers that ended by a signal not sent by superd, or not with 0
    std::uint64_t spawn_failures = 0;  ///< handlers that did not reach their program
    std::uint64_t replies = 0;         ///< datagrams sent back for handlers
};

}  // namespace superd::core
