// SPDX-License-Identifier: MIT
#pragma once
// Paths confined by Landlock, where superd may not mount. It can only permit, folder by folder with all that is below:
// where something inside a folder is to be out of reach, everything else in it is permitted by name, as it is then.

#include <string>
#include <vector>

#include "base/error.h"
#include "conf/sandbox.h"
#include "sys/fd.h"

namespace superd::proc {

/// A ruleset for landlock_restrict_self(2); invalid: the sandbox has nothing for it. `root`: the handler's root
/// directory, or "". What Landlock does not know (chmod, chown, times, attributes) stays permitted.
Result<sys::Fd> make_ruleset(const conf::Sandbox& sandbox, const std::string& root);

}  // namespace superd::proc
