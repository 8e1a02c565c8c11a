// SPDX-License-Identifier: MIT
#pragma once
// How many datagrams a worker takes at once.

#include <chrono>

namespace worker {

/// A batch saves system calls, but its datagrams wait for each other while other workers may be idle. So batches are
/// used only while requests are short and more than one datagram waits. Each thread has its own pace.
class Pace {
  public:
    static constexpr int kBatch = 16;
    /// Longer requests are taken one by one: a whole batch is answered within a millisecond.
    static constexpr std::chrono::microseconds kShort{60};

    int most() const { return most_; }
    void taken(int datagrams);
    /// Call it after each answer. True: it took long, and what has been answered should not wait for the next one.
    bool answered();

  private:
    /// Whether others wait shows only when asked for, which costs time if none does: so ask only now and then.
    static constexpr unsigned kAlone = 8;

    using Clock = std::chrono::steady_clock;
    int most_ = 1;
    unsigned alone_ = kAlone - 1;  ///< taken alone in a row; the very first one is timed
    bool timed_ = false;
    Clock::time_point since_;
};

}  // namespace worker
