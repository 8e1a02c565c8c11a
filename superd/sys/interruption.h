// SPDX-License-Identifier: MIT
#pragma once
// Keeps one system call from waiting for ever.

#include <sys/time.h>

#include <csignal>

#include "base/time.h"

namespace superd::sys {

/// While it lives, a system call of this thread that sleeps fails with EINTR, again and again each `period`.
/// By SIGALRM, which is let through for that time alone; its handler does nothing. One may live inside another.
class Interruption {
  public:
    explicit Interruption(Duration period);
    Interruption(const Interruption&) = delete;
    ~Interruption();

  private:
    sigset_t mask_{};
    struct sigaction action_ {};
    itimerval timer_{};
};

}  // namespace superd::sys
