// SPDX-License-Identifier: MIT
#pragma once
// A block of IP addresses, as in CIDR (RFC 4632, RFC 4291). IPv4-mapped IPv6 addresses count as IPv4.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sys/address.h"

namespace superd::sys {

/// The bytes of an IP address and its family; nothing else of a socket address.
struct IpBytes {
    bool v6 = false;
    std::array<std::uint8_t, 16> bytes{};  ///< IPv4: the first four
    bool operator==(const IpBytes&) const = default;
    auto operator<=>(const IpBytes&) const = default;
};

/// nullopt for other families.
std::optional<IpBytes> ip_bytes(const Address& address);
/// All bits past the first `length` cleared.
IpBytes masked(IpBytes address, int length);

struct Prefix {
    IpBytes base;    ///< masked
    int length = 0;  ///< 0..32 or 0..128
    bool operator==(const Prefix&) const = default;
    bool contains(const IpBytes& address) const;
    std::string text() const;
};

/// "10.0.0.0/8", "::1", "2001:db8::/32". Clears bits past the length, as xinetd and tcpd do; an address without a
/// length means that address alone. An IPv4-mapped block of at least /96 is the IPv4 block.
std::optional<Prefix> parse_prefix(std::string_view text);

}  // namespace superd::sys
