// SPDX-License-Identifier: MIT
#pragma once
// The child's own code, from clone to exec. It shares its parent's memory while the parent runs on, so it calls
// nothing: plain data in, raw system calls out.

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace superd::proc {

struct ChildLimit {
    int resource;
    std::uint64_t value[2];  ///< soft, hard: struct rlimit64
};

/// What a child reads, and the few words that it writes for its parent.
struct ChildView {
    int* sources;  ///< sources[i] becomes descriptor i
    int count;
    int highest;    ///< of sources, program, give_back and wake
    int give_back;  ///< socket on which stdin goes back to the parent if the exec fails; or -1
    int wake;       ///< eventfd
    int program;    ///< what to execute by descriptor where `path` is nullptr; CLOEXEC
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
    int death_signal;  ///< that it gets when its parent dies; or 0
    bool change_identity;
    uid_t uid;
    gid_t gid;
    const gid_t* groups;
    std::size_t group_count;

    int detached;             ///< written by the child: it has a descriptor table of its own
    int moved;                ///< written by the child, for itself: its descriptors are in place
    std::int64_t exec_at[2];  ///< written by the child just before its exec: struct timespec, CLOCK_MONOTONIC
    int failed_code;
    int failed_step;  ///< a Step; written after failed_code, just before the child's end
};

/// Failures that pass by themselves: no processes, no memory, no descriptors, a program being written.
constexpr bool is_scarcity(int code) {
    return code == EAGAIN || code == ENOMEM || code == ENFILE || code == EMFILE || code == ETXTBSY;
}

/// For clone(2). Never returns but with 127, after failed_step was written.
int child_main(void* view);

}  // namespace superd::proc
