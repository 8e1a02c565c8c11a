// SPDX-License-Identifier: MIT
#include "core/warm_level.h"

#include "catch.h"

namespace superd::core::warm_level_tests {

using Value = WarmLevel::Value;
using namespace std::chrono_literals;

TEST_CASE("what was asked for is in force until it proves not to be had, and that is told once") {
    Instant time{1000s};
    WarmLevel level(Value::clone);
    CHECK(level.in_force() == Value::clone);
    CHECK_FALSE(level.is_lowered());
    CHECK(level.failed(Value::start, "it has threads", time));
    CHECK(level.in_force() == Value::start);
    CHECK(level.reason() == "it has threads");
    CHECK_FALSE(level.failed(Value::start, "it has threads", time));
    CHECK(level.failed(Value::off, "it ended", time));
    level.reached(Value::clone, time);
    CHECK(level.in_force() == Value::clone);
    CHECK(level.reason().empty());
    CHECK(level.failed(Value::off, "it ended", time));
}

TEST_CASE("what is not to be had is tried again at growing intervals, and at once after a change") {
    Instant time{1000s};
    WarmLevel level(Value::clone);
    (void)level.failed(Value::off, "it ended", time);
    REQUIRE(level.retry_at());
    const Duration first = *level.retry_at() - time;
    CHECK(first >= 7s);
    time = *level.retry_at();
    level.trying();
    CHECK_FALSE(level.retry_at());
    (void)level.failed(Value::off, "it ended", time);
    CHECK(*level.retry_at() - time > first);
    for (int i = 0; i < 20; ++i) (void)level.failed(Value::off, "it ended", time);
    CHECK(*level.retry_at() - time <= 1h);
    level.changed(time);
    CHECK(level.retry_at() == time);
}

TEST_CASE("more than six renewals in a minute lower the value step by step, until a quiet minute") {
    Instant time{1000s};
    WarmLevel level(Value::clone);
    for (int i = 0; i < 20; ++i) CHECK_FALSE(level.renewed(time += 10s));
    for (int i = 0; i < 1; ++i) CHECK(level.renewed(time += 1s));
    CHECK(level.in_force() == Value::start);
    CHECK(level.retry_at() == time + WarmLevel::kMinute);
    CHECK(level.reason().find("six") != std::string::npos);
    level.changed(time);  // which is just what happens too often
    CHECK(level.retry_at() == time + WarmLevel::kMinute);
    for (int i = 0; i < 5; ++i) CHECK_FALSE(level.renewed(time += 1s));
    CHECK(level.retry_at() == time + WarmLevel::kMinute);
    CHECK(level.renewed(time += 1s));
    CHECK(level.in_force() == Value::off);
    CHECK_FALSE(level.renewed(time += 1s));
    level.reached(Value::clone, time + 1s);  // too soon
    CHECK(level.in_force() == Value::off);
    level.reached(Value::clone, time + WarmLevel::kMinute);
    CHECK(level.in_force() == Value::clone);
}

TEST_CASE("a failure does not end the quiet minute, and changes are not tried one by one where nothing is lower") {
    Instant time{1000s};
    WarmLevel level(Value::start);
    for (int i = 0; i < 7; ++i) (void)level.renewed(time);
    CHECK(level.in_force() == Value::off);
    (void)level.failed(Value::off, "it ended", time + 1s);
    CHECK(*level.retry_at() >= time + WarmLevel::kMinute);
    WarmLevel other(Value::clone);
    (void)other.failed(Value::off, "it ended", time);
    for (int i = 0; i < 7; ++i) CHECK_FALSE(other.renewed(time));
    other.changed(time);
    CHECK(other.retry_at() == time + WarmLevel::kMinute);
}

TEST_CASE("the value in force, and why, goes over an upgrade") {
    Instant time{1000s};
    WarmLevel level(Value::clone);
    for (int i = 0; i < 7; ++i) (void)level.renewed(time);
    WarmLevel next(Value::clone);
    next.go_on(level.memory());
    CHECK(next.in_force() == Value::start);
    CHECK(next.reason() == level.reason());
    CHECK(next.retry_at() == level.retry_at());
    for (int i = 0; i < 5; ++i) CHECK_FALSE(next.renewed(time));
    CHECK(next.renewed(time));
}

}  // namespace superd::core::warm_level_tests
