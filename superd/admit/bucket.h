// SPDX-License-Identifier: MIT
#pragma once
// A token bucket as one instant: the generic cell rate algorithm (ITU-T I.371), which needs no timer to fill it.

#include "base/time.h"
#include "conf/service.h"

namespace superd::admit {

class Bucket {
  public:
    /// When a token is available.
    Instant ready_at(const conf::Rate& rate) const { return full_at_ - rate.interval * (rate.burst - 1); }
    bool ready(const conf::Rate& rate, Instant now) const { return ready_at(rate) <= now; }
    /// Takes a token, whether or not one is available.
    void take(const conf::Rate& rate, Instant now) { full_at_ = std::max(full_at_, now) + rate.interval; }
    /// Gives back one that was not used.
    void give_back(const conf::Rate& rate) { full_at_ -= rate.interval; }
    /// When the bucket looks as if nothing had ever been taken.
    Instant full_at() const { return full_at_; }
    void set_full_at(Instant when) { full_at_ = when; }
    /// Never emptier than the rate allows, so a shorter bucket after a reload shuts nobody out.
    void configure(const conf::Rate& rate, Instant now) {
        full_at_ = std::min(full_at_, now + rate.interval * rate.burst);
    }

  private:
    Instant full_at_{};
};

}  // namespace superd::admit
