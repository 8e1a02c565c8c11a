// SPDX-License-Identifier: MIT
#include "admit/times.h"

#include <bitset>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "catch.h"

namespace superd::admit::times_tests {

using Windows = std::vector<conf::TimeWindow>;

namespace {

constexpr int kDay = 24 * 60;
enum Day : unsigned { sun = 1, mon = 2, fri = 32, sat = 64 };

/// Every minute of a week inside a window, marked one by one from its beginning.
std::bitset<7 * kDay> model(const Windows& windows) {
    std::bitset<7 * kDay> open;
    if (windows.empty()) open.set();
    for (const auto& window : windows) {
        const int length = window.until > window.from ? window.until - window.from : window.until + kDay - window.from;
        for (int day = 0; day < 7; ++day) {
            if ((window.days & 1U << day) == 0) continue;
            for (int minute = 0; minute < length; ++minute)
                open.set(static_cast<std::size_t>((day * kDay + window.from + minute) % (7 * kDay)));
        }
    }
    return open;
}

std::bitset<7 * kDay> asked(const Windows& windows) {
    std::bitset<7 * kDay> open;
    for (int i = 0; i < 7 * kDay; ++i)
        open.set(static_cast<std::size_t>(i), admit::within(windows, i / kDay, i % kDay));
    return open;
}

/// Sets the process's time zone for as long as this lives.
class Zone {
  public:
    explicit Zone(const char* rule) {
        if (const char* before = std::getenv("TZ")) before_ = before;
        setenv("TZ", rule, 1);
        tzset();
    }
    Zone(const Zone&) = delete;
    ~Zone() {
        if (before_)
            setenv("TZ", before_->c_str(), 1);
        else
            unsetenv("TZ");
        tzset();
    }

  private:
    std::optional<std::string> before_;
};

/// A rule instead of a name: this needs no zone files.
constexpr const char* kBerlin = "CET-1CEST,M3.5.0,M10.5.0/3";

constexpr std::time_t utc(int year, unsigned month, unsigned day, int hour, int minute = 0) {
    const std::chrono::sys_days date = std::chrono::year(year) / static_cast<int>(month) / static_cast<int>(day);
    return date.time_since_epoch().count() * 86400 + hour * 3600 + minute * 60;
}

int minutes_open(const Windows& windows, std::time_t from, std::time_t until) {
    int open = 0;
    for (auto when = from; when < until; when += 60) open += admit::open_at(windows, when) ? 1 : 0;
    return open;
}

}  // namespace

TEST_CASE("without windows it is always open") {
    CHECK(asked({}).all());
    CHECK(admit::open_at({}, 0));
}

TEST_CASE("a window begins with its first minute and ends before its last") {
    const Windows office{{.days = mon | fri, .from = 8 * 60, .until = 18 * 60}};
    CHECK_FALSE(admit::within(office, 1, 8 * 60 - 1));
    CHECK(admit::within(office, 1, 8 * 60));
    CHECK(admit::within(office, 5, 18 * 60 - 1));
    CHECK_FALSE(admit::within(office, 5, 18 * 60));
    CHECK_FALSE(admit::within(office, 3, 12 * 60));
}

TEST_CASE("a window over midnight belongs to the day on which it begins, over the week's end too") {
    const Windows night{{.days = sat, .from = 22 * 60, .until = 6 * 60}};
    CHECK(admit::within(night, 6, 23 * 60));
    CHECK(admit::within(night, 0, 0));
    CHECK(admit::within(night, 0, 6 * 60 - 1));
    CHECK_FALSE(admit::within(night, 0, 6 * 60));
    CHECK_FALSE(admit::within(night, 6, 5 * 60));
    CHECK_FALSE(admit::within(night, 0, 23 * 60));

    const Windows to_midnight{{.days = sun, .from = 22 * 60, .until = 0},
                              {.days = mon, .from = 22 * 60, .until = kDay}};
    CHECK(admit::within(to_midnight, 0, kDay - 1));
    CHECK_FALSE(admit::within(to_midnight, 1, 0));
    CHECK(admit::within(to_midnight, 1, kDay - 1));
    CHECK_FALSE(admit::within(to_midnight, 2, 0));
}

TEST_CASE("a window that ends where it begins lasts a day") {
    CHECK(asked({{.days = sat, .from = 60, .until = 60}}).count() == kDay);
    CHECK(asked({{.days = sat, .from = 0, .until = 0}}) == asked({{.days = sat, .from = 0, .until = kDay}}));
    CHECK(asked({conf::TimeWindow()}).all());
}

TEST_CASE("every minute of a week is decided as marked by hand, for 300 random lists") {
    const auto seed = std::random_device()();
    INFO("seed " << seed);
    std::mt19937 engine(seed);
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine); };
    for (int i = 0; i < 300; ++i) {
        Windows windows;
        for (int n = 1 + below(3); n > 0; --n) {
            const int from = below(4) == 0 ? 0 : below(kDay);
            const int until = below(4) == 0 ? kDay * below(2) : below(kDay + 1);
            windows.push_back({static_cast<unsigned>(below(128)), from, until});
        }
        if (asked(windows) != model(windows)) FAIL("list " << i);
    }
}

TEST_CASE("the clock is the local zone's") {
    const Windows office{{.days = mon, .from = 8 * 60, .until = 18 * 60}};
    const auto open = [&] { return minutes_open(office, utc(2024, 1, 7, 0), utc(2024, 1, 14, 0)); };
    {
        const Zone zone(kBerlin);
        CHECK(open() == 10 * 60);
        CHECK_FALSE(admit::open_at(office, utc(2024, 1, 8, 6, 59)));
        CHECK(admit::open_at(office, utc(2024, 1, 8, 7)));
        CHECK(admit::open_at(office, utc(2024, 7, 8, 6)));
        CHECK_FALSE(admit::open_at(office, utc(2024, 7, 8, 16)));
    }
    const Zone zone("HST10");
    CHECK(open() == 10 * 60);
    CHECK(admit::open_at(office, utc(2024, 1, 9, 3, 59)));
    CHECK_FALSE(admit::open_at(office, utc(2024, 1, 9, 4)));
}

TEST_CASE("daylight saving skips an hour once a year and repeats one") {
    const Zone zone(kBerlin);
    const Windows third_hour{{.days = sun, .from = 2 * 60, .until = 3 * 60}};
    CHECK(minutes_open(third_hour, utc(2024, 3, 24, 0), utc(2024, 3, 25, 0)) == 60);
    CHECK(minutes_open(third_hour, utc(2024, 3, 30, 22), utc(2024, 4, 1, 0)) == 0);
    CHECK(minutes_open(third_hour, utc(2024, 10, 26, 22), utc(2024, 10, 28, 0)) == 120);

    const Windows night{{.days = sat, .from = 22 * 60, .until = 6 * 60}};
    CHECK(minutes_open(night, utc(2024, 3, 30, 12), utc(2024, 3, 31, 12)) == 7 * 60);
    CHECK(minutes_open(night, utc(2024, 10, 26, 12), utc(2024, 10, 27, 12)) == 9 * 60);
    CHECK(admit::open_at(night, utc(2024, 10, 27, 4, 59)));
    CHECK_FALSE(admit::open_at(night, utc(2024, 10, 27, 5)));
}

}  // namespace superd::admit::times_tests
