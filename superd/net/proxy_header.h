// SPDX-License-Identifier: MIT
#pragma once
// The header of the PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt describes it: a pure function
// from the first bytes of a connection to what they say.

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "conf/proxy_protocol.h"
#include "sys/address.h"

namespace superd::net::proxy {

/// The longest header that is taken. Version 1 ends within 107 bytes; version 2 may announce 16 + 65535, but what
/// proxies send stays far below this.
constexpr std::size_t kLongest = 4096;

/// So far it may be a header, and every byte of it belongs to the header.
struct Partial {};

struct Header {
    std::size_t size = 0;        ///< its bytes; the next one is the client's
    bool names = false;          ///< false (LOCAL, UNKNOWN): the peer speaks for itself
    sys::Address client, local;  ///< who connected to the proxy, and to which address there
    /// What else it says, under the names of the handler's variables; printable UTF-8 of at most kLongestValue bytes.
    std::vector<std::pair<const char*, std::string>> variables;
};
constexpr std::size_t kLongestValue = 255;

/// Why this is no header, or not one that is taken; safe to show.
struct Malformed {
    std::string why;
};

/// `bytes`: all that has come, or more than kLongest of it.
std::variant<Partial, Header, Malformed> read(std::string_view bytes, conf::ProxyVersions versions);

}  // namespace superd::net::proxy
