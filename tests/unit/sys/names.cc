// SPDX-License-Identifier: MIT
#include "catch.h"
#include "sys/identity.h"

namespace superd::sys::names_tests {

TEST_CASE("names come from memory while look-ups are off") {
    Names names;
    const auto root = names.find_user("root");
    REQUIRE((root && *root));
    CHECK((*root)->uid == 0);
    REQUIRE(names.groups_of(**root));
    REQUIRE((names.find_group("root") && *names.find_group("root") == gid_t{0}));
    CHECK((names.find_user("no-such-user") && !*names.find_user("no-such-user")));
    names.ask_nobody();
    CHECK((names.find_user("root") && (*names.find_user("root"))->uid == 0));
    CHECK(names.groups_of(**root));
    CHECK(names.find_group("root"));
    CHECK((names.find_user("no-such-user") && !*names.find_user("no-such-user")));  // which is known as well
    CHECK_FALSE(names.find_user("nobody"));
    CHECK_FALSE(names.find_group("tty"));
    CHECK_FALSE(names.find_port("no-such-port", "tcp"));
    CHECK((names.find_group("7") && *names.find_group("7") == gid_t{7}));  // a number needs nobody
}

TEST_CASE("a new look-up does not return the remembered answer") {
    Names names;
    REQUIRE(names.find_user("root"));
    names.ask();
    CHECK(names.answers().empty());
    names.ask_nobody();
    CHECK_FALSE(names.find_user("root"));
}

TEST_CASE("a successor continues with the known names") {
    Names first;
    REQUIRE(first.find_user("root"));
    REQUIRE(first.find_group("root"));
    Names next;
    next.go_on(first.answers());
    next.ask_nobody();
    CHECK((next.find_user("root") && (*next.find_user("root"))->name == "root"));
    CHECK((next.find_group("root") && *next.find_group("root") == gid_t{0}));
}

}  // namespace superd::sys::names_tests
