// SPDX-License-Identifier: MIT
#pragma once
// What a process uses, from /proc, where the sandbox leaves it in sight.

#include <sys/types.h>

#include <map>
#include <optional>
#include <set>

#include "web/control.h"

namespace status {

struct Usage {
    double cpu = 0;     ///< percent of one processor since the last look, or since its start
    double memory = 0;  ///< bytes
};

class UsageOf {
  public:
    std::optional<Usage> look(pid_t pid);
    /// Forgets all others.
    void keep(const std::set<pid_t>& pids);

  private:
    struct Look {
        unsigned long long born = 0;
        double busy = 0;  ///< seconds
        web::Instant when{};
        double cpu = 0;
    };
    std::map<pid_t, Look> looks_;
};

}  // namespace status
