// SPDX-License-Identifier: MIT
#pragma once
// Addresses to listen on, as they are written.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "conf/service.h"

namespace superd::conf {

/// Reads any form of section 2 of the contract into its canonical value. The error tells what is wrong with
/// the address, without repeating it.
Result<Listen> parse_listen(std::string_view uri, sys::Names& names);

/// Why nobody can listen on such an address, or nothing: a group that takes no streams, or an address of one link that
/// does not say of which.
std::optional<std::string> cannot_bind(const Listen& listen, const SocketOptions& options);

/// What an address may begin with: "tcp://", "systemd:" and so on.
std::vector<std::string> listen_prefixes();

/// What two bindings have to do with each other.
enum class Overlap { none, partial, same };

/// same: one address. partial: one is the wildcard of the other's port, so that only reuse_port lets both be
/// bound. Port 0 never overlaps.
Overlap overlap(const Listen& a, const SocketOptions& a_options, const Listen& b, const SocketOptions& b_options);

}  // namespace superd::conf
