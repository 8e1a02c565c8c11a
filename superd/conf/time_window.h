// SPDX-License-Identifier: MIT
#pragma once
// Times of the week, as they are written.

#include <string_view>

#include "base/error.h"
#include "conf/service.h"

namespace superd::conf {

/// Reads "Mon-Fri 08:00-18:00", "Sat,Sun 22:00-06:00" (over midnight), "00:00-24:00" (every day). The error says what
/// is wrong, without repeating the text.
Result<TimeWindow> parse_time_window(std::string_view text);

}  // namespace superd::conf
