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

/// Why a lower value of prefork.warm is in force: proc::warm::Obstacle's but for `none`, by because_of(), and these.
enum class WarmFallback : std::size_t {
    not_installed = static_cast<std::size_t>(proc::warm::Obstacle::last),
    not_started,
    not_copied,  ///< copies cannot be made ready
    renewals,    ///< too many
};
constexpr std::size_t kWarmFallbacks = static_cast<std::size_t>(WarmFallback::renewals) + 1;
constexpr auto names_of(WarmFallback) {
    std::array<const char*, kWarmFallbacks> names{};
    const auto obstacles = static_cast<std::size_t>(WarmFallback::not_installed);
    for (std::size_t i = 0; i < obstacles; ++i) names[i] = proc::warm::kObstacles[i + 1].name;
    names[obstacles] = "not_installed";
    names[obstacles + 1] = "not_started";
    names[obstacles + 2] = "not_copied";
    names[obstacles + 3] = "renewals";
    return names;
}
constexpr WarmFallback because_of(proc::warm::Obstacle obstacle) {
    using proc::warm::Obstacle;
    const bool known = obstacle != Obstacle::none && obstacle <= Obstacle::last;
    return static_cast<WarmFallback>(static_cast<std::size_t>(known ? obstacle : Obstacle::tracer_ended) - 1);
}

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
    std::size_t left_out = 0;  ///< files that are neither watched nor looked at
    unsigned threads = 0;
    Duration start{};  ///< how long it took to park
    Duration age{};
    std::uint64_t served = 0;  ///< clients, by copies of it
    WarmCounts counts;
};

}  // namespace superd::core
