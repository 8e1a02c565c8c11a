// SPDX-License-Identifier: MIT
#include "base/signal.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "tests/catch.h"

namespace superd::signal_tests {

TEST_CASE("every signal has a name") {
    CHECK(signal_name(SIGTERM) == "SIGTERM");
    CHECK(signal_name(SIGRTMIN) == "SIGRTMIN");
    CHECK(signal_name(SIGRTMIN + 5) == fmt::format("SIGRTMIN+{}", 5));
    CHECK(signal_name(200) == "signal 200");
}

TEST_CASE("a signal is found by its name, with SIG and without") {
    for (const std::string& name : signal_names()) {
        const auto number = find_signal(name);
        REQUIRE(number);
        CHECK(find_signal("SIG" + name) == number);
        CHECK(signal_name(*number) == "SIG" + name);
    }
    CHECK(find_signal("TERM") == SIGTERM);
    CHECK(std::ranges::count(signal_names(), "KILL") == 1);
}

TEST_CASE("what is not exactly a signal's name is none") {
    for (const char* name : {"", "SIG", "term", "STOPP", "SIGSIGTERM", "15", "TERM "}) CHECK_FALSE(find_signal(name));
}

}  // namespace superd::signal_tests
