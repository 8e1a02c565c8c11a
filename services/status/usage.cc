// SPDX-License-Identifier: MIT
#include "status/usage.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace status {
namespace {

/// Two looks closer together than this show nothing: the kernel counts in ticks.
constexpr auto kApart = std::chrono::milliseconds(300);

}  // namespace

std::optional<Usage> UsageOf::look(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    const auto name_ends = line.rfind(')');  // the name may contain anything, including parentheses and blanks
    if (name_ends == std::string::npos) return std::nullopt;
    std::istringstream fields(line.substr(name_ends + 1));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    unsigned long long user = 0, system = 0, born = 0;
    double pages = 0;
    fields >> user >> system;
    for (int i = 16; i < 22; ++i) fields >> skipped;
    fields >> born >> skipped >> pages;
    if (!fields) return std::nullopt;

    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    const double busy = static_cast<double>(user + system) / ticks;
    const web::Instant time = web::Clock::now();
    Look& look = looks_[pid];
    if (look.born != born || look.when == web::Instant{}) {
        // Since boot, as `born` is; the clock here stops while the machine sleeps, but is close enough.
        const double age =
            std::chrono::duration<double>(time.time_since_epoch()).count() - static_cast<double>(born) / ticks;
        look = {born, busy, time, age > 1 / ticks ? 100 * busy / age : 0};
    } else if (time - look.when >= kApart) {
        const double passed = std::chrono::duration<double>(time - look.when).count();
        look = {born, busy, time, 100 * (busy - look.busy) / passed};
    }
    return Usage{look.cpu, pages * static_cast<double>(sysconf(_SC_PAGESIZE))};
}

void UsageOf::keep(const std::set<pid_t>& pids) {
    std::erase_if(looks_, [&](const auto& entry) { return !pids.contains(entry.first); });
}

}  // namespace status
