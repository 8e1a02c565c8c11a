// SPDX-License-Identifier: MIT
#include "proc/child_sandbox.h"

#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>

#include "proc/exec_plan.h"
#include "proc/raw_syscall.h"

namespace superd::proc {
namespace {

template <class T>
SUPERD_CHILD static inline long raw(T* pointer) {
    return static_cast<long>(reinterpret_cast<std::intptr_t>(pointer));
}

/// A handler's user has no capabilities of its own: what it is to have is kept over the change, and passed on.
SUPERD_CHILD long raise_ambient(std::uint64_t set) {
    __user_cap_header_struct header;
    header.version = _LINUX_CAPABILITY_VERSION_3;
    header.pid = 0;
    __user_cap_data_struct data[2];
    for (int i = 0; i < 2; ++i) {
        const auto part = static_cast<std::uint32_t>(set >> (32 * i));
        data[i].effective = part;
        data[i].permitted = part;
        data[i].inheritable = part;
    }
    long r = raw_syscall(SYS_capset, raw(&header), raw(data));
    for (long number = 0; r >= 0 && number < 64; ++number)
        if ((set >> number & 1) != 0) r = raw_syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0);
    return r;
}

}  // namespace

SUPERD_CHILD long enter_namespaces(const ChildSandbox& sandbox, int holder) {
    // A child is born in its PID namespace (proc/pid_namespace.h), and in its user namespace where it has both.
    long flags = sandbox.namespaces & ~CLONE_NEWPID;
    if ((sandbox.namespaces & CLONE_NEWPID) != 0) flags &= ~CLONE_NEWUSER;
    return flags == 0 ? 0 : raw_syscall(SYS_setns, holder, flags);
}

SUPERD_CHILD Step confine_as_superd(const ChildSandbox& sandbox, long& result) {
    for (long number = 0; number < 64; ++number) {
        if ((sandbox.drop >> number & 1) == 0) continue;
        result = raw_syscall(SYS_prctl, PR_CAPBSET_DROP, number, 0, 0, 0);
        if (result < 0) return Step::bounding_set;
    }
    if (sandbox.ambient != 0) {
        result = raw_syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);  // until the exec
        if (result < 0) return Step::ambient_capabilities;
    }
    return Step::none;
}

SUPERD_CHILD Step confine_as_handler(const ChildSandbox& sandbox, int ruleset, long& result) {
    if (sandbox.ambient != 0) {
        result = raise_ambient(sandbox.ambient);
        if (result < 0) return Step::ambient_capabilities;
    }
    if (sandbox.no_new_privileges) {
        result = raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (result < 0) return Step::no_new_privileges;
    }
    if (ruleset != -1) {
        result = raw_syscall(446 /* landlock_restrict_self */, ruleset, 0);
        if (result < 0) return Step::paths;
    }
    return Step::none;
}

SUPERD_CHILD long install_filter(const ChildSandbox& sandbox) {
    if (sandbox.filter == nullptr) return 0;
    sock_fprog program;
    program.len = sandbox.filter_length;
    program.filter = sandbox.filter;
    return raw_syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, raw(&program));
}

}  // namespace superd::proc
