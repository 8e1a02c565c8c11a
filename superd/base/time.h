// SPDX-License-Identifier: MIT
#pragma once
// Time as superd counts it: microseconds, on CLOCK_MONOTONIC for everything that waits.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace superd {

using Duration = std::chrono::microseconds;

/// CLOCK_MONOTONIC. Never compared with the time of day, so a jumping clock changes nothing.
struct Clock {
    using duration = Duration;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<Clock>;
    static constexpr bool is_steady = true;
};
using Instant = Clock::time_point;

Instant now();

/// Reads "250ms", "10s", "5m", "1h30m", "2d": whole numbers, each with a unit (us, ms, s, m, h, d), largest unit first.
/// A number without a unit, a negative one, or anything past 1000 days is invalid.
std::optional<Duration> parse_duration(std::string_view text);

/// The shortest form that parse_duration reads: "1h30m", "250ms", "0s".
std::string format_duration(Duration value);
/// For people: down to the second largest unit, rounded down. "3s204ms", "1h2m".
std::string format_roughly(Duration value);

}  // namespace superd
