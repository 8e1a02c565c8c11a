// SPDX-License-Identifier: MIT
#include "core/usage.h"

#include "catch.h"

namespace superd::core::usage_tests {

using namespace std::chrono_literals;

namespace {

rusage used(long user_ms, long system_ms, long kilobytes) {
    rusage out{};
    out.ru_utime = {user_ms / 1000, user_ms % 1000 * 1000};
    out.ru_stime = {system_ms / 1000, system_ms % 1000 * 1000};
    out.ru_maxrss = kilobytes;
    return out;
}

std::vector<std::string> names(const HandlerUsage& usage) {
    std::vector<Field> fields;
    usage.add_to(fields);
    std::vector<std::string> out;
    for (const Field& field : fields) out.push_back(std::string(field.name) + "=" + field.value);
    return out;
}

}  // namespace

TEST_CASE("what a handler has used is told in words and in fields, and added to the service's") {
    const rusage own = used(0, 0, 10'000);
    const HandlerUsage one(used(1500, 20, 20'000), own, false, net::TcpUsage{1, 2, 1, 31us});
    CHECK(one.text() ==
          "; CPU 1s500ms user, 20ms system, memory 20000K, 1 byte in, 2 bytes out, 1 retransmit, RTT 31us");
    CHECK(names(one) == std::vector<std::string>{"CPU_USER_USEC=1500000", "CPU_SYSTEM_USEC=20000",
                                                 "MEMORY_PEAK=20480000", "BYTES_IN=1", "BYTES_OUT=2", "RETRANSMITS=1",
                                                 "RTT_USEC=31"});
    Usage all;
    one.add_to(all);
    one.add_to(all);
    CHECK(all.user == 3s);
    CHECK(all.system == 40ms);
    CHECK(all.memory == 20'480'000);
    CHECK(all.in == 2);
    CHECK(all.out == 4);
    CHECK(all.retransmits == 2);
}

TEST_CASE("a peak that may be superd's own is told as a bound, but not of a copy, which never had superd's memory") {
    const rusage own = used(0, 0, 10'000);
    const HandlerUsage small(used(1, 1, 10'000), own, false, std::nullopt);
    CHECK(small.text() == "; CPU 1ms user, 1ms system, memory at most 10000K");
    CHECK(names(small).back() == "MEMORY_PEAK_AT_MOST=10240000");
    CHECK(names(HandlerUsage(used(1, 1, 500), own, true, std::nullopt)).back() == "MEMORY_PEAK=512000");
    Usage all;
    small.add_to(all);
    CHECK(all.memory == 0);
    CHECK(all.in == 0);
}

}  // namespace superd::core::usage_tests
