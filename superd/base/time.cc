// SPDX-License-Identifier: MIT
#include "base/time.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace superd {

namespace {

struct Unit {
    std::string_view name;
    std::int64_t microseconds;
};
// Largest first: both directions go through them in this order.
constexpr std::array<Unit, 6> units{
    {{"d", 86'400'000'000}, {"h", 3'600'000'000}, {"m", 60'000'000}, {"s", 1'000'000}, {"ms", 1'000}, {"us", 1}}};
constexpr std::int64_t longest = 1000 * units[0].microseconds;

}  // namespace

Instant now() {
    timespec at{};
    clock_gettime(CLOCK_MONOTONIC, &at);
    return Instant(std::chrono::seconds(at.tv_sec) + Duration(at.tv_nsec / 1000));
}

std::optional<Duration> parse_duration(std::string_view text) {
    if (text.empty()) return std::nullopt;
    std::int64_t total = 0;
    std::size_t next = 0;  // earlier units have been used or skipped
    while (!text.empty()) {
        // from_chars would accept a minus sign.
        if (text[0] < '0' || text[0] > '9') return std::nullopt;
        std::int64_t count = 0;
        const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), count);
        if (status != std::errc{}) return std::nullopt;
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        const std::string_view name = text.substr(0, text.find_first_of("0123456789"));
        while (next < units.size() && units[next].name != name) ++next;
        if (next == units.size() || count > longest / units[next].microseconds) return std::nullopt;
        total += count * units[next++].microseconds;
        if (total > longest) return std::nullopt;
        text.remove_prefix(name.size());
    }
    return Duration(total);
}

std::string format_duration(Duration value) {
    std::string text;
    std::int64_t rest = value.count();
    for (const Unit& unit : units) {
        if (const std::int64_t count = rest / unit.microseconds; count != 0) {
            text += fmt::format("{}{}", count, unit.name);
            rest -= count * unit.microseconds;
        }
    }
    return text.empty() ? "0s" : text;
}

std::string format_roughly(Duration value) {
    const auto largest =
        std::ranges::find_if(units, [&](const Unit& unit) { return value.count() >= unit.microseconds; });
    const auto second = largest < units.end() - 1 ? largest + 1 : units.end() - 1;
    return format_duration(Duration(value.count() / second->microseconds * second->microseconds));
}

}  // namespace superd
