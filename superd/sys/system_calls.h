// SPDX-License-Identifier: MIT
#pragma once
// Names and numbers of this processor's system calls, by libseccomp.

#include <optional>
#include <string>
#include <string_view>

namespace superd::sys {

/// nullopt: this processor has no such call, or libseccomp does not know it yet.
std::optional<int> system_call(std::string_view name);
/// Is it the name of a call of any processor?
bool is_system_call(std::string_view name);
/// Empty: no call has this number.
std::string system_call_name(int number);

}  // namespace superd::sys
