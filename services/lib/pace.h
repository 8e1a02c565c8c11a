// SPDX-License-Identifier: MIT
#pragma once
// How many datagrams a worker takes at once.

#include <chrono>

namespace worker {

/// A batch saves system calls, but those in it wait for each other while other workers may have nothing to do. So
/// there is one only while requests are short and more than one datagram waits. Each thread has its own.
class Pace {
  public:
    static constexpr int kBatch = 16;
    /// Longer requests are taken one by one: all of a batch are answered within a millisecond.
    static constexpr std::chrono::microseconds kShort{60};

    int most() const { return most_; }
    void taken(int datagrams);
    /// To be called after each of them. True: it took long, and what has been answered should not wait for the next.
    bool answered();

  private:
    /// Whether others wait shows only by asking for them, which costs time where none does: so only now and then.
    static constexpr unsigned kAlone = 8;

    using Clock = std::chrono::steady_clock;
    int most_ = 1;
    unsigned alone_ = kAlone - 1;  ///< taken alone in a row; the first one of all is timed
    bool timed_ = false;
    Clock::time_point since_;
};

}  // namespace worker
