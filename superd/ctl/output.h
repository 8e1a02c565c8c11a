// SPDX-License-Identifier: MIT
#pragma once
// Definitions that superctl writes for a user.

#include <string>
#include <string_view>

#include "base/error.h"

namespace superd::ctl {

/// Writes FOLDER/NAME whole and at once, with mode 0644. Without `replace`, a file that is there or appears meanwhile
/// is left alone: EEXIST.
Result<void> write_file(const std::string& folder, const std::string& name, std::string_view text, bool replace);

}  // namespace superd::ctl
