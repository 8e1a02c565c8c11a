// SPDX-License-Identifier: MIT
#pragma once
// What the kernel has told of a service's control group, and what it uses now.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "core/episode.h"

namespace superd::core {

/// The kernel's own counters, which begin at 0 with each group.
struct CgroupEvents {
    std::uint64_t memory_high = 0;   ///< times that processes were slowed down
    std::uint64_t memory_kills = 0;  ///< processes killed for want of memory
    std::uint64_t pids_max = 0;      ///< processes that could not be started
};

/// Since superd's start, whatever became of the group meanwhile.
struct CgroupCounts {
    CgroupEvents events;
    // Of groups that have been removed:
    std::uint64_t cpu_usec = 0, throttled_usec = 0;
    std::uint64_t throttled = 0;  ///< periods in which cpu_max held a process up
};

/// For an upgrade. Whether there is a group, the kernel knows.
struct CgroupState {
    CgroupEvents seen;
    CgroupCounts counts;
    std::uint64_t excused = 0;          ///< of memory_kills: handlers whose end has been explained by it
    std::vector<std::uint64_t> ending;  ///< leaves whose handler has ended
    std::optional<Instant> kill_at;
    Episode::Memory kills, refusals, slow;
};

struct CgroupReport {
    bool present = false;  ///< false: nothing of it runs
    std::optional<std::uint64_t> memory, memory_peak, pids;
    std::optional<std::uint64_t> memory_max, pids_max;  ///< as defined
    double cpu_seconds = 0, throttled_seconds = 0;      ///< since superd's start
    std::uint64_t throttled = 0;                        ///< periods of 0.1 s
    CgroupEvents events;
};

}  // namespace superd::core
