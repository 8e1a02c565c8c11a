// SPDX-License-Identifier: MIT
#pragma once
// How this machine's fs.suid_dumpable affects children that change their user while they share superd's memory.

#include <string>

namespace superd::proc {

/// A warning for a superd that runs as root; "" if all is well or the value is unknown.
std::string dumpable_warning();

}  // namespace superd::proc
