// SPDX-License-Identifier: MIT
#pragma once
// The status protocol of workers, superd-worker(7), as superd reads it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sys/archive.h"

namespace superd::model {

/// What a worker has reported: "busy" for a client that it took, "idle" for room for one more.
struct Reports {
    int free = 0;               ///< the number of clients for which there is room
    int slots = 0;              ///< the highest value of it so far; 0: no report yet
    std::uint64_t clients = 0;  ///< clients that it has taken

    bool any() const { return slots > 0; }
    bool idle() const { return free >= slots; }
    /// Beyond reason; a worker may report anything.
    static constexpr int kMost = 1024;

    /// Adds all reports that came together, since only the whole of them is true. `busy_first`: a worker whose first
    /// report is "busy" has never reported room, and serves one client at a time.
    void add(int busy, int more_idle, bool busy_first = false) {
        if (!any() && busy_first) free = 1;
        free = std::clamp(free + more_idle - busy, 0, kMost);
        slots = std::max({slots, free, 1});
        clients += static_cast<std::uint64_t>(busy);
    }
};

SUPERD_FIELDS(Reports, free, slots, clients)

/// Messages that came together, each of whole records; anything else in them is ignored.
struct Records {
    static constexpr std::size_t kSize = 5;
    static constexpr std::size_t kMessage = 256 * kSize;  ///< anything beyond is lost

    int busy = 0;
    int idle = 0;
    bool busy_first = false;

    void read(std::string_view message) {
        for (; message.size() >= kSize; message.remove_prefix(kSize)) {
            if (none()) busy_first = message.starts_with("busy\n");
            busy += message.starts_with("busy\n");
            idle += message.starts_with("idle\n");
        }
    }
    bool none() const { return busy + idle == 0; }
};

}  // namespace superd::model
