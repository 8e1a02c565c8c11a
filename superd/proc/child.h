// SPDX-License-Identifier: MIT
#pragma once
// The child's own code, from clone to exec. It shares its parent's memory while the parent keeps running, so it calls
// no library function: plain data in, raw system calls out.

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "proc/child_sandbox.h"

namespace superd::proc {

struct ChildLimit {
    int resource;
    std::uint64_t value[2];  ///< soft, hard: struct rlimit64
};

/// What a child reads, and the few words that it writes for its parent.
struct ChildView {
    int* sources;  ///< sources[i] becomes descriptor i
    int count;
    int highest;    ///< of sources, program, give_back, wake, holder and ruleset
    int give_back;  ///< socket that returns stdin to the parent if the exec fails; or -1
    int wake;       ///< eventfd, written once the child has left the parent's table; or -1: it never shared it
    int cgroup;     ///< cgroup.procs of the group that it is to enter; or -1
    int program;    ///< executed by descriptor if `path` is nullptr; CLOEXEC
    int holder;     ///< pidfd of the process whose namespaces it enters; or -1
    int ruleset;    ///< of Landlock; or -1
    long number;    ///< by which its parent knows what it gives back
    const char* path;
    char** argv;
    char** environment;
    char* listen_pid;  ///< eleven bytes for the child's pid, or nullptr
    const ChildLimit* limits;
    std::size_t limit_count;
    const char* root_directory;  ///< or nullptr
    const char* working_directory;
    mode_t umask;
    int nice;
    int death_signal;  ///< sent to the child when its parent dies; or 0
    bool change_identity;
    uid_t uid;
    gid_t gid;
    const gid_t* groups;
    std::size_t group_count;
    ChildSandbox sandbox;

    int released;             ///< written by the parent that does not share its table: a Release
    int detached;             ///< written by the child: it now has its own descriptor table
    int moved;                ///< written by the child, for itself: its descriptors are in place
    std::int64_t exec_at[2];  ///< written by the child just before its exec: struct timespec, CLOCK_MONOTONIC
    int failed_code;
    int failed_step;  ///< a Step; written after failed_code, just before the child's end
};

/// Whether the parent still has its copies of the sources. A handler must not run before they are closed: it could set
/// its connection to linger and end, and the parent's close would wait for that.
enum Release : int { kept, released, awaited };

/// Temporary failures: no processes, no memory, no descriptors, a program being written.
constexpr bool is_scarcity(int code) {
    return code == EAGAIN || code == ENOMEM || code == ENFILE || code == EMFILE || code == ETXTBSY;
}

/// For clone(2). Returns only on failure, with 127, after writing failed_step.
int child_main(void* view);

}  // namespace superd::proc
