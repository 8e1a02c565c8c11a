// SPDX-License-Identifier: MIT
#pragma once
// How long nothing has come. The process's alarm clock (SIGALRM) says when to look, so waiting for a datagram takes no
// system call to get the time.

#include <atomic>
#include <chrono>
#include <cstdint>

namespace worker {

/// Many threads may call its functions, a signal handler is_over().
class Silence {
  public:
    /// Over after this long without a datagram; 0: never.
    explicit Silence(std::chrono::seconds limit) : limit_(limit) {}

    /// Starts the SIGALRM clock.
    void watch();
    void end();
    /// Call it on SIGALRM. False: the signal will come again.
    bool is_over() const;

  private:
    const std::chrono::nanoseconds limit_;
    std::atomic<std::int64_t> since_ = 0;  ///< nanoseconds of CLOCK_MONOTONIC_COARSE
};

}  // namespace worker
