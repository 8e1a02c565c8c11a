// SPDX-License-Identifier: MIT
#include "status/text.h"

#include <fmt/format.h>

#include <cmath>

namespace status {
namespace {

/// How many bytes the character at the beginning has; 0: it is none. RFC 3629.
std::size_t utf8_length(std::string_view text) {
    const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xbf) {
        return at(i) >= least && at(i) <= most;
    };
    const unsigned first = at(0);
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef)  // no surrogates, nothing longer than it has to be
        return follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
    if (first >= 0xf0 && first <= 0xf4)
        return follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
    return 0;
}

/// Characters that turn the text around them: what stands beside a name must stay where it is.
bool is_control(std::string_view character) {
    if (character.size() == 1) return static_cast<unsigned char>(character[0]) < 0x20 || character[0] == 0x7f;
    if (character.size() == 2) return character[0] == '\xc2' && static_cast<unsigned char>(character[1]) < 0xa0;
    if (character.size() != 3 || character[0] != '\xe2') return false;
    const auto second = static_cast<unsigned char>(character[1]), third = static_cast<unsigned char>(character[2]);
    return (second == 0x80 && (third == 0x8e || third == 0x8f || (third >= 0xa8 && third <= 0xae))) ||
           (second == 0x81 && third >= 0xa6 && third <= 0xa9);
}

}  // namespace

std::string escape(std::string_view text) {
    constexpr std::string_view kReplacement = "\xef\xbf\xbd";
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        const std::string_view character = text.substr(0, length == 0 ? 1 : length);
        text.remove_prefix(character.size());
        if (length == 0 || is_control(character))
            out += kReplacement;
        else if (character == "&")
            out += "&amp;";
        else if (character == "<")
            out += "&lt;";
        else if (character == ">")
            out += "&gt;";
        else if (character == "\"")
            out += "&quot;";
        else if (character == "'")
            out += "&#39;";
        else
            out += character;
    }
    return out;
}

std::string percent_encode(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == '~';
        if (plain)
            out += c;
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

std::string brief_duration(double seconds) {
    if (seconds < 0.001) return fmt::format("{:.0f}µs", seconds * 1e6);
    if (seconds < 0.01) return fmt::format("{:.1f}ms", seconds * 1e3);
    if (seconds < 1) return fmt::format("{:.0f}ms", seconds * 1e3);
    if (seconds < 10) return fmt::format("{:.1f}s", seconds);
    const auto whole = static_cast<long>(seconds);
    if (whole < 60) return fmt::format("{}s", whole);
    if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
    if (whole < 86400) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
    if (whole < 100 * 86400) return fmt::format("{}d{:02}h", whole / 86400, whole / 3600 % 24);
    return fmt::format("{}d", whole / 86400);
}

std::string brief_size(double bytes) {
    const char* unit = "BKMGT";
    while (bytes >= 1024 && unit[1] != 0) {
        bytes /= 1024;
        ++unit;
    }
    return *unit == 'B' || bytes >= 10 ? fmt::format("{:.0f}{}", bytes, *unit) : fmt::format("{:.1f}{}", bytes, *unit);
}

std::string brief_rate(double rate) {
    if (rate == 0 || rate >= 10) return fmt::format("{:.0f}", rate);
    return rate < 0.05 ? "<0.1" : fmt::format("{:.1f}", rate);
}

std::string counted(double count, std::string_view what) {
    return fmt::format("{:.0f} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace status
