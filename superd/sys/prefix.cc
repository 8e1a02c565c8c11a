// SPDX-License-Identifier: MIT
#include "sys/prefix.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace superd::sys {
namespace {

IpBytes unmapped(const in6_addr& address) {
    IpBytes ip;
    ip.v6 = !IN6_IS_ADDR_V4MAPPED(&address);
    if (ip.v6)
        std::memcpy(ip.bytes.data(), address.s6_addr, 16);
    else
        std::memcpy(ip.bytes.data(), address.s6_addr + 12, 4);
    return ip;
}

}  // namespace

std::optional<IpBytes> ip_bytes(const Address& address) {
    if (address.family() == AF_INET6) return unmapped(reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr);
    if (address.family() != AF_INET) return std::nullopt;
    IpBytes ip;
    std::memcpy(ip.bytes.data(), &reinterpret_cast<const sockaddr_in*>(address.data())->sin_addr, 4);
    return ip;
}

IpBytes masked(IpBytes address, int length) {
    for (int i = 0; i < 16; ++i) {
        const int bits = std::clamp(length - 8 * i, 0, 8);
        auto& byte = address.bytes[static_cast<std::size_t>(i)];
        byte = static_cast<std::uint8_t>(byte & (0xff00 >> bits));
    }
    return address;
}

bool Prefix::contains(const IpBytes& address) const {
    return address.v6 == base.v6 && masked(address, length) == base;
}

std::string Prefix::text() const {
    char host[INET6_ADDRSTRLEN];
    inet_ntop(base.v6 ? AF_INET6 : AF_INET, base.bytes.data(), host, sizeof host);
    return fmt::format("{}/{}", host, length);
}

std::optional<Prefix> parse_prefix(std::string_view text) {
    const auto slash = text.find('/');
    const std::string host(text.substr(0, slash));
    Prefix prefix;
    int most = 32;
    int mapped = 0;
    if (in_addr v4; inet_pton(AF_INET, host.c_str(), &v4) == 1) {
        std::memcpy(prefix.base.bytes.data(), &v4, 4);
    } else if (in6_addr v6; inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
        prefix.base = unmapped(v6);
        most = 128;
        if (!prefix.base.v6) mapped = 96;
    } else {
        return std::nullopt;
    }
    prefix.length = most;
    if (slash != std::string_view::npos) {
        const auto digits = text.substr(slash + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix.length);
        if (error != std::errc() || end != digits.data() + digits.size() || prefix.length < 0 || prefix.length > most)
            return std::nullopt;
    }
    prefix.length -= mapped;
    if (prefix.length < 0) return std::nullopt;  // also covers addresses other than mapped ones: neither IPv4 nor IPv6
    prefix.base = masked(prefix.base, prefix.length);
    return prefix;
}

}  // namespace superd::sys
