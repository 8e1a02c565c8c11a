// SPDX-License-Identifier: MIT
#pragma once
// What a service has counted of its sessions ([datagram] session).

#include <cstddef>
#include <cstdint>

namespace superd::core {

struct SessionCounts {
    std::uint64_t begun = 0;
    std::uint64_t gave_way = 0;  ///< ended at the limit for another peer, after one datagram
    std::uint64_t idle = 0;      ///< ended because nothing had passed for session_idle
    // Datagrams that were dropped:
    std::uint64_t empty = 0;     ///< without a byte: it would read as an end
    std::uint64_t nameless = 0;  ///< from a unix socket without a name
    std::uint64_t overflow = 0;  ///< its handler did not keep up
    std::uint64_t unread = 0;    ///< its session ended before a handler read it
    std::uint64_t too_long = 0;  ///< for the handler's socket
};

struct SessionReport {
    std::size_t open = 0;     ///< with a handler
    std::size_t waiting = 0;  ///< for a place among limits.instances
    std::size_t queued = 0;   ///< datagrams that handlers have not had yet
    SessionCounts counts;
};

}  // namespace superd::core
