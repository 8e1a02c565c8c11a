// SPDX-License-Identifier: MIT
#pragma once
// Whoever waits for word of children that begin by themselves.

#include "base/time.h"

namespace superd::core {

/// Engine::unanswered has those of whose children one may have begun that is not known yet.
class Awaited {
  public:
    virtual ~Awaited() = default;
    /// Reads what has been told, or is told within this time. It may be the end of this.
    virtual void hear_all(Duration most) = 0;
};

}  // namespace superd::core
