// SPDX-License-Identifier: MIT
#pragma once
// A definition's warm handlers over an upgrade, as plain values.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/warm_level.h"
#include "proc/warm_process.h"

namespace superd::core {

/// What is known of a process on its way to park, or of the template.
struct WarmProcessRecord {
    Instant started{};
    std::int64_t since = 0;            ///< the same as files tell the time
    bool trial = false;                ///< to be the template; else to wait for one client
    bool leaving = false;              ///< nobody asks it for anything; it goes when it has answered
    std::optional<Instant> closes_by;  ///< when it has been reaped or killed: its channel, at the latest
    std::uint64_t served = 0;
};

struct WarmProcessState {
    proc::WarmProcess::Kept warm;
    WarmProcessRecord record;
};

/// What is known of a definition's warm handlers.
struct WarmRecord {
    std::uint32_t serial = 0;
    std::optional<Instant> start_at;  ///< nobody is started until then, since files may still change
    std::optional<Instant> age_at;    ///< when max_age is over
    Duration start_time{};            ///< of the last that parked; and so the next three:
    std::uint32_t facts = 0;
    unsigned threads = 0;
    bool has_parked = false;
    bool told_random = false;
    bool drained = false;
};

struct WarmState {
    WarmLevel::Memory level;
    std::vector<WarmProcessState> processes;
    pid_t copied = 0;  ///< the template; 0: there is none
    std::vector<proc::WarmFile> files;
    std::vector<std::pair<std::string, std::string>> ways;  ///< where its paths led when it was started
    WarmRecord record;
};

}  // namespace superd::core
