// SPDX-License-Identifier: MIT
#pragma once
// How long to wait before the next try: doubling, bounded, with jitter so that many do not try at once.

#include <algorithm>
#include <optional>
#include <random>

#include "base/time.h"

namespace superd {

class Backoff {
  public:
    Backoff(Duration first, Duration most) : first_(first), most_(most) {}

    /// Three quarters to all of the current step, at random; the step doubles each time.
    Duration next() {
        step_ = tries_ == 0 ? first_ : std::min(step_ * 2, most_);
        ++tries_;
        // Each service has several of these, most never asked, and a seed takes the processor microseconds.
        if (!random_) random_.emplace(std::random_device{}());
        std::uniform_int_distribution<Duration::rep> part(step_.count() * 3 / 4, step_.count());
        return Duration(part(*random_));
    }
    void reset() { tries_ = 0; }
    /// Tries since the last reset.
    unsigned tries() const { return tries_; }

    /// Its state, so that another can continue from it.
    struct Place {
        Duration step{0};
        unsigned tries = 0;
    };
    Place place() const { return {step_, tries_}; }
    void go_on(const Place& from) {
        step_ = from.step;
        tries_ = from.tries;
    }

  private:
    Duration first_, most_, step_{0};
    unsigned tries_ = 0;
    std::optional<std::minstd_rand> random_;
};

}  // namespace superd
