// SPDX-License-Identifier: MIT
#include "admit/times.h"

#include <algorithm>

namespace superd::admit {
namespace {

bool contains(const conf::TimeWindow& window, int weekday, int minute) {
    const bool today = (window.days >> weekday & 1U) != 0;
    if (window.from < window.until) return today && window.from <= minute && minute < window.until;
    const bool yesterday = (window.days >> (weekday + 6) % 7 & 1U) != 0;
    return (today && window.from <= minute) || (yesterday && minute < window.until);
}

}  // namespace

bool within(const std::vector<conf::TimeWindow>& windows, int weekday, int minute) {
    return windows.empty() ||
           std::ranges::any_of(windows, [&](const auto& window) { return contains(window, weekday, minute); });
}

bool open_at(const std::vector<conf::TimeWindow>& windows, std::time_t when) {
    if (windows.empty()) return true;
    std::tm local{};
    if (localtime_r(&when, &local) == nullptr) return false;  // the year does not fit
    return within(windows, local.tm_wday, local.tm_hour * 60 + local.tm_min);
}

}  // namespace superd::admit
