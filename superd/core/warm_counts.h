// SPDX-License-Identifier: MIT
#pragma once
// What a service has counted of its warm handlers, and what it tells of them.

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>

#include "base/names.h"
#include "base/time.h"
#include "proc/warm_message.h"

namespace superd::core {

/// Why a lower value of prefork.warm is in force. The first ones are proc::warm::Obstacle's but for `none`.
enum class WarmFallback {
    cannot_trace,
    set_id,
    other_calls,
    not_executed,
    ended,
    forked,
    untouched,
    asynchronous,
    no_proc,
    no_room,
    too_many_threads,
    tracer_ended,
    threads,
    timer,
    descriptor,
    locked_file,
    shared_memory,
    too_many_files,
    not_installed,
    not_started,
    not_copied,  ///< copies cannot be made ready
    renewals,    ///< too many
};
constexpr auto names_of(WarmFallback) {
    return std::array{"cannot_trace",     "set_id",        "other_calls",    "not_executed",  "ended",
                      "forked",           "untouched",     "asynchronous",   "no_proc",       "no_room",
                      "too_many_threads", "tracer_ended",  "threads",        "timer",         "descriptor",
                      "locked_file",      "shared_memory", "too_many_files", "not_installed", "not_started",
                      "not_copied",       "renewals"};
}
constexpr std::size_t kWarmFallbacks = names_of(WarmFallback{}).size();
static_assert(static_cast<int>(WarmFallback::too_many_files) ==
              static_cast<int>(proc::warm::Obstacle::too_many_files) - 1);

enum class WarmRenewal {
    changed,  ///< a file
    aged,     ///< max_age
    ended,    ///< the template
    crashed,  ///< a copy
};
constexpr auto names_of(WarmRenewal) {
    return std::array{"changed", "aged", "ended", "crashed"};
}
constexpr std::size_t kWarmRenewals = names_of(WarmRenewal{}).size();

struct WarmCounts {
    std::uint64_t copies = 0;     ///< made
    std::uint64_t templates = 0;  ///< handlers that were started to be warm
    std::array<std::uint64_t, kWarmFallbacks> fallbacks{};
    std::array<std::uint64_t, kWarmRenewals> renewals{};
};

struct WarmReport {
    const char* wanted = "";
    const char* in_force = "";
    std::string reason;   ///< why it is not what was wanted; may hold a handler's own words, escaped
    bool parked = false;  ///< what follows is known of one that has parked
    pid_t pid = 0;        ///< of the template; 0: there is none
    bool asked_pid = false, drew_random = false;
    std::size_t files = 0, unwatched = 0;
    unsigned threads = 0;
    Duration start{};  ///< how long it took to park
    Duration age{};
    std::uint64_t served = 0;  ///< clients, by copies of it
    WarmCounts counts;
};

}  // namespace superd::core
