// SPDX-License-Identifier: MIT
#pragma once
// A timer that is made when it is first needed, and knows the instant that it is set to. Setting it does not fail:
// those for which there is no memory share a timer of the loop's, and ring up to 100 ms late.

#include <optional>

#include "sys/loop.h"

namespace superd::sys {

class Alarm {
  public:
    /// `rings` may set the alarm anew, or destroy it. If it throws, it is called again in 100 ms, unless it has set it.
    Alarm(Loop& loop, Loop::Handler rings) : loop_(loop), rings_(std::move(rings)) {}
    Alarm(const Alarm&) = delete;
    ~Alarm();

    /// Rings once at `when`, and not at what it was set to before.
    void set(Instant when);
    /// The same, unless it rings sooner.
    void set_by(Instant when);
    void clear();
    /// What it is set to; nullopt: it does not ring. While it rings it is set to nothing.
    std::optional<Instant> when() const { return is_set() ? std::optional(when_) : std::nullopt; }
    bool is_set() const { return when_ != kNever; }

  private:
    friend class Loop;
    static constexpr Instant kNever = Instant::max();

    bool arm();
    void ring();
    static void ring_shared(Loop::Shared& shared);
    void link();
    void unlink();

    Loop& loop_;
    Loop::Handler rings_;
    Source timer_;
    Instant when_ = kNever;
    /// In the list of those that share the loop's timer: the next one, and what points to this one.
    Alarm* next_ = nullptr;
    Alarm** self_ = nullptr;
};

}  // namespace superd::sys
