// SPDX-License-Identifier: MIT
#pragma once
// When clients may come: [access] times.

#include <ctime>
#include <vector>

#include "conf/service.h"

namespace superd::admit {

/// `weekday` starts at Sunday = 0, `minute` at midnight. A window over midnight belongs to the day on which it begins.
/// No windows means always. Pure.
bool within(const std::vector<conf::TimeWindow>& windows, int weekday, int minute);

/// The same on the local clock, in the zone that the last tzset(3) found. An hour that daylight saving skips does not
/// occur; one that it repeats occurs twice.
bool open_at(const std::vector<conf::TimeWindow>& windows, std::time_t when);

}  // namespace superd::admit
