// SPDX-License-Identifier: MIT
#include "proc/pid_namespace.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "proc/raw_syscall.h"

namespace superd::proc {
namespace {

struct Between {
    ChildView* view;
    int flags;
    char* top;
    pid_t* tid;
    long pid;
};

/// superd waits meanwhile, so clone(3) may be called.
SUPERD_CHILD int enter_and_clone(void* argument) {
    auto* between = static_cast<Between*>(argument);
    between->pid = raw_syscall(SYS_setns, between->view->holder, CLONE_NEWUSER | CLONE_NEWPID);
    if (between->pid < 0) return 0;
    between->pid =
        clone(child_main, between->top, between->flags | CLONE_PARENT, between->view, nullptr, nullptr, between->tid);
    if (between->pid < 0) between->pid = -errno;
    return 0;
}

}  // namespace

Result<void> OwnPids::enter(int holder) {
    if (auto back = come_back(); !back) return back;
    if (!own_) own_ = sys::Fd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))).lifted();
    if (!own_) return fail_errno("PID namespace", errno);
    if (setns(holder, CLONE_NEWPID) != 0) return fail_errno("PID namespace", errno);
    away_ = true;
    return {};
}

Result<void> OwnPids::come_back() {
    if (!away_) return {};
    if (setns(own_.get(), CLONE_NEWPID) != 0) return fail_errno("PID namespace", errno);
    away_ = false;
    return {};
}

Result<pid_t> clone_as_owner(ChildView& view, int flags, char* top, pid_t* tid, char* between) {
    Between way{&view, flags, top, tid, 0};
    const pid_t pid = clone(enter_and_clone, between, CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, &way);
    if (pid < 0) return fail_errno("clone", errno);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (way.pid < 0) return fail_errno("user namespace", static_cast<int>(-way.pid));
    return static_cast<pid_t>(way.pid);
}

}  // namespace superd::proc
