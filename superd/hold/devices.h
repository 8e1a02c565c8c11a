// SPDX-License-Identifier: MIT
#pragma once
// A /dev with the pseudo devices, terminals of its own, and shared memory of its own.

#include <string>

namespace superd::hold {

struct Failure;

/// `as_owner`: in a user namespace, where the group of terminals has no number.
Failure make_devices(const std::string& path, bool as_owner);

}  // namespace superd::hold
