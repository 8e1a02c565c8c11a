// SPDX-License-Identifier: MIT
#pragma once
// The processes that keep a sandbox, and start handlers in it, over an upgrade, as plain values.

#include <sys/types.h>

#include <vector>

namespace superd::core {

struct HoldState {
    pid_t pid = 0;  ///< 0: it is not ready
    int channel = -1;
    std::vector<pid_t> dying;  ///< others that have been killed, and have not ended
};

struct LauncherState {
    pid_t pid = 0;
    int channel = -1;
    int version = 0;  ///< of what passes over the channel
};

}  // namespace superd::core
