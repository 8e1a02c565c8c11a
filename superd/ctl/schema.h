// SPDX-License-Identifier: MIT
#pragma once
// The key table as JSON Schema (draft-07), for editors and whoever checks definitions without superd.

#include <nlohmann/json.hpp>

namespace superd::ctl {

/// Of a service's file. It refuses nothing that the parser takes; what depends on other keys, on the machine or on
/// superd.toml, and the ranges of durations and sizes, the parser alone knows. `whole`: false for a drop-in, and for
/// what leaves some keys to [defaults]: nothing is required.
nlohmann::ordered_json service_schema(bool whole);

}  // namespace superd::ctl
