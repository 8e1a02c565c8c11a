// SPDX-License-Identifier: MIT
// What superd keeps of children and errors stays bounded.
#include <set>

#include "catch.h"
#include "core/deadlines.h"
#include "core/episode.h"

namespace superd::core::bounds_tests {

using namespace std::chrono_literals;

TEST_CASE("deadlines of children that have ended are forgotten, even behind a long-lived child") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    std::set<pid_t> alive = {1};
    Deadlines deadlines(
        *loop, 1000s, [&](pid_t pid, std::uint64_t) { return alive.contains(pid); }, [](pid_t, std::uint64_t) {});
    deadlines.add(1, 1, now());
    for (pid_t pid = 2; pid < 10'000; ++pid) {
        alive.insert(pid);
        deadlines.add(pid, 1, now());
        alive.erase(pid);
    }
    CHECK(deadlines.entries().size() < 200);
    CHECK(deadlines.entries().front().pid == 1);
}

TEST_CASE("deadlines of living children are kept, in order") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    Deadlines deadlines(
        *loop, 1000s, [](pid_t pid, std::uint64_t) { return pid % 2 == 0; }, [](pid_t, std::uint64_t) {});
    for (pid_t pid = 1; pid <= 1000; ++pid) deadlines.add(pid, 1, now());
    pid_t next = 2;
    for (const auto& entry : deadlines.entries())
        if (entry.pid % 2 == 0) CHECK(entry.pid == std::exchange(next, next + 2));
    CHECK(next == 1002);
}

TEST_CASE("an episode is reported once, with its count, after it has been quiet") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    std::uint64_t told = 0;
    int times = 0;
    Episode episode(*loop, 20ms, [&](std::uint64_t count, Duration) {
        told = count;
        ++times;
        loop->exit(0);
    });
    CHECK(episode.note(now()));
    for (int i = 0; i < 9; ++i) CHECK_FALSE(episode.note(now()));
    CHECK(loop->run() == 0);
    CHECK(told == 10);
    CHECK(times == 1);
    episode.end();
    CHECK(times == 1);
}

TEST_CASE("an episode continues in another process") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    std::uint64_t told = 0;
    Episode first(*loop, 1000s, [](std::uint64_t, Duration) {});
    first.note(now());
    first.note(now());
    Episode next(*loop, 20ms, [&](std::uint64_t count, Duration) {
        told = count;
        loop->exit(0);
    });
    next.go_on(first.memory());
    CHECK_FALSE(next.note(now()));
    CHECK(loop->run() == 0);
    CHECK(told == 3);
}

}  // namespace superd::core::bounds_tests
