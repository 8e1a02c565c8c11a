// SPDX-License-Identifier: MIT
#pragma once
// Sessions for the process that continues in superd's place, as plain values. Descriptors are numbers.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "core/episode.h"
#include "core/session_counts.h"
#include "sys/address.h"

namespace superd::core {

/// What is known of a session and goes over an upgrade as it is.
struct SessionRecord {
    sys::Address peer;
    sys::Address local;  ///< the address that the peer asked
    sys::Address bound;  ///< that of the listening socket
    Duration idle{}, patience{};
    Instant begun{}, last{};     ///< last: when something passed
    std::uint64_t received = 0;  ///< datagrams from the peer
    std::uint64_t given = 0;     ///< of these: to the handler's socket
    std::uint64_t first = 0;     ///< bytes of the first datagram, while it waits elsewhere
    bool listed = false;         ///< what comes from the peer is of this session
    bool ending = false;         ///< the handler reads an end behind what is in the queue
    bool over = false;           ///< the handler has written all that it will
    std::optional<Instant> due;  ///< when it is looked at: is it idle, has its handler left?
    std::deque<std::string> queue;
};

struct SessionState {
    SessionRecord record;
    int ours = -1, theirs = -1, socket = -1;
    std::optional<std::pair<std::uint32_t, std::uint32_t>> as;  ///< uid and gid of the handler
};

struct SessionsState {
    SessionCounts counts;
    Episode::Memory dropped;
    std::vector<SessionRecord> waiting;
};

}  // namespace superd::core
