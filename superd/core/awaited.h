// SPDX-License-Identifier: MIT
#pragma once
// Whoever waits for word of children that begin by themselves.

#include <sys/types.h>

#include "base/time.h"

namespace superd::core {

/// Engine::unanswered has those of whose children one may have begun that is not known yet.
class Awaited {
  public:
    virtual ~Awaited() = default;
    /// Reads what has been told, or is told within this time. It may be the end of this.
    virtual void hear_all(Duration most) = 0;
    /// A child has ended and is about to be reaped: from then on another process may have its number.
    virtual void before_reaping(pid_t) {}
};

}  // namespace superd::core
