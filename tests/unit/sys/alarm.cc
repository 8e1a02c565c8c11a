// SPDX-License-Identifier: MIT
#include "sys/alarm.h"

#include <memory>

#include "catch.h"

namespace superd::sys::alarm_tests {

using namespace std::chrono_literals;

TEST_CASE("an alarm rings once, at the last instant that it was set to, and knows it until then") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int rings = 0;
    sys::Alarm alarm(*loop, [&] { ++rings; });
    sys::Alarm end(*loop, [&] { loop->exit(0); });
    CHECK_FALSE(alarm.when());
    const Instant soon = now() + 1ms;
    REQUIRE(alarm.set(now() + 1h));
    REQUIRE(alarm.set(soon));
    CHECK(alarm.when() == soon);
    REQUIRE(end.set(now() + 30ms));
    CHECK(loop->run() == 0);
    CHECK(rings == 1);
    CHECK_FALSE(alarm.is_set());
}

TEST_CASE("an alarm that is to ring by an instant keeps a sooner one") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    sys::Alarm alarm(*loop, [] {});
    const Instant soon = now() + 1min, later = soon + 1min;
    REQUIRE(alarm.set_by(later));
    REQUIRE(alarm.set_by(soon));
    CHECK(alarm.when() == soon);
    REQUIRE(alarm.set_by(later));
    CHECK(alarm.when() == soon);
}

TEST_CASE("an alarm that was cleared does not ring, and rings when it is set again") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int rings = 0;
    sys::Alarm alarm(*loop, [&] { ++rings; });
    alarm.clear();
    REQUIRE(alarm.set(now()));
    alarm.clear();
    CHECK_FALSE(alarm.is_set());
    sys::Alarm then(*loop, [&] {
        CHECK(rings == 0);
        (void)alarm.set(now());
    });
    REQUIRE(then.set(now() + 10ms));
    sys::Alarm end(*loop, [&] { loop->exit(0); });
    REQUIRE(end.set(now() + 40ms));
    CHECK(loop->run() == 0);
    CHECK(rings == 1);
}

TEST_CASE("an alarm may be set anew, or destroyed, while it rings") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int rings = 0;
    std::unique_ptr<sys::Alarm> alarm;
    alarm = std::make_unique<sys::Alarm>(*loop, [&] {
        CHECK_FALSE(alarm->is_set());
        if (++rings < 3) return (void)alarm->set(now());
        alarm.reset();
        loop->exit(0);
    });
    REQUIRE(alarm->set(now()));
    CHECK(loop->run() == 0);
    CHECK(rings == 3);
}

}  // namespace superd::sys::alarm_tests
