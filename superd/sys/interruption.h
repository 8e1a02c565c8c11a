// SPDX-License-Identifier: MIT
#pragma once
// Keeps one system call from waiting for ever.

#include <sys/time.h>

#include <csignal>

#include "base/time.h"

namespace superd::sys {

/// While it lives, a sleeping system call of this thread fails with EINTR, again after each `period`. It uses SIGALRM,
/// which is unblocked only for that time and whose handler does nothing. They may be nested.
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
