// SPDX-License-Identifier: MIT
#pragma once
// The state that an upgrade hands over, as text.

#include <string>
#include <string_view>

#include "core/state.h"

namespace superd::handover {

/// The version of the text as a whole: 5 is objects keyed by the names of their fields. It goes up when a reader that
/// passes over unknown fields, and has defaults for missing ones, would go wrong.
constexpr int kStateVersion = 5;

std::string write_state(core::State state);
/// Reads what this release or the one before it has written. `text` may contain any bytes. Errors: another version, not
/// a state at all.
Result<core::State> read_state(std::string_view text);
/// Each struct of the state with its fields and their types. Archive::description()
std::string describe_state();

}  // namespace superd::handover
