// SPDX-License-Identifier: MIT
#pragma once
// How long nothing has come. The alarm clock of the process (SIGALRM) tells when to look, so that who waits for a
// datagram needs no system call for the time.

#include <atomic>
#include <chrono>
#include <cstdint>

namespace worker {

/// Its functions may be called by many threads, is_over() by a signal handler.
class Silence {
  public:
    /// Over after so long without a sound; 0: never.
    explicit Silence(std::chrono::seconds limit) : limit_(limit) {}

    /// SIGALRM comes from now on.
    void watch();
    void end();
    /// Called when SIGALRM comes. False: it will come again.
    bool is_over() const;

  private:
    const std::chrono::nanoseconds limit_;
    std::atomic<std::int64_t> since_ = 0;  ///< nanoseconds of CLOCK_MONOTONIC_COARSE
};

}  // namespace worker
