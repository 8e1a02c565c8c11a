// SPDX-License-Identifier: MIT
#include "conf/time_window.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace superd::conf {

namespace {

const std::vector<std::string> day_names{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr int midnight = 24 * 60;

Result<std::size_t> parse_day(std::string_view word) {
    const auto found = std::ranges::find_if(day_names, [&](const std::string& name) {
        return word.size() == name.size() && strncasecmp(word.data(), name.data(), name.size()) == 0;
    });
    if (found != day_names.end()) return static_cast<std::size_t>(found - day_names.begin());
    return fail(fmt::format("\"{}\" is not a day: write one of {}", word, fmt::join(day_names, ", ")));
}

Result<unsigned> parse_days(std::string_view text) {
    unsigned days = 0;
    for (const std::string_view part : split(text, ',')) {
        const std::size_t dash = part.find('-');
        const auto first = parse_day(part.substr(0, dash));
        if (!first) return std::unexpected(first.error());
        const auto last = dash == std::string_view::npos ? first : parse_day(part.substr(dash + 1));
        if (!last) return std::unexpected(last.error());
        for (std::size_t day = *first; day != *last; day = (day + 1) % day_names.size()) days |= 1U << day;
        days |= 1U << *last;
    }
    return days;
}

/// Minutes from midnight.
Result<int> parse_time(std::string_view text) {
    const auto digits = [&](std::size_t at) { return 10 * (text[at] - '0') + text[at + 1] - '0'; };
    const bool formed =
        text.size() == 5 && all_digits(text.substr(0, 2)) && text[2] == ':' && all_digits(text.substr(3));
    const int minutes = formed ? 60 * digits(0) + digits(3) : -1;
    if (minutes >= 0 && minutes <= midnight && digits(3) < 60) return minutes;
    return fail(fmt::format("\"{}\" is not a time of day: write 00:00 to 24:00", text));
}

}  // namespace

Result<TimeWindow> parse_time_window(std::string_view text) {
    TimeWindow window;
    const std::size_t space = text.find(' ');
    const std::string_view times = space == std::string_view::npos ? text : text.substr(space + 1);
    const std::size_t dash = times.find('-');
    if (times.find(':') == std::string_view::npos || dash == std::string_view::npos ||
        times.find(' ') != std::string_view::npos)
        return fail("must be days and times, such as \"Mon-Fri 08:00-18:00\", or only times");
    if (space != std::string_view::npos) {
        const auto days = parse_days(text.substr(0, space));
        if (!days) return std::unexpected(days.error());
        window.days = *days;
    }
    const auto from = parse_time(times.substr(0, dash));
    if (!from) return std::unexpected(from.error());
    const auto until = parse_time(times.substr(dash + 1));
    if (!until) return std::unexpected(until.error());
    if (*from == *until) return fail("ends when it begins: all day is 00:00-24:00");
    if (*from == midnight) return fail("begins at 24:00: write 00:00 and the next day");
    window.from = *from;
    window.until = *until;
    return window;
}

}  // namespace superd::conf
