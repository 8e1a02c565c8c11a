// SPDX-License-Identifier: MIT
#pragma once
// When clients may come: [access] times.

#include <ctime>
#include <vector>

#include "conf/service.h"

namespace superd::admit {

/// `weekday` from Sunday = 0, `minute` from midnight. A window over midnight belongs to the day on which it begins.
/// No windows: always. Pure.
bool within(const std::vector<conf::TimeWindow>& windows, int weekday, int minute);

/// The same on the clock of the local zone, as the last tzset(3) found it: an hour that daylight saving skips does
/// not happen, one that it repeats happens twice.
bool open_at(const std::vector<conf::TimeWindow>& windows, std::time_t when);

}  // namespace superd::admit
