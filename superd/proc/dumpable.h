// SPDX-License-Identifier: MIT
#pragma once
// What this machine's fs.suid_dumpable makes of children that change their user while they share superd's memory.

#include <string>

namespace superd::proc {

/// What a superd that is root should be told about it; "" where all is well, or nothing can be told.
std::string dumpable_warning();

}  // namespace superd::proc
