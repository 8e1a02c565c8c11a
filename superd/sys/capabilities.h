// SPDX-License-Identifier: MIT
#pragma once
// Names of capabilities, by libcap, as superd writes them: "NET_ADMIN".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace superd::sys {

/// The bit number. nullopt: no capability has this name.
std::optional<int> capability(std::string_view name);
/// "40" for one that libcap does not know.
std::string capability_name(int number);
/// All that libcap knows.
std::vector<std::string> capability_names();
/// How many this kernel has: they count from 0.
int capabilities_here();

}  // namespace superd::sys
