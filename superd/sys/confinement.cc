// SPDX-License-Identifier: MIT
#include "sys/confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>

namespace superd::sys {
namespace {

// Bits of the child's exit status.
enum Tried { kTried = 1, kMounts = 2, kNetwork = 4, kIpc = 8, kPids = 16 };

bool is_effective(cap_t all, cap_value_t one) {
    cap_flag_value_t value = CAP_CLEAR;
    return all != nullptr && cap_get_flag(all, one, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

bool is_privileged() {
    const cap_t own = cap_get_proc();
    const bool privileged = is_effective(own, CAP_SYS_ADMIN) && is_effective(own, CAP_SETPCAP);
    cap_free(own);
    return privileged;
}

bool write_map(const char* path, const char* text) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const auto length = static_cast<ssize_t>(std::strlen(text));
    const bool written = fd >= 0 && write(fd, text, static_cast<std::size_t>(length)) == length;
    if (fd >= 0) close(fd);
    return written;
}

/// A process of a user namespace in which only its own ids exist.
bool enter_user_namespace() {
    char users[64], groups[64];
    std::snprintf(users, sizeof users, "%u %u 1", geteuid(), geteuid());
    std::snprintf(groups, sizeof groups, "%u %u 1", getegid(), getegid());
    return unshare(CLONE_NEWUSER) == 0 && write_map("/proc/self/setgroups", "deny") &&
           write_map("/proc/self/gid_map", groups) && write_map("/proc/self/uid_map", users);
}

int exit_status(pid_t child) {
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return 0;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

struct Root {
    std::uint64_t mount = 0, file = 0;
    bool operator==(const Root&) const = default;
};

std::optional<Root> own_root() {
    struct statx found;
    if (statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &found) != 0) return std::nullopt;
    return Root{found.stx_mnt_id, found.stx_ino};
}

/// Whoever enters a mount namespace gets its root, which is not superd's own where superd is in a chroot.
bool keeps_its_root() {
    const std::optional<Root> before = own_root();
    const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
    const bool kept = self >= 0 && before && setns(self, CLONE_NEWNS) == 0 && own_root() == before;
    if (self >= 0) close(self);
    return kept;
}

bool can_mount() {
    return unshare(CLONE_NEWNS) == 0 && keeps_its_root() &&
           mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0 &&
           mount("tmpfs", "/", "tmpfs", MS_NOSUID | MS_NODEV, "size=4k") == 0;
}

bool can_make_processes() {
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) return false;
    const pid_t first = fork();
    if (first == 0) {
        const bool done = mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0 &&
                          mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2") == 0;
        _exit(done ? kTried : 0);
    }
    return exit_status(first) == kTried;
}

int try_all(bool privileged) {
    // In a user namespace of a root without privileges no other user would exist, but handlers are other users.
    if (!privileged && (geteuid() == 0 || !enter_user_namespace())) return kTried;
    int found = kTried;
    if (unshare(CLONE_NEWNET) == 0) found |= kNetwork;
    if (unshare(CLONE_NEWIPC) == 0) found |= kIpc;
    if (can_make_processes()) found |= kPids;
    if (can_mount()) found |= kMounts;
    return found;
}

bool has_filters() {
    const unsigned action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int landlock_version() {
#ifdef SYS_landlock_create_ruleset
    const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? static_cast<int>(version) : 0;
#else
    return 0;
#endif
}

}  // namespace

Confinement look_at_confinement() {
    Confinement here;
    here.filter = has_filters();
    here.landlock = landlock_version();
    here.privileged = is_privileged();
    const pid_t child = fork();
    if (child == 0) {
        // Otherwise its own files in /proc, by which ids are mapped, would not be its own. superd is not, where it is
        // not root; what of its memory could be seen here for a moment is what it has read of files so far.
        prctl(PR_SET_DUMPABLE, 1);
        _exit(try_all(here.privileged));
    }
    const int found = exit_status(child);
    here.mounts = (found & kMounts) != 0;
    here.network = (found & kNetwork) != 0;
    here.ipc = (found & kIpc) != 0;
    here.pids = (found & kPids) != 0;
    here.user_namespace = !here.privileged && (found & ~kTried) != 0;
    return here;
}

}  // namespace superd::sys
