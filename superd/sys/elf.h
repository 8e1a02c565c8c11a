// SPDX-License-Identifier: MIT
#pragma once
// For which processor a program is: elf(5).

#include <string>

namespace superd::sys {

/// Is it a program for another processor than superd's, or for another form of it (i386, x32)? False also for what is
/// no ELF file or cannot be read.
bool is_foreign_program(const std::string& path);

}  // namespace superd::sys
