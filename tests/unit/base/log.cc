// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <array>

#include "catch.h"

namespace superd::log_tests {

namespace {
const std::array kFields = {Field("SERVICE", "echo"), Field("PEER", "[::1]:7"), Field("CHILD_PID", 42)};
}

TEST_CASE("a record is a line in each style") {
    CHECK(format_record(LogStyle::text, "12:00:00", Level::warning, "refused", kFields) ==
          "12:00:00 warning: echo: refused");
    CHECK(format_record(LogStyle::logfmt, "T", Level::info, "it ended", kFields) ==
          "time=T level=info msg=\"it ended\" service=echo peer=[::1]:7 child_pid=42");
    CHECK(format_record(LogStyle::json, "T", Level::info, "it ended", kFields) ==
          R"({"time":"T","level":"info","message":"it ended","service":"echo","peer":"[::1]:7","child_pid":42})");
}

TEST_CASE("text from a client or handler cannot start a line or control a terminal") {
    const std::string hostile = "a\nlevel=error \"x\" \x1b[2J\xff";
    for (const auto style : {LogStyle::text, LogStyle::logfmt, LogStyle::json}) {
        const auto line = format_record(style, "T", Level::info, hostile, {});
        CHECK(line.find('\n') == std::string::npos);
        CHECK(line.find('\x1b') == std::string::npos);
    }
    CHECK(format_record(LogStyle::logfmt, "T", Level::info, "a=\"b\"", {}) == R"(time=T level=info msg="a=\"b\"")");
}

}  // namespace superd::log_tests
