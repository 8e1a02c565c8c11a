// SPDX-License-Identifier: MIT
// xinetd's forms of addresses: 10.0.0.0 for a network, 10.0.0.{1,2}, 10.0.0.0/8.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/text.h"
#include "ctl/import/xinetd.h"
#include "sys/prefix.h"

namespace superd::ctl::xinetd {

namespace {

std::optional<int> octet(std::string_view text) {
    int number = -1;
    if (text.empty() || text.size() > 3 || !all_digits(text)) return std::nullopt;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number <= 255 ? std::optional(number) : std::nullopt;
}

/// The zeros at an address's end are wildcards; what is not written there is zero.
std::optional<std::string> network(const std::vector<std::string_view>& parts) {
    std::array<int, 4> octets{};
    if (parts.size() > octets.size()) return std::nullopt;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto number = octet(parts[i]);
        if (!number) return std::nullopt;
        octets[i] = *number;
    }
    std::size_t length = octets.size();
    while (length > 0 && octets[length - 1] == 0) --length;
    const std::string address = fmt::format("{}.{}.{}.{}", octets[0], octets[1], octets[2], octets[3]);
    return length == octets.size() ? address : fmt::format("{}/{}", address, 8 * length);
}

/// "1.2.{3,4}": a prefix for each.
std::vector<std::string> factorised(std::string_view word, std::size_t brace) {
    std::vector<std::string> out;
    if (!word.ends_with('}') || brace < 2 || word[brace - 1] != '.') return out;
    const std::vector<std::string_view> front = split(word.substr(0, brace - 1), '.');
    for (const std::string_view last : split(word.substr(brace + 1, word.size() - brace - 2), ',')) {
        std::vector<std::string_view> parts = front;
        parts.push_back(last);
        const auto prefix = network(parts);
        if (!prefix) return {};
        out.push_back(*prefix);
    }
    return out;
}

std::vector<std::string> one(std::string_view word) {
    if (word == "localhost") return {"127.0.0.1", "::1"};
    if (const std::size_t brace = word.find('{'); brace != std::string_view::npos) return factorised(word, brace);
    if (word.find('/') == std::string_view::npos && word.find(':') == std::string_view::npos) {
        // Of fewer than four numbers xinetd makes something that nobody means: 192.168.1 is 192.168.0.1 to it.
        const auto parts = split(word, '.');
        const auto prefix = parts.size() == 4 ? network(parts) : std::nullopt;
        return prefix ? std::vector<std::string>{*prefix} : std::vector<std::string>{};
    }
    return sys::parse_prefix(word) ? std::vector<std::string>{std::string(word)} : std::vector<std::string>{};
}

}  // namespace

std::vector<std::string> prefixes_of(const std::vector<std::string>& words, std::vector<std::string>& names) {
    std::vector<std::string> out;
    std::vector<sys::Prefix> seen;
    for (const std::string& word : words) {
        const std::vector<std::string> found = one(word);
        if (found.empty()) names.push_back(word);
        for (const std::string& text : found) {
            const auto prefix = sys::parse_prefix(text);
            if (!prefix || std::ranges::find(seen, *prefix) != seen.end()) continue;
            seen.push_back(*prefix);
            out.push_back(text);
        }
    }
    return out;
}

}  // namespace superd::ctl::xinetd
