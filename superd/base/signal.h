// SPDX-License-Identifier: MIT
#pragma once
// Signals by name. The one table of names is the C library's.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace superd {

/// "SIGTERM", "SIGRTMIN+3", or "signal 99".
std::string signal_name(int number);

/// "TERM" or "SIGTERM"; nullopt: no signal has that name.
std::optional<int> find_signal(std::string_view name);

/// "HUP", "INT" …, in the order of their numbers. Real-time signals have numbers alone.
std::vector<std::string> signal_names();

}  // namespace superd
