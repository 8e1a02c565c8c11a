// SPDX-License-Identifier: MIT
#pragma once
// Children in another PID namespace than superd's, whose children they remain.

#include <sched.h>
#include <signal.h>
#include <sys/types.h>

#include "base/error.h"
#include "proc/child.h"
#include "sys/fd.h"

namespace superd::proc {

/// For clone(2) of a child; it may share the table of descriptors as well.
constexpr int kChildFlags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD;

/// Where superd's children are born. It takes a system call to leave superd's own namespace, and one to come back.
class OwnPids {
  public:
    /// From here on they are born in the namespace of `holder`, a pidfd.
    Result<void> enter(int holder);
    /// Where it did not succeed, nobody may be born until it does.
    Result<void> come_back();

  private:
    sys::Fd own_;
    bool away_ = false;
};

/// Where superd is not privileged: it may not enter a namespace whose owner it is, but a process of its may, in which
/// it then is. Makes the child in there, and still superd's, by such a process, which is gone on return: some 50 us.
/// `top`: of the child's stack; `between`: of that other one's.
Result<pid_t> clone_as_owner(ChildView& view, int flags, char* top, pid_t* tid, char* between);

}  // namespace superd::proc
