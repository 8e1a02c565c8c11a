// SPDX-License-Identifier: MIT
// xinetd's address forms: 10.0.0.0 for a network, 10.0.0.{1,2}, 10.0.0.0/8.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.h"
#include "ctl/import/xinetd.h"

namespace superd::ctl::xinetd {

namespace {

std::optional<sys::Prefix> ipv4(std::uint32_t address, int length) {
    in_addr bytes{};
    bytes.s_addr = htonl(address);
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &bytes, text, sizeof text);
    return sys::parse_prefix(fmt::format("{}/{}", text, length));
}

/// Zero octets at the end of an address are wildcards. With fewer than four numbers, the last one fills the rest, as in
/// inet_aton(3): 192.168.1 is 192.168.0.1.
std::optional<sys::Prefix> numeric(std::string_view word) {
    in_addr bytes{};
    if (word.find_first_not_of("0123456789.xXabcdefABCDEF") != std::string_view::npos ||
        inet_aton(std::string(word).c_str(), &bytes) == 0)
        return std::nullopt;
    const std::uint32_t address = ntohl(bytes.s_addr);
    int length = 32;
    while (length > 0 && ((address >> (32 - length)) & 0xff) == 0) length -= 8;
    return ipv4(address, length);
}

/// "1.2.{3,4}": one prefix for each number in braces, with as many octets as are written.
std::vector<sys::Prefix> factorised(std::string_view word, std::size_t brace) {
    std::vector<sys::Prefix> out;
    if (!word.ends_with('}')) return out;
    const std::vector<std::string_view> front = split(word.substr(0, brace), '.');
    if (front.size() > 4 || !front.back().empty()) return out;
    for (const std::string_view last : split(word.substr(brace + 1, word.size() - brace - 2), ',')) {
        std::uint32_t address = 0;
        std::vector<std::string_view> octets = front;
        octets.back() = last;
        for (const std::string_view octet : octets) {
            unsigned number = 256;
            const char* end = octet.data() + octet.size();
            if (octet.empty() || std::from_chars(octet.data(), end, number).ptr != end || number > 255) return {};
            address = address << 8 | number;
        }
        const int length = 8 * static_cast<int>(octets.size());
        const auto prefix = ipv4(address << (32 - length), length);
        if (!prefix) return {};
        out.push_back(*prefix);
    }
    return out;
}

std::vector<sys::Prefix> one(std::string_view word) {
    if (const std::size_t brace = word.find('{'); brace != std::string_view::npos) return factorised(word, brace);
    const bool written = word.find_first_of("/:") != std::string_view::npos;
    const auto prefix = written ? sys::parse_prefix(word) : numeric(word);
    return prefix ? std::vector<sys::Prefix>{*prefix} : std::vector<sys::Prefix>{};
}

}  // namespace

std::vector<sys::Prefix> prefixes_of(const std::vector<std::string>& words, std::vector<std::string>& names) {
    std::vector<sys::Prefix> out;
    for (const std::string& word : words) {
        const std::vector<sys::Prefix> found = one(word);
        if (found.empty()) names.push_back(word);
        for (const sys::Prefix& prefix : found) {
            if (std::ranges::find(out, prefix) == out.end()) out.push_back(prefix);
        }
    }
    return out;
}

}  // namespace superd::ctl::xinetd
