// SPDX-License-Identifier: MIT
#include "proc/child.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>

#include "proc/exec_plan.h"
#include "proc/raw_message.h"
#include "proc/raw_syscall.h"

namespace superd::proc {
namespace {

template <class T>
SUPERD_CHILD static inline long word(T* pointer) {
    return static_cast<long>(reinterpret_cast<std::intptr_t>(pointer));
}

/// A failing process does not lose its client: it sends the connection back. {number, SCM_RIGHTS}
SUPERD_CHILD void give_back(const ChildView* view) {
    const long number = view->number;  // its pid is another one for its parent if it is in a PID namespace
    send_raw(view->give_back, &number, sizeof number, view->moved != 0 ? 0 : view->sources[0], MSG_DONTWAIT);
}

SUPERD_CHILD int failed(ChildView* view, Step step, long result) {
    view->failed_code = static_cast<int>(-result);
    __atomic_store_n(&view->failed_step, static_cast<int>(step), __ATOMIC_RELEASE);
    // Until it has moved, it is the parent's, if both share the table. A filter may kill for this call: it is the last.
    if (view->give_back >= 0 && (view->moved != 0 || view->wake < 0)) give_back(view);
    return 127;
}

/// Until it is called with 0, a close does not sleep, as under sys::Dropping. The child has copies of all that its parent
/// had, and of a socket that strangers write to, or have passed, it may be the one that closes the last.
SUPERD_CHILD void interrupt_each(long microseconds) {
    long each[4];
    each[0] = each[2] = 0;
    each[1] = each[3] = microseconds;
    raw_syscall(SYS_setitimer, 0 /* ITIMER_REAL */, word(each), 0);
}

/// A separate table with the sources in place: 0 … count-1, behind them what the child itself needs, and nothing else.
SUPERD_CHILD long move_descriptors(ChildView* view) {
    long r = 0;
    if (view->wake >= 0) {
        r = raw_syscall(SYS_close_range, view->highest + 1, static_cast<long>(~0U), CLOSE_RANGE_UNSHARE);
        // Before Linux 5.9, or in a sandbox that forbids it: copy the whole table; unwanted descriptors are CLOEXEC.
        if (r == -ENOSYS || r == -EPERM) r = raw_syscall(SYS_unshare, CLONE_FILES);
        if (r < 0) return r;
    }
    int* others[5];
    others[0] = &view->program;
    others[1] = &view->give_back;
    others[2] = &view->wake;
    others[3] = &view->holder;
    others[4] = &view->ruleset;
    int end = view->count;
    for (int i = 0; i < 5; ++i)
        if (*others[i] >= 0) ++end;
    interrupt_each(200);
    // First move them out of the way of the targets, then into place.
    for (int i = 0; i < view->count + 5; ++i) {
        int* source = i < view->count ? &view->sources[i] : others[i - view->count];
        if (*source < 0 || *source >= end) continue;
        r = raw_syscall(SYS_fcntl, *source, F_DUPFD_CLOEXEC, end);
        if (r < 0) return r;
        *source = static_cast<int>(r);
    }
    int target = 0;
    for (; target < view->count; ++target) {
        r = raw_syscall(SYS_dup3, view->sources[target], target, 0);
        if (r < 0) return r;
    }
    for (int i = 0; i < 5; ++i) {
        if (*others[i] < 0) continue;
        r = raw_syscall(SYS_dup3, *others[i], target, O_CLOEXEC);
        if (r < 0) return r;
        *others[i] = target++;
    }
    // All others are CLOEXEC; but the exec may take a while, and clients wait for their connections to close.
    raw_syscall(SYS_close_range, end, static_cast<long>(~0U), 0);
    interrupt_each(0);
    // From here on the parent may close its copies: after a later failure the connection can still be sent back.
    view->moved = 1;
    __atomic_store_n(&view->detached, 1, __ATOMIC_RELEASE);
    const std::uint64_t one = 1;
    if (view->wake >= 0) raw_syscall(SYS_write, view->wake, word(&one), sizeof one);
    return 0;
}

SUPERD_CHILD long become(ChildView* view) {
    long r = raw_syscall(SYS_setgroups, static_cast<long>(view->group_count), word(view->groups));
    if (r < 0) return failed(view, Step::groups, r), r;
    r = raw_syscall(SYS_setresgid, view->gid, view->gid, view->gid);
    if (r < 0) return failed(view, Step::group, r), r;
    r = raw_syscall(SYS_setresuid, view->uid, view->uid, view->uid);
    if (r < 0) return failed(view, Step::user, r), r;
    uid_t uid[3];
    gid_t gid[3];
    r = raw_syscall(SYS_getresuid, word(uid), word(uid + 1), word(uid + 2));
    if (r == 0) r = raw_syscall(SYS_getresgid, word(gid), word(gid + 1), word(gid + 2));
    for (int i = 0; r == 0 && i < 3; ++i)
        if (uid[i] != view->uid || gid[i] != view->gid) r = -EPERM;
    if (r < 0) failed(view, Step::credentials, r);
    return r;
}

/// The parent closes its copies just after it has made the child, so this hardly ever waits. If the parent has died or
/// is stopped, the client does not wait for it.
SUPERD_CHILD void await_release(ChildView* view) {
    int now = kept;
    if (!__atomic_compare_exchange_n(&view->released, &now, static_cast<int>(awaited), false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return;
    std::int64_t most[2];
    most[0] = 1;
    most[1] = 0;
    raw_syscall(SYS_futex, word(&view->released), FUTEX_WAIT_PRIVATE, awaited, word(most));
}

SUPERD_CHILD void write_pid(char* digits) {
    long pid = raw_syscall(SYS_getpid);
    char reversed[10];
    int n = 0;
    for (; pid > 0; pid /= 10) reversed[n++] = static_cast<char>('0' + pid % 10);
    while (n > 0) *digits++ = reversed[--n];
    *digits = '\0';
}

}  // namespace

SUPERD_CHILD int child_main(void* argument) {
    auto* view = static_cast<ChildView*>(argument);
    long r = 0;
    // While the table is shared: this descriptor need not have a low number.
    if (view->cgroup >= 0) r = raw_syscall(SYS_write, view->cgroup, word("0"), 1);
    if (r < 0) return failed(view, Step::cgroup, r);
    r = move_descriptors(view);
    if (r < 0) return failed(view, Step::descriptors, r);
    r = raw_syscall(SYS_setsid);
    if (r < 0) return failed(view, Step::session, r);
    for (std::size_t i = 0; i < view->limit_count; ++i) {
        r = raw_syscall(SYS_prlimit64, 0, view->limits[i].resource, word(view->limits[i].value));
        if (r < 0) return failed(view, Step::resource_limits, r);
    }
    raw_syscall(SYS_umask, view->umask);
    if (view->nice != 0) {
        r = raw_syscall(SYS_setpriority, 0 /* PRIO_PROCESS */, 0, view->nice);
        if (r < 0) return failed(view, Step::priority, r);
    }
    // From here on paths are those that the handler sees.
    r = enter_namespaces(view->sandbox, view->holder);
    if (r < 0) return failed(view, Step::namespaces, r);
    if (view->root_directory != nullptr) {
        r = raw_syscall(SYS_chroot, word(view->root_directory));
        if (r < 0) return failed(view, Step::root_directory, r);
    }
    r = raw_syscall(SYS_chdir, word(view->working_directory));
    if (r < 0) return failed(view, Step::working_directory, r);
    // Ambient capabilities would pass to any handler (capabilities(7)); EINVAL: a kernel without them.
    r = raw_syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
    if (r < 0 && r != -EINVAL) return failed(view, Step::capabilities, r);
    // Do not keep superd's keyring, which may belong to root's login. Before the ids change, or it counts against the
    // target user's quota. Without kernel keys, in a sandbox that forbids them, or over superd's own quota, the handler
    // has none.
    r = raw_syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
    if (r == -ENOMEM) return failed(view, Step::keyring, r);
    if (view->listen_pid != nullptr) write_pid(view->listen_pid);
    if (const Step step = confine_as_superd(view->sandbox, r); step != Step::none) return failed(view, step, r);
    // Last of all, so that the target user can touch this process only briefly.
    if (view->change_identity && become(view) < 0) return 127;
    // After the ids, since changing them clears it. Without it, only a worker that superd has just stopped is affected.
    if (view->death_signal != 0) raw_syscall(SYS_prctl, PR_SET_PDEATHSIG, view->death_signal);
    const std::uint64_t none = 0;
    r = raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, word(&none), 0, sizeof none);
    if (r < 0) return failed(view, Step::signals, r);
    if (view->wake < 0) await_release(view);
    if (const Step step = confine_as_handler(view->sandbox, view->ruleset, r); step != Step::none)
        return failed(view, step, r);
    raw_syscall(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, word(view->exec_at));
    r = install_filter(view->sandbox);
    if (r < 0) return failed(view, Step::filter, r);
    if (view->path != nullptr)
        r = raw_syscall(SYS_execve, word(view->path), word(view->argv), word(view->environment));
    else
        r = raw_syscall(SYS_execveat, view->program, word(""), word(view->argv), word(view->environment),
                        0x1000 /* AT_EMPTY_PATH */);
    return failed(view, Step::exec, r);
}

}  // namespace superd::proc
