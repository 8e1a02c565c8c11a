// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "base/time.h"

namespace superd::duration_tests {

using namespace std::chrono_literals;

TEST_CASE("a duration is whole numbers with units, largest first") {
    CHECK(parse_duration("250ms") == 250ms);
    CHECK(parse_duration("10s") == 10s);
    CHECK(parse_duration("5m") == 5min);
    CHECK(parse_duration("1h30m") == 90min);
    CHECK(parse_duration("2d") == 48h);
    CHECK(parse_duration("7us") == 7us);
    CHECK(parse_duration("1d1h1m1s1ms1us") == 24h + 1h + 1min + 1s + 1ms + 1us);
    CHECK(parse_duration("0s") == 0s);
    CHECK(parse_duration("90m") == 90min);
}

TEST_CASE("a near miss is not a duration") {
    for (const char* text : {"",
                             "10",
                             "s",
                             "-1s",
                             "+1s",
                             "1.5s",
                             "10 s",
                             " 10s",
                             "10s ",
                             "10S",
                             "10sec",
                             "1m1h",
                             "1s1s",
                             "1h30",
                             "1001d",
                             "999d25h",
                             "99999999999999999999s",
                             "9223372036854775807us",
                             "0x1s",
                             "1\xc2\xb5s"}) {
        INFO(text);
        CHECK(parse_duration(text) == std::nullopt);
    }
}

TEST_CASE("a thousand days is the longest duration") {
    CHECK(parse_duration("1000d") == 24000h);
    CHECK(parse_duration("1000d1us") == std::nullopt);
    CHECK(parse_duration("999d24h") == 24000h);
}

TEST_CASE("a duration that is written out reads back the same") {
    CHECK(format_duration(90min) == "1h30m");
    CHECK(format_duration(250ms) == "250ms");
    CHECK(format_duration(0s) == "0s");
    CHECK(format_roughly(3s + 204ms + 9us) == "3s204ms");
    CHECK(format_roughly(25h + 3min + 59s) == "1d1h");
    CHECK(format_roughly(1h + 59s) == "1h");
    CHECK(format_roughly(7us) == "7us");
    CHECK(format_roughly(0s) == "0s");
    for (const Duration value :
         {Duration(1), Duration(999), Duration(1000), Duration(1'500'000), Duration(86'399'999'999)}) {
        CHECK(parse_duration(format_duration(value)) == value);
    }
}

TEST_CASE("the clock does not go back") {
    const Instant first = now();
    CHECK(first.time_since_epoch() > 0s);
    CHECK(now() >= first);
}

}  // namespace superd::duration_tests
