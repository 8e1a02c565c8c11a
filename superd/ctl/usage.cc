// SPDX-License-Identifier: MIT
#include "ctl/usage.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace superd::ctl {
namespace {

/// Two looks closer together than this show nothing: the kernel counts in ticks.
constexpr Duration kApart = std::chrono::milliseconds(300);

}  // namespace

std::optional<Usage> UsageOf::look(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    const auto name_ends = line.rfind(')');  // the name may contain anything, including parentheses and blanks
    if (name_ends == std::string::npos) return std::nullopt;
    std::istringstream fields(line.substr(name_ends + 1));
    std::string state, skipped;
    fields >> state;
    for (int i = 4; i < 14; ++i) fields >> skipped;
    unsigned long long user = 0, system = 0, born = 0;
    long pages = 0;
    fields >> user >> system;
    for (int i = 16; i < 22; ++i) fields >> skipped;
    fields >> born >> skipped >> pages;
    if (!fields) return std::nullopt;

    static const auto kTicks = static_cast<double>(sysconf(_SC_CLK_TCK));
    static const auto kPage = static_cast<double>(sysconf(_SC_PAGESIZE));
    const double busy = static_cast<double>(user + system) / kTicks;
    const Instant time = now();
    Look& look = looks_[pid];
    if (look.born != born || look.when == Instant{}) {
        // Since boot, as `born` is; CLOCK_MONOTONIC stops while the machine sleeps, but is close enough here.
        const double age =
            std::chrono::duration<double>(time.time_since_epoch()).count() - static_cast<double>(born) / kTicks;
        look = {born, busy, time, age > 1 / kTicks ? 100 * busy / age : 0};
    } else if (time - look.when >= kApart) {
        const double passed = std::chrono::duration<double>(time - look.when).count();
        look = {born, busy, time, 100 * (busy - look.busy) / passed};
    }
    return Usage{look.cpu, static_cast<double>(pages) * kPage};
}

void UsageOf::keep(const std::set<pid_t>& pids) {
    std::erase_if(looks_, [&](const auto& entry) { return !pids.contains(entry.first); });
}

}  // namespace superd::ctl
