// SPDX-License-Identifier: MIT
#include "base/signal.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>

namespace superd {

std::string signal_name(int number) {
    if (const char* name = sigabbrev_np(number)) return fmt::format("SIG{}", name);
    // sigabbrev_np(3) knows no real-time signals.
    if (number >= SIGRTMIN && number <= SIGRTMAX)
        return number == SIGRTMIN ? "SIGRTMIN" : fmt::format("SIGRTMIN+{}", number - SIGRTMIN);
    return fmt::format("signal {}", number);
}

std::optional<int> find_signal(std::string_view name) {
    if (name.starts_with("SIG")) name.remove_prefix(3);
    for (int number = 1; number < NSIG; ++number) {
        if (const char* known = sigabbrev_np(number); known != nullptr && name == known) return number;
    }
    return std::nullopt;
}

std::vector<std::string> signal_names() {
    std::vector<std::string> names;
    for (int number = 1; number < NSIG; ++number) {
        if (const char* name = sigabbrev_np(number)) names.emplace_back(name);
    }
    return names;
}

}  // namespace superd
