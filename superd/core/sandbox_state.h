// SPDX-License-Identifier: MIT
#pragma once
// The processes that keep a sandbox, and start handlers in it, over an upgrade, as plain values.

#include <sys/types.h>

namespace superd::core {

struct HoldState {
    pid_t pid = 0;
    int channel = -1;
};

struct LauncherState {
    pid_t pid = 0;
    int channel = -1;
};

}  // namespace superd::core
