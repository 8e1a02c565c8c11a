// SPDX-License-Identifier: MIT
#include "proc/occupation.h"

#include <sys/syscall.h>

#include "catch.h"

namespace superd::proc::occupation_tests {

namespace {

bool waits(std::vector<long> calls, bool datagrams = false) {
    sys::ProcessView view;
    for (const long call : calls) view.threads.push_back({'T', call});
    return proc::occupation_of(view, datagrams) == nullptr;
}

}  // namespace

TEST_CASE("a worker waits for clients in the calls that report them") {
    for (const long call : {SYS_accept4, SYS_ppoll, SYS_pselect6, SYS_epoll_pwait}) CHECK(waits({call}));
#ifdef SYS_accept
    CHECK(waits({SYS_accept}));
#endif
#ifdef SYS_poll
    CHECK(waits({SYS_poll}));
    CHECK(waits({SYS_select}));
    CHECK(waits({SYS_epoll_wait}));
#endif
    for (const long call : {long{SYS_read}, long{SYS_recvfrom}, long{SYS_write}, long{SYS_wait4}, -1L})
        CHECK_FALSE(waits({call}));
}

TEST_CASE("every thread counts, and one that waits for another thread needs one that waits for clients") {
    CHECK(waits({SYS_accept4, SYS_accept4, SYS_epoll_pwait}));
    CHECK_FALSE(waits({SYS_accept4, SYS_write}));
    CHECK_FALSE(waits({-1, SYS_accept4}));
    CHECK(waits({SYS_futex, SYS_epoll_pwait, SYS_futex}));
    CHECK_FALSE(waits({SYS_futex, SYS_futex}));
    CHECK_FALSE(waits({}));
}

TEST_CASE("all that is known of a worker that is not stopped is that it sleeps") {
    const auto occupied = [](const char* states) {
        sys::ProcessView view;
        for (; *states != '\0'; ++states) view.threads.push_back({*states, *states == 'T' ? long{SYS_accept4} : -1L});
        return proc::occupation_of(view, false) != nullptr;
    };
    CHECK_FALSE(occupied("S"));
    CHECK_FALSE(occupied("SS"));
    CHECK_FALSE(occupied("ST"));  // about to stop
    for (const char* states : {"R", "SR", "SD", "t"}) CHECK(occupied(states));
}

TEST_CASE("a worker for datagrams waits by receiving") {
    for (const long call : {SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_read}) CHECK(waits({call}, true));
    CHECK_FALSE(waits({SYS_sendto}, true));
}

TEST_CASE("a worker with a child, or one that could not be fully examined, is not idle") {
    sys::ProcessView view;
    view.threads = {{'T', SYS_accept4}};
    CHECK(proc::occupation_of(view, false) == nullptr);
    view.children = true;
    CHECK(proc::occupation_of(view, false) != nullptr);
    view.children = false;
    view.whole = false;
    CHECK(proc::occupation_of(view, false) != nullptr);
}

}  // namespace superd::proc::occupation_tests
