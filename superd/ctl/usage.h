// SPDX-License-Identifier: MIT
#pragma once
// The resources that processes use, from one look to the next. proc(5)

#include <sys/types.h>

#include <map>
#include <optional>
#include <set>

#include "base/time.h"

namespace superd::ctl {

struct Usage {
    double cpu = 0;     ///< percent of one processor since the last look; since its start at the first
    double memory = 0;  ///< bytes resident
};

class UsageOf {
  public:
    /// nullopt: the process is gone, or superctl may not see it in /proc.
    std::optional<Usage> look(pid_t pid);
    /// Forgets all others.
    void keep(const std::set<pid_t>& pids);

  private:
    struct Look {
        unsigned long long born = 0;  ///< distinguishes a process from a later one with the same pid
        double busy = 0;              ///< seconds of processor time
        Instant when;
        double cpu = 0;
    };
    std::map<pid_t, Look> looks_;
};

}  // namespace superd::ctl
