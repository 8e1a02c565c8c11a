// SPDX-License-Identifier: MIT
#pragma once
// What a service has counted since superd started.

#include <cstdint>

#include "base/histogram.h"
#include "core/usage.h"

namespace superd::core {

/// How handlers, owners and workers ended.
struct Exits {
    std::uint64_t ok = 0;       ///< with status 0
    std::uint64_t failed = 0;   ///< with another status
    std::uint64_t stopped = 0;  ///< after superd had told them to, whether by a signal or not with 0
    std::uint64_t killed = 0;   ///< by a signal that superd did not send
};

struct Stats {
    std::uint64_t accepted = 0;        ///< clients taken from the kernel
    std::uint64_t started = 0;         ///< handlers, owners and workers that were started
    std::uint64_t failures = 0;        ///< handlers ended by a signal not sent by superd, or not with 0
    std::uint64_t spawn_failures = 0;  ///< handlers that did not reach their program
    std::uint64_t replies = 0;         ///< datagrams sent back for handlers
    std::uint64_t reply_failures = 0;  ///< and those that could not be sent
    std::uint64_t stderr_dropped = 0;  ///< lines of handlers' stderr over log.stderr_rate
    std::uint64_t sockets_mended = 0;  ///< times that a listening socket was found changed, and corrected
    Exits exits;
    Usage usage;
    Histogram handler_time;    ///< of handlers and owners, from their start to their end
    Histogram accept_to_exec;  ///< of clients: until their handler's exec, or until a waiting process got them
};

}  // namespace superd::core
