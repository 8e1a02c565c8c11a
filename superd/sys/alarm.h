// SPDX-License-Identifier: MIT
#pragma once
// A timer that is made when it is first needed, and knows the instant that it is set to.

#include <optional>

#include "sys/loop.h"

namespace superd::sys {

class Alarm {
  public:
    Alarm(Loop& loop, Loop::Handler rings) : loop_(loop), rings_(std::move(rings)) {}
    Alarm(const Alarm&) = delete;

    /// Rings once at `when`, and not at what it was set to before. Errors: no memory for it; then it does not ring.
    Result<void> set(Instant when);
    /// The same, unless it rings sooner.
    Result<void> set_by(Instant when);
    void clear();
    /// What it is set to; nullopt: it does not ring. While it rings it is set to nothing.
    const std::optional<Instant>& when() const { return when_; }
    bool is_set() const { return when_.has_value(); }

  private:
    Loop& loop_;
    Loop::Handler rings_;
    Source timer_;
    std::optional<Instant> when_;
};

}  // namespace superd::sys
