// SPDX-License-Identifier: MIT
#pragma once
// Groups of system calls, "@system-service" and the like, as data.

#include <span>
#include <string_view>

namespace superd::conf {

struct SyscallSet {
    std::string_view name;         ///< "@default"
    std::string_view description;  ///< in a few words
    std::string_view members;      ///< names of calls of any processor and of other groups, separated by blanks
};

std::span<const SyscallSet> syscall_sets();

}  // namespace superd::conf
