// SPDX-License-Identifier: MIT
#include "base/names.h"

#include <stdexcept>

#include "tests/catch.h"

namespace superd::names_tests {

namespace fruit {

enum class Fruit { apple, pear };
constexpr auto names_of(Fruit) {
    return std::array{"apple", "pear"};
}

}  // namespace fruit

TEST_CASE("a value and its name lead to each other") {
    CHECK(name_of(fruit::Fruit::pear) == std::string_view("pear"));
    CHECK(find_named<fruit::Fruit>("pear") == fruit::Fruit::pear);
    CHECK(find_named<fruit::Fruit>("apple") == fruit::Fruit::apple);
}

TEST_CASE("a name that no value has leads to none") {
    for (const char* name : {"", "app", "apples", "Apple"}) CHECK_FALSE(find_named<fruit::Fruit>(name));
}

TEST_CASE("a value without a name is never another's") {
    CHECK_THROWS_AS(name_of(static_cast<fruit::Fruit>(2)), std::out_of_range);
}

}  // namespace superd::names_tests
