// SPDX-License-Identifier: MIT
#include "sys/loop.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.h"
#include "sys/fd.h"

namespace superd::sys::loop_tests {

using namespace std::chrono_literals;

TEST_CASE("an exception in a handler is reported, and the loop continues with the others") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    std::string told;
    loop->on_exception([&](const char* what) { told += what; });
    auto bad = loop->timer([] { throw std::runtime_error("a fault"); });
    auto good = loop->timer([&] { loop->exit(3); });
    REQUIRE((bad && good));
    REQUIRE(bad->arm(now()));
    REQUIRE(good->arm(now() + 20ms));
    CHECK(loop->run() == 3);
    CHECK(told == "a fault");
}

TEST_CASE("a timer that ran short of memory fires again") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int calls = 0;
    auto timer = loop->timer([&] {
        if (++calls < 3) throw std::bad_alloc();
        loop->exit(0);
    });
    REQUIRE(timer);
    REQUIRE(timer->arm(now()));
    CHECK(loop->run() == 0);
    CHECK(calls == 3);
}

TEST_CASE("a source that is ready but cannot be handled does not take the whole processor") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const sys::Fd read_end(ends[0]), write_end(ends[1]);
    REQUIRE(write(write_end.get(), "x", 1) == 1);
    int calls = 0;
    auto source = loop->io(read_end.get(), EPOLLIN, [&](std::uint32_t) {
        ++calls;
        throw std::bad_alloc();
    });
    auto end = loop->timer([&] { loop->exit(0); });
    REQUIRE((source && end));
    REQUIRE(end->arm(now() + 200ms));
    CHECK(loop->run() == 0);
    CHECK(calls >= 2);
    CHECK(calls <= 30);
}

TEST_CASE("a source that comes first does not wait for a round of all others that are ready") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const sys::Fd read_end(ends[0]), write_end(ends[1]);
    REQUIRE(write(write_end.get(), "x", 1) == 1);
    std::vector<sys::Source> others;
    std::vector<sys::Fd> copies;
    int calls = 0;
    sys::Source urgent;
    for (int i = 0; i < 100; ++i) {
        copies.push_back(read_end.duplicate());
        auto source = loop->io(copies.back().get(), EPOLLIN, [&](std::uint32_t) {
            if (++calls == 1) (void)urgent.arm(now());
        });
        REQUIRE(source);
        others.push_back(std::move(*source));
    }
    auto timer = loop->timer([&] { loop->exit(calls); });
    REQUIRE(timer);
    urgent = std::move(*timer);
    REQUIRE(urgent.come_first());
    const auto at = loop->run();
    REQUIRE(at);
    CHECK(*at < 50);
}

TEST_CASE("a handler may destroy itself and throw") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    sys::Source self;
    auto timer = loop->timer([&] {
        self = {};
        throw std::bad_alloc();
    });
    REQUIRE(timer);
    self = std::move(*timer);
    auto end = loop->timer([&] { loop->exit(0); });
    REQUIRE(end);
    REQUIRE(self.arm(now()));
    REQUIRE(end->arm(now() + 20ms));
    CHECK(loop->run() == 0);
    CHECK_FALSE(self);
    CHECK_FALSE(loop->attempt([] { throw 1; }));
}

}  // namespace superd::sys::loop_tests
