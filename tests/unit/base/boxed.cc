// SPDX-License-Identifier: MIT
#include "base/boxed.h"

#include <string>

#include "base/counted.h"
#include "catch.h"

namespace superd::boxed_tests {

namespace {

struct Thing {
    int number = 7;
    std::string text;
    bool operator==(const Thing&) const = default;
};

}  // namespace

TEST_CASE("a boxed value takes memory only while it differs from its default, and copies are values of their own") {
    Boxed<Thing> one;
    CHECK(std::as_const(one)->number == 7);
    CHECK_FALSE(one.is_kept());
    one->number = 8;
    CHECK(one.is_kept());
    Boxed<Thing> two = one;
    two->text = "two";
    CHECK(*one == Thing{8, ""});
    CHECK(*two == Thing{8, "two"});
    CHECK_FALSE(one == two);
    one->number = 7;
    CHECK(one == Boxed<Thing>());
    one.settle();
    CHECK_FALSE(one.is_kept());
    CHECK(std::as_const(one)->number == 7);
    two = Thing{};
    CHECK_FALSE(two.is_kept());
    two = Thing{1, "x"};
    one = std::move(two);
    CHECK(*one == Thing{1, "x"});
    CHECK(*two == Thing{});
}

TEST_CASE("what counts is counted for as long as it lives, wherever it is moved to") {
    std::size_t number = 0;
    {
        Counted one(number);
        Counted two = std::move(one);
        CHECK(number == 1);
        one = Counted(number);
        CHECK(number == 2);
        two = {};
        CHECK(number == 1);
    }
    CHECK(number == 0);
}

}  // namespace superd::boxed_tests
