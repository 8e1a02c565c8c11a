// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "catch.h"

using namespace superd;

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

TEST_CASE("what a client or handler wrote cannot start a line or reach a terminal") {
    const std::string hostile = "a\nlevel=error \"x\" \x1b[2J\xff";
    for (const auto style : {LogStyle::text, LogStyle::logfmt, LogStyle::json}) {
        const auto line = format_record(style, "T", Level::info, hostile, {});
        CHECK(line.find('\n') == std::string::npos);
        CHECK(line.find('\x1b') == std::string::npos);
    }
    CHECK(format_record(LogStyle::logfmt, "T", Level::info, "a=\"b\"", {}) == R"(time=T level=info msg="a=\"b\"")");
}

TEST_CASE("a reader that does not keep up costs lines, which are counted") {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    auto sink = line_sink(ends[1], LogStyle::logfmt);
    const std::string line(1000, 'x');
    for (int i = 0; i < 2000; ++i) sink->write(Level::info, line, {});
    std::string read_back;
    const auto read_all = [&] {
        std::string piece(1 << 16, '\0');
        for (int done = 0; !done;) {
            done = sink->flush();
            const auto n = read(ends[0], piece.data(), piece.size());
            read_back.append(piece, 0, std::size_t(n));
        }
    };
    CHECK_FALSE(sink->flush());
    read_all();
    CHECK(read_back.size() > kMostPending);
    CHECK(read_back.size() < 2000 * 1000);
    sink->write(Level::info, "later", {});
    read_all();
    CHECK(read_back.find("log lines lost") != std::string::npos);
    CHECK(read_back.find("later") != std::string::npos);
    close(ends[0]);
    close(ends[1]);
}
