// SPDX-License-Identifier: MIT
#include "base/histogram.h"

#include "catch.h"

namespace superd::histogram_tests {

using namespace std::chrono_literals;

TEST_CASE("bounds rise from 10 microseconds to 10,000 seconds, each at most 1.3 times the one before") {
    constexpr auto bounds = Histogram::bounds();
    CHECK(bounds.front() == 10);
    CHECK(bounds.back() == 10'000'000'000);
    for (std::size_t i = 1; i < bounds.size(); ++i) {
        CHECK(bounds[i] > bounds[i - 1]);
        CHECK(bounds[i] * 10 <= bounds[i - 1] * 14);
    }
}

TEST_CASE("a quantile is the bound above its value") {
    Histogram histogram;
    CHECK(!histogram.quantile(0.5));
    for (int i = 0; i < 98; ++i) histogram.add(3ms);
    histogram.add(700ms);
    histogram.add(700ms);
    CHECK(histogram.count() == 100);
    CHECK(histogram.sum() == 98 * 3ms + 1400ms);
    CHECK(histogram.quantile(0.5) == 3200us);
    CHECK(histogram.quantile(0.99) == 800ms);
}

TEST_CASE("a value on a bound belongs below it; a value past the last one is reported as the last") {
    Histogram histogram;
    histogram.add(10us);
    CHECK(histogram.quantile(1) == 10us);
    histogram.add(11us);
    CHECK(histogram.quantile(1) == 12us);
    histogram.add(30000s);
    CHECK(histogram.quantile(1) == 10000s);
    histogram.add(-1us);
    CHECK(histogram.counts()[0] == 2);
}

}  // namespace superd::histogram_tests
