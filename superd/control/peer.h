// SPDX-License-Identifier: MIT
#pragma once
// Tells requests of superd's own handlers from others.

#include <sys/types.h>

namespace superd::control {

/// Do the parents of `pid`, which connected the other end of `socket`, lead to superd? A handler's orphans count too if
/// superd is a subreaper. Also true if it cannot be known because `pid` is gone. False if the line of parents leads to
/// a process that superd may not see (proc(5), hidepid).
bool is_descendant(int socket, pid_t pid);

}  // namespace superd::control
