// SPDX-License-Identifier: MIT
#pragma once
// Is it one of superd's own handlers that asks?

#include <sys/types.h>

namespace superd::control {

/// Do the parents of `pid`, which connected the other end of `socket`, lead to superd? What a handler leaves behind
/// counts too where superd is a subreaper. True as well where that cannot be told, because `pid` has gone. False where
/// the line of parents comes to a process that superd may not see (proc(5), hidepid).
bool is_descendant(int socket, pid_t pid);

}  // namespace superd::control
