// SPDX-License-Identifier: MIT
#pragma once
// The definitions on disk, as both programs find and check them.

#include "conf/surroundings.h"

namespace superd::ctl {

/// Prints every error, or the number of services; as JSON for programs. Returns the exit status.
/// `portable`: passes over what another machine may have.
int check(const conf::Places& places, bool json = false, bool portable = false);

}  // namespace superd::ctl
