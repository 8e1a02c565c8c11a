// SPDX-License-Identifier: MIT
#pragma once
// Keeps one system call from waiting for ever.

#include <sys/time.h>

#include "base/time.h"

namespace superd::sys {

/// While it lives, a sleeping system call of this thread fails with EINTR, again after each `period`. It uses SIGALRM,
/// whose handler does nothing; the first one sets it, unblocked, and it stays, until an exec. They may be nested.
class Interruption {
  public:
    explicit Interruption(Duration period);
    /// Sets the handler now, for children that use SIGALRM before their exec.
    static void prepare();
    Interruption(const Interruption&) = delete;
    ~Interruption();

  private:
    itimerval timer_{};
};

}  // namespace superd::sys
