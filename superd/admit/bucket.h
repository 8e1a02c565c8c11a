// SPDX-License-Identifier: MIT
#pragma once
// A token bucket as one instant: the generic cell rate algorithm (ITU-T I.371), which needs no timer to fill it.

#include "base/time.h"
#include "conf/service.h"

namespace superd::admit {

class Bucket {
  public:
    /// From when on a token is there.
    Instant ready_at(const conf::Rate& rate) const { return full_at_ - rate.interval * (rate.burst - 1); }
    bool ready(const conf::Rate& rate, Instant now) const { return ready_at(rate) <= now; }
    /// Takes a token, whether one is there or not.
    void take(const conf::Rate& rate, Instant now) { full_at_ = std::max(full_at_, now) + rate.interval; }
    /// Gives one back that was taken for nothing.
    void give_back(const conf::Rate& rate) { full_at_ -= rate.interval; }
    /// When the bucket is as if nothing had ever been taken.
    Instant full_at() const { return full_at_; }
    void set_full_at(Instant when) { full_at_ = when; }
    /// A bucket is never emptier than its rate allows, so a shorter one after a reload does not shut anybody out.
    void configure(const conf::Rate& rate, Instant now) {
        full_at_ = std::min(full_at_, now + rate.interval * rate.burst);
    }

  private:
    Instant full_at_{};
};

}  // namespace superd::admit
