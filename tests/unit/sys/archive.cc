// SPDX-License-Identifier: MIT
#include "sys/archive.h"

#include <cmath>

#include "catch.h"

namespace superd::sys::archive_tests {

namespace example {

enum class Colour { red, green };
SUPERD_ENUM(Colour, Colour::green)

struct Inner {
    int depth = 7;
    bool operator==(const Inner&) const = default;
};
SUPERD_FIELDS(Inner, depth)

struct All {
    bool flag = false;
    int number = 0;
    std::uint64_t natural = 0;
    std::int64_t least = 0;
    std::uint8_t small = 0;
    double part = 0;
    std::string bytes;
    Colour colour = Colour::red;
    Duration duration{};
    Instant instant{};
    std::optional<std::string> maybe;
    std::optional<Inner> none;
    std::vector<Inner> list;
    std::deque<pid_t> queue;
    std::array<int, 3> three{};
    std::pair<uid_t, gid_t> pair{};
    std::map<std::string, Inner> map;
    sys::Address address;
};
SUPERD_FIELDS(All, flag, number, natural, least, small, part, bytes, colour, duration, instant, maybe, none, list,
              queue, three, pair, map, address)

class Closed {
  public:
    explicit Closed(int kept = 0) : kept_(kept) {}
    int kept() const { return kept_; }
    friend void pass(Archive& archive, Closed& closed) { SUPERD_PASS(archive, Closed, closed.kept_, closed.backoff_); }
    Backoff& backoff() { return backoff_; }

  private:
    int kept_;
    Backoff backoff_{Duration(10), Duration(1000)};
};

}  // namespace example

using namespace example;

namespace {

template <class T>
std::string written(T value) {
    Archive archive;
    archive(value);
    REQUIRE(archive.fault().empty());
    return std::move(archive).text();
}

/// "": it was read.
template <class T>
std::string fault_of(std::string_view text, T& value) {
    Archive archive(text);
    archive(value);
    return archive.fault();
}

}  // namespace

TEST_CASE("what is read of an archive is what was written into it, of every kind of value") {
    All all;
    all.flag = true;
    all.number = -2147483648;
    all.natural = ~std::uint64_t{0};
    all.least = std::numeric_limits<std::int64_t>::min();
    all.small = 255;
    all.part = -0.1;
    for (int i = 0; i < 256; ++i) all.bytes += static_cast<char>(i);
    all.colour = Colour::green;
    all.duration = Duration(-5);
    all.instant = Instant(Duration(1) + std::chrono::hours(1));
    all.maybe = "\xff\"\\";
    all.list = {{1}, {2}};
    all.queue = {3, 4};
    all.three = {1, -2, 3};
    all.pair = {1, 4294967295u};
    all.map = {{"a\n", {5}}, {"\xe4", {6}}};
    all.address = *sys::Address::inet("2001:db8::1", 80);

    All read;
    read.none = Inner{};
    read.queue = {9};
    const std::string text = written(all);
    REQUIRE(fault_of(text, read) == "");
    CHECK(written(read) == text);
    CHECK(read.natural == all.natural);
    CHECK(read.least == all.least);
    CHECK(read.part == all.part);
    CHECK(read.bytes == all.bytes);
    CHECK(read.maybe == all.maybe);
    CHECK_FALSE(read.none);
    CHECK(read.list == all.list);
    CHECK(read.queue == all.queue);
    CHECK(read.map == all.map);
    CHECK(read.address == all.address);

    Closed closed(8), opened;
    (void)closed.backoff().next();
    CHECK(written(closed) == R"({"closed.kept":8,"closed.backoff":{"step":10,"tries":1}})");
    REQUIRE(fault_of(written(closed), opened) == "");
    CHECK(opened.kept() == 8);
    CHECK(opened.backoff().tries() == 1);
}

TEST_CASE("an unknown field is passed over, and a missing one keeps what it has") {
    All all;
    all.number = 4;
    all.three = {7, 8, 9};
    REQUIRE(fault_of(R"({"unknown":{"deep":[1.5,{}]},"three":[1],"list":[{}]})", all) == "");
    CHECK(all.number == 4);
    CHECK(all.three == std::array{1, 8, 9});
    CHECK(all.list == std::vector<Inner>{{7}});
    REQUIRE(fault_of(R"({"maybe":"it had a value always"})", all) == "");
    CHECK(all.maybe == "it had a value always");
}

TEST_CASE("what does not fit is refused, and the fault says where") {
    All all;
    CHECK(fault_of(R"({"list":[{},{"depth":"x"}]})", all) == "list[1].depth: no whole number in range");
    CHECK(fault_of(R"({"map":{"a":{"depth":[]}}})", all) == "map.a.depth: no whole number in range");
    for (const char* text : {"",
                             "[]",
                             "{",
                             "{\"number\":2147483648}",
                             "{\"number\":1.0}",
                             "{\"number\":1e3}",
                             "{\"number\":true}",
                             "{\"natural\":-1}",
                             "{\"natural\":18446744073709551616}",
                             "{\"least\":9223372036854775808}",
                             "{\"small\":256}",
                             "{\"part\":0.5}",
                             "{\"flag\":1}",
                             "{\"bytes\":\"\u0100\"}",
                             "{\"bytes\":7}",
                             "{\"colour\":2}",
                             "{\"colour\":-1}",
                             "{\"maybe\":7}",
                             "{\"maybe\":[]}",
                             "{\"maybe\":[\"a\",\"b\"]}",
                             "{\"list\":{}}",
                             "{\"three\":[1,2,3,4]}",
                             "{\"pair\":[1]}",
                             "{\"map\":[]}",
                             "{\"list\":[0,{}]}"}) {
        INFO(text);
        All other;
        CHECK(fault_of(text, other) != "");
    }
    const std::string long_address = "{\"address\":\"" + std::string(200, 'x') + "\"}";
    CHECK(fault_of(long_address, all) != "");
    const std::string deep = "{\"unknown\":" + std::string(1000, '[') + std::string(1000, ']') + "}";
    CHECK(fault_of(deep, all) != "");
}

TEST_CASE("a description names each struct once, with its fields and their types") {
    auto archive = Archive::describing();
    All all;
    archive(all);
    const std::string text = archive.description();
    CHECK(text.starts_with("All\n  flag: bool\n"));
    CHECK(text.find("  none: ?[Inner]\n  list: [Inner]\n") != std::string::npos);
    CHECK(text.ends_with("Inner\n  depth: to 2147483647\n"));
    CHECK(text.find("Inner\n  depth", text.find("Inner\n  depth") + 1) == std::string::npos);
}

}  // namespace superd::sys::archive_tests
