// SPDX-License-Identifier: MIT
#include "lib/signals.h"

#include <signal.h>
#include <sys/signalfd.h>

#include <algorithm>

namespace worker {
namespace {

Reports* alarms = nullptr;  // a signal handler has no other way to know

}  // namespace

Fd take_signals(Reports& reports) {
    alarms = &reports;
    struct sigaction action {};
    action.sa_handler = [](int) { alarms->flush(); };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGTERM);
    sigaddset(&told, SIGINT);
    sigprocmask(SIG_BLOCK, &told, nullptr);
    return Fd(signalfd(-1, &told, SFD_CLOEXEC | SFD_NONBLOCK));
}

std::uint32_t room(int connections, std::size_t count) {
    constexpr std::ptrdiff_t kCounted = 1024, kLeft = 16;
    const std::ptrdiff_t taken = static_cast<std::ptrdiff_t>(count);
    const std::ptrdiff_t free = connections - taken;
    return static_cast<std::uint32_t>(
        std::max(std::min<std::ptrdiff_t>(connections, kCounted) - taken, std::clamp<std::ptrdiff_t>(free, 0, kLeft)));
}

void report_taken(Reports& reports, int connections, std::size_t count) {
    reports.busy();
    if (room(connections, count + 1) == room(connections, count)) reports.idle();
}

void report_over(Reports& reports, int connections, std::size_t count) {
    if (room(connections, count) > room(connections, count + 1)) reports.idle();
}

}  // namespace worker
