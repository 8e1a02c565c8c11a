// SPDX-License-Identifier: MIT
#pragma once
// What /proc shows of processes: proc_pid(5).

#include <sys/types.h>

#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace superd::sys {

struct ThreadView {
    char state = '?';  ///< proc_pid_stat(5): 'S' sleeps, 'T' is stopped
    long call = -1;    ///< stopped: number of the system call that it is in or has just left; -1: none
};

struct ProcessView {
    std::vector<ThreadView> threads;  ///< without those that have ended
    bool children = false;            ///< it has some that have not ended, or too many to check
    std::vector<ino_t> sockets;       ///< inodes of the sockets among its descriptors
    bool whole = true;                ///< false: it changed meanwhile, or is too large to be looked at as a whole

    bool is_stopped() const;
    /// Bounds a look to some 10 ms, whatever the process has become.
    static constexpr std::size_t kMostThreads = 256, kMostChildren = 64, kMostDescriptors = 4096;
};

/// Does not stop the process, so the result is consistent only if the process is stopped already. EPERM, EACCES,
/// ENOENT: superd may not look, or this kernel does not tell. EOPNOTSUPP: its calls have other numbers.
Result<ProcessView> look_at(pid_t pid);

/// For how many descriptors the calling process's table has room; it never shrinks. nullopt: /proc does not tell.
std::optional<std::size_t> descriptor_table_size();

/// A line of /proc/PID/syscall. EOPNOTSUPP as above, EAGAIN while it runs.
Result<long> call_in(std::string_view line);

}  // namespace superd::sys
