// SPDX-License-Identifier: MIT
#pragma once
// What /proc shows of another process: proc_pid(5).

#include <sys/types.h>

#include <string_view>
#include <vector>

#include "base/error.h"

namespace superd::sys {

struct ThreadView {
    char state = '?';  ///< proc_pid_stat(5): 'S' sleeps, 'T' is stopped
    long call = -1;    ///< stopped: number of the system call that it is in, or has just left; -1: none
};

struct ProcessView {
    std::vector<ThreadView> threads;  ///< but those that have ended
    bool children = false;            ///< it has some that have not ended, or too many to say
    std::vector<ino_t> sockets;       ///< inodes of those among its descriptors
    bool whole = true;                ///< false: it changed meanwhile, or has more than is looked at

    bool is_stopped() const;
    /// So that a look takes no more than some 10 ms, whatever the process has made of itself.
    static constexpr std::size_t kMostThreads = 256, kMostChildren = 64, kMostDescriptors = 4096;
};

/// Stops at nothing, so what it returns is one moment's only if the process is stopped.
/// EPERM, EACCES, ENOENT: superd may not look (or this kernel does not tell). EOPNOTSUPP: its calls have other numbers.
Result<ProcessView> look_at(pid_t pid);

/// A line of /proc/PID/syscall. EOPNOTSUPP as above, EAGAIN while it runs.
Result<long> call_in(std::string_view line);

}  // namespace superd::sys
