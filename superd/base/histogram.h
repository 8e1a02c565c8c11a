// SPDX-License-Identifier: MIT
#pragma once
// How long something took, many times over: counts in buckets with fixed bounds, ten for each power of ten.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <vector>

#include "base/time.h"

namespace superd {

class Histogram {
  public:
    static constexpr std::size_t kDecades = 9;
    static constexpr std::size_t kBounds = kDecades * 10 + 1;

    /// Upper bounds, inclusive, in microseconds: 10 µs to 10,000 s in Renard's steps (ISO 3).
    static constexpr std::array<Duration::rep, kBounds> bounds() {
        constexpr Duration::rep kSteps[] = {100, 125, 160, 200, 250, 320, 400, 500, 630, 800};
        std::array<Duration::rep, kBounds> all{};
        Duration::rep unit = 10;
        for (std::size_t i = 0; i < kBounds; ++i) {
            all[i] = unit * kSteps[i % 10] / 100;
            if (i % 10 == 9) unit *= 10;
        }
        return all;
    }

    using Counts = std::array<std::uint64_t, kBounds + 1>;
    Histogram() = default;
    /// As counts() and sum() were told by another.
    Histogram(const Counts& counts, Duration sum) : sum_(sum) {
        if (std::ranges::any_of(counts, [](std::uint64_t n) { return n > 0; }))
            counts_.assign(counts.begin(), counts.end());
    }

    /// There is room for counts from the first on. Where memory is too short for it, that one is not counted.
    void add(Duration took) noexcept {
        static constexpr auto kAll = bounds();
        if (counts_.empty()) try {
                counts_.resize(kBounds + 1);
            } catch (const std::bad_alloc&) {
                return;
            }
        const auto at = std::ranges::lower_bound(kAll, took.count());
        ++counts_[static_cast<std::size_t>(at - kAll.begin())];
        sum_ += took;
    }

    /// One for each bound, and one for what is past the last.
    Counts counts() const {
        Counts counts{};
        std::ranges::copy(counts_, counts.begin());
        return counts;
    }
    std::uint64_t count() const {
        std::uint64_t all = 0;
        for (const std::uint64_t n : counts_) all += n;
        return all;
    }
    Duration sum() const { return sum_; }

    /// The upper bound of the bucket at this quantile, 0 to 1: at most a third above the true value. Past the last
    /// bound: that bound. nullopt: nothing was counted.
    std::optional<Duration> quantile(double part) const {
        const std::uint64_t all = count();
        if (all == 0) return std::nullopt;
        const double wanted = part * static_cast<double>(all);
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < kBounds; ++i) {
            below += counts_[i];
            if (below > 0 && static_cast<double>(below) >= wanted) return Duration(bounds()[i]);
        }
        return Duration(bounds().back());
    }

  private:
    std::vector<std::uint64_t> counts_;  ///< empty while there is nothing to count
    Duration sum_{};
};

}  // namespace superd
