// SPDX-License-Identifier: MIT
#pragma once
// The key table as JSON Schema (draft-07), for editors and for checks of definitions without superd.

#include <nlohmann/json.hpp>

namespace superd::ctl {

/// The schema of a service's file. It accepts everything that the parser accepts; only the parser knows what depends on
/// other keys, on the machine or on superd.toml, and the ranges of durations and sizes. `whole`: false for a drop-in,
/// and for a file that leaves some keys to [defaults]: nothing is required.
nlohmann::ordered_json service_schema(bool whole);

}  // namespace superd::ctl
