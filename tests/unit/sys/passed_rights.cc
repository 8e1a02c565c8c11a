// SPDX-License-Identifier: MIT
#include "sys/passed_rights.h"

#include <signal.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "catch.h"
#include "unit/sys/poison.h"

namespace superd::sys::passed_rights_tests {

namespace {

struct Pair {
    explicit Pair(int type) {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
        ours = sys::Fd(ends[0]);
        theirs = sys::Fd(ends[1]);
    }
    sys::GuardedFd ours;
    sys::Fd theirs;
};

/// Far shorter than the sleep, whatever else the machine does.
bool soon(Instant since) {
    return now() - since < std::chrono::seconds(kLinger / 2);
}

constexpr int kTypes[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

}  // namespace

TEST_CASE("a message with descriptors is not read, and is dropped without a sleep, alone or with its socket") {
    for (const int type : kTypes) {
        std::vector<Poison> poison(4);
        Pair pair(type);
        REQUIRE(send(pair.theirs.get(), "ab", 2, 0) == 2);
        char bytes[16];
        if (type == SOCK_STREAM)  // it also shows what comes after
            CHECK(sys::receive_without_rights(pair.ours.get(), bytes, sizeof bytes) == 2);
        for (Poison& each : poison) REQUIRE(each.pass(pair.theirs.get()) == 0);
        const Instant begin = now();
        if (type != SOCK_STREAM) {
            CHECK_FALSE(sys::next_carries_rights(pair.ours.get()));
            CHECK(sys::receive_without_rights(pair.ours.get(), bytes, sizeof bytes) == 2);
        }
        for (const int flags : {0, static_cast<int>(MSG_PEEK)}) {
            CHECK(sys::receive_without_rights(pair.ours.get(), bytes, sizeof bytes, flags) == -1);
            CHECK(errno == EPERM);
        }
        CHECK(sys::next_carries_rights(pair.ours.get()));
        if (type != SOCK_STREAM) {
            REQUIRE(send(pair.theirs.get(), "cd", 2, 0) == 2);
            for (int i = 0; i < 1000 && sys::next_carries_rights(pair.ours.get()); ++i) sys::drop_next(pair.ours.get());
            CHECK(sys::receive_without_rights(pair.ours.get(), bytes, sizeof bytes) == 2);
            CHECK(std::string_view(bytes, 2) == "cd");
        } else {
            pair.ours.reset();
        }
        CHECK(soon(begin));
    }
}

TEST_CASE("a socket on which other owners set linger closes without a sleep") {
    Poison poison;
    const Instant begin = now();
    {
        sys::GuardedFd last(std::move(poison.ours));
        sys::GuardedFd moved;
        moved = std::move(last);
    }
    CHECK(soon(begin));
    sys::GuardedFd closed(dup(poison.theirs.get()));
    const int number = closed.get();
    closed = sys::GuardedFd();
    CHECK(fcntl(number, F_GETFD) < 0);
}

TEST_CASE("no descriptor can be passed where the kernel can forbid it, until superd allows it again") {
    for (const int type : kTypes) {
        Poison poison;
        Pair pair(type);
        sys::let_rights_in(pair.ours.get(), false);
        int on = -1;
        socklen_t size = sizeof on;
        const bool known = getsockopt(pair.ours.get(), SOL_SOCKET, 83, &on, &size) == 0;
        CHECK(poison.pass(pair.theirs.get()) == (known ? EPERM : 0));
        if (!known) continue;
        sys::let_rights_in(pair.ours.get(), true);
        CHECK(poison.pass(pair.theirs.get()) == 0);
    }
}

TEST_CASE("reading without rights never waits, and reports the reason in errno") {
    Pair pair(SOCK_SEQPACKET);
    char byte = 0;
    CHECK(sys::receive_without_rights(pair.ours.get(), &byte, 1) == -1);
    CHECK(errno == EAGAIN);
    pair.theirs.reset();
    CHECK(sys::receive_without_rights(pair.ours.get(), &byte, 1) == 0);
    CHECK(sys::receive_without_rights(-1, &byte, 1) == -1);
    CHECK(errno == EBADF);
}

TEST_CASE(
    "an interruption continues after a nested one ends, and leaves no timer behind, and a signal without effect") {
    {
        const sys::Interruption outer(std::chrono::milliseconds(1));
        { const sys::Dropping inner; }
        const timespec long_time{kLinger, 0};
        CHECK(nanosleep(&long_time, nullptr) == -1);
        CHECK(errno == EINTR);
    }
    itimerval timer{};
    getitimer(ITIMER_REAL, &timer);
    CHECK(timer.it_interval.tv_usec == 0);
    CHECK(timer.it_value.tv_usec == 0);
    CHECK(raise(SIGALRM) == 0);
}

}  // namespace superd::sys::passed_rights_tests
