// SPDX-License-Identifier: MIT
#include "status/history.h"

#include <cmath>

#include "catch.h"

namespace status::history_tests {

using namespace std::chrono_literals;

namespace {

const web::Instant kStart{1000 * History::kSlot};  // where a slot begins

bool is(const std::optional<double>& value, double what) {
    return value && std::abs(*value - what) < 0.001;
}

}  // namespace

TEST_CASE("A history has nothing to tell before the second look") {
    History history;
    history.add(kStart, {100, 10, 5});
    for (const auto& value : history.clients_per_second()) CHECK_FALSE(value);
    CHECK(history.clients_per_second().size() == History::kSlots);
}

TEST_CASE("Looks within a slot add up, and what has been counted before the first is nobody's") {
    History history;
    history.add(kStart, {100, 10, 5});
    CHECK(history.add(kStart + 1s, {102, 11, 5.5}).clients == 2);
    history.add(kStart + 4s, {108, 14, 8.5});
    CHECK(is(history.clients_per_second().back(), 2));
    CHECK(is(history.handler_seconds().back(), 3.5 / 4));
}

TEST_CASE("What comes over several slots is spread over them, and none is left out") {
    History history;
    history.add(kStart, {});
    history.add(kStart + 14s, {28, 0, 0});
    const auto clients = history.clients_per_second();
    for (std::size_t i = History::kSlots - 3; i < History::kSlots; ++i) CHECK(is(clients[i], 2));
    CHECK_FALSE(clients[History::kSlots - 4]);
    CHECK_FALSE(history.handler_seconds().back());
}

TEST_CASE("Counts that begin anew are taken as they are") {
    History history;
    history.add(kStart, {100, 0, 0});
    CHECK(history.add(kStart + 1s, {3, 0, 0}).clients == 3);
}

TEST_CASE("After a long silence only the last five minutes are kept") {
    History history;
    history.add(kStart, {});
    history.add(kStart + 1s, {50, 0, 0});
    history.add(kStart + 2h, {50, 0, 0});
    for (const auto& value : history.clients_per_second()) CHECK(value.value_or(0) == 0);
    history.add(kStart + 2h, {60, 0, 0});  // the clock has not moved
    history.add(kStart + 2h + 1s, {61, 0, 0});
    CHECK(is(history.clients_per_second().back(), 1));
}

}  // namespace status::history_tests
