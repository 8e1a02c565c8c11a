// SPDX-License-Identifier: MIT
#pragma once
// A definition's warm handlers over an upgrade, as plain values.

#include <optional>
#include <string>
#include <vector>

#include "core/warm_level.h"
#include "proc/warm_process.h"

namespace superd::core {

struct WarmProcessState {
    proc::WarmProcess::Kept warm;
    Instant started{};
    std::int64_t since = 0;
    bool trial = false, leaving = false;
    std::optional<Instant> closes_by;
    std::uint64_t served = 0;
};

struct WarmState {
    WarmLevel::Memory level;
    std::vector<WarmProcessState> processes;
    pid_t copied = 0;  ///< the template; 0: there is none
    std::vector<proc::WarmFile> files;
    std::uint32_t serial = 0;
    std::optional<Instant> start_at, age_at;
    Duration start_time{};
    std::uint32_t facts = 0;
    unsigned threads = 0;
    bool has_parked = false, told_random = false, drained = false;
};

}  // namespace superd::core
