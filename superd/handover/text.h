// SPDX-License-Identifier: MIT
#pragma once
// The state that an upgrade hands over, as text.

#include <string>
#include <string_view>

#include "core/state.h"

namespace superd::handover {

/// Of the text as a whole: 5 is objects by the names of their fields. It goes up when a reader that passes over what it
/// does not know, and has a default for what it does not find, would go wrong.
constexpr int kStateVersion = 5;

std::string write_state(core::State state);
/// Reads what this release has written, or the one before it. Any bytes may be in `text`. Errors: another version, not
/// a state at all.
Result<core::State> read_state(std::string_view text);
/// Each struct of the state with its fields and their types. Archive::description()
std::string describe_state();

}  // namespace superd::handover
