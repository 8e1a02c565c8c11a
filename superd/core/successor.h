// SPDX-License-Identifier: MIT
#pragma once
// The program that takes over from this superd in the same process, as the supervisor sees it. handover/upgrade.h

#include <string>

namespace superd::core {

class Successor {
  public:
    virtual ~Successor() = default;
    /// Supervisor::upgrade_refused() may follow. On success nothing follows: this program ends in the exec.
    virtual void begin() = 0;
    virtual bool under_way() const = 0;
    /// superd has other plans.
    virtual void give_up(const std::string& why) = 0;
};

}  // namespace superd::core
