// SPDX-License-Identifier: MIT
#pragma once
// Addresses to listen on, as they are written in a definition.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "conf/service.h"

namespace superd::conf {

/// Reads any form of section 2 of the contract into its canonical value. The error says what is wrong with the address,
/// without repeating it.
Result<Listen> parse_listen(std::string_view uri, sys::Names& names);

/// Why no socket can listen on such an address, or nothing: a group that takes no streams, or a link-local address that
/// does not name its interface.
std::optional<std::string> cannot_bind(const Listen& listen, const SocketOptions& options);

/// The possible beginnings of an address: "tcp://", "systemd:" and so on.
std::vector<std::string> listen_prefixes();

/// How two bindings relate to each other.
enum class Overlap { none, partial, same };

/// same: one address. partial: one is the wildcard of the other's port, so that both can only be bound with reuse_port.
/// Port 0 never overlaps.
Overlap overlap(const Listen& a, const SocketOptions& a_options, const Listen& b, const SocketOptions& b_options);

}  // namespace superd::conf
