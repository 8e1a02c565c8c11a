// SPDX-License-Identifier: MIT
#pragma once
// What of [socket] this machine's kernel has. Each returns the reason why not; "": it has it.

#include <optional>
#include <string>

#include "conf/lookups.h"

namespace superd::conf {

std::string cannot_open_fast(Lookups& lookups);
std::string cannot_use_mptcp(Lookups& lookups);
std::string cannot_control_congestion(Lookups& lookups, const std::string& by);

/// The address of a multicast group as superd writes it, with its interface if there is one: "ff02::1%eth0".
std::optional<std::string> parse_group(const std::string& text);

}  // namespace superd::conf
