// SPDX-License-Identifier: MIT
#include "proc/occupation.h"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace superd::proc {
namespace {

// Not every architecture has the older calls, and not every header the newer ones.
constexpr long kWaits[] = {
#ifdef SYS_accept
    SYS_accept,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_select
    SYS_select,
#endif
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_accept4,
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_pwait,
    441,  // epoll_pwait2
    // What poll becomes after the thread was stopped in it; timed waits and plain sleeps become this too.
    SYS_restart_syscall,
};
constexpr long kReceives[] = {SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_read};
/// Pool threads, and the runtimes of Go and Java: they wait for a thread that waits for clients.
constexpr long kWaitsForOthers[] = {SYS_futex, 449 /* futex_waitv */};

template <class Calls>
bool is_among(const Calls& calls, long call) {
    return std::ranges::find(calls, call) != std::ranges::end(calls);
}

}  // namespace

const char* occupation_of(const sys::ProcessView& worker, bool datagrams) {
    if (!worker.whole) return "has more threads or descriptors than superd can look at";
    if (worker.children) return "has a child process";
    const auto waits = [&](const sys::ThreadView& thread) {
        if (thread.state != 'T') return thread.state == 'S';
        return is_among(kWaits, thread.call) || (datagrams && is_among(kReceives, thread.call));
    };
    const auto is_at_rest = [&](const sys::ThreadView& thread) {
        return waits(thread) || (thread.state == 'T' && is_among(kWaitsForOthers, thread.call));
    };
    const bool idle = std::ranges::all_of(worker.threads, is_at_rest) && std::ranges::any_of(worker.threads, waits);
    return idle ? nullptr : "is at work";
}

}  // namespace superd::proc
