// SPDX-License-Identifier: MIT
#pragma once
// Where connections go: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, unix://@NAME, vsock://CID:PORT.

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/common.h"

namespace proxy {

struct Target {
    enum class Kind { tcp, udp, unix_path, vsock };

    Kind kind = Kind::tcp;
    std::string text;              ///< as it was written
    std::string host, port;        ///< tcp and udp
    std::optional<Address> fixed;  ///< the address, unless `host` is a name

    bool datagrams() const { return kind == Kind::udp; }
};

/// The error says what would be right.
std::expected<Target, std::string> parse_target(std::string_view text);
/// An address without a port, for --bind.
std::expected<Address, std::string> parse_address(std::string_view text);

/// The addresses of a name. Asks name services, and so may take long.
std::expected<std::vector<Address>, std::string> resolve(const std::string& host, const std::string& port,
                                                         bool datagrams);

}  // namespace proxy
