// SPDX-License-Identifier: MIT
#include "sys/alarm.h"

#include <memory>
#include <stdexcept>

#include "catch.h"
#include "unit/memory_ends.h"

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
    alarm.set(now() + 1h);
    alarm.set(soon);
    CHECK(alarm.when() == soon);
    end.set(now() + 30ms);
    CHECK(loop->run() == 0);
    CHECK(rings == 1);
    CHECK_FALSE(alarm.is_set());
}

TEST_CASE("an alarm that is to ring by an instant keeps a sooner one") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    sys::Alarm alarm(*loop, [] {});
    const Instant soon = now() + 1min, later = soon + 1min;
    alarm.set_by(later);
    alarm.set_by(soon);
    CHECK(alarm.when() == soon);
    alarm.set_by(later);
    CHECK(alarm.when() == soon);
}

TEST_CASE("an alarm that was cleared does not ring, and rings when it is set again") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int rings = 0;
    sys::Alarm alarm(*loop, [&] { ++rings; });
    alarm.clear();
    alarm.set(now());
    alarm.clear();
    CHECK_FALSE(alarm.is_set());
    sys::Alarm then(*loop, [&] {
        CHECK(rings == 0);
        alarm.set(now());
    });
    then.set(now() + 10ms);
    sys::Alarm end(*loop, [&] { loop->exit(0); });
    end.set(now() + 40ms);
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
        if (++rings < 3) return alarm->set(now());
        alarm.reset();
        loop->exit(0);
    });
    alarm->set(now());
    CHECK(loop->run() == 0);
    CHECK(rings == 3);
}

TEST_CASE("an alarm rings where there is no memory for its timer, and may be cleared, set anew and destroyed there") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int rings = 0;
    std::unique_ptr<sys::Alarm> gone, itself;
    sys::Alarm again(*loop, [&] {
        gone.reset();
        const MemoryEnds ends(0);
        if (++rings < 3) again.set(now());
    });
    sys::Alarm cleared(*loop, [&] { FAIL(); }), later(*loop, [&] { FAIL(); });
    gone = std::make_unique<sys::Alarm>(*loop, [&] { FAIL(); });
    itself = std::make_unique<sys::Alarm>(*loop, [&] { itself.reset(); });
    const Instant begun = now();
    {
        const MemoryEnds ends(0);
        gone->set(begun + 50ms);
        cleared.set(begun);
        later.set(begun + 1h);
        itself->set(begun);
        again.set(begun);
        cleared.clear();
        later.set_by(begun + 30min);
    }
    gone->set(begun + 1min);  // now there is memory
    CHECK(later.when() == begun + 30min);
    sys::Alarm end(*loop, [&] {
        if (rings == 3) return loop->exit(0);
        end.set(now() + 10ms);
    });
    end.set(begun);
    CHECK(loop->run() == 0);
    CHECK_FALSE(itself);
    CHECK_FALSE(gone);
    CHECK_FALSE(again.is_set());
    CHECK(later.when() == begun + 30min);
}

TEST_CASE("an alarm whose handler throws rings again, unless the handler has set it") {
    auto loop = sys::Loop::create();
    REQUIRE(loop);
    int rings = 0;
    sys::Alarm alarm(*loop, [&] {
        if (++rings == 2) alarm.set(now());
        if (rings == 3) return loop->exit(0);
        throw std::runtime_error("not yet");
    });
    alarm.set(now());
    CHECK(loop->run() == 0);
    CHECK(rings == 3);
    CHECK_FALSE(alarm.is_set());
}

}  // namespace superd::sys::alarm_tests
