// SPDX-License-Identifier: MIT
#pragma once
// Moves processes into control groups, in a child that shares superd's memory: the kernel has whoever moves one wait
// for some ten milliseconds, unless another has just been moved.

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace superd::proc {

struct GroupMove {
    sys::Fd members;  ///< the group's cgroup.procs, open for writing
    pid_t pid = 0;
    int code = 0;  ///< afterwards: errno, or 0
};

class GroupMover {
  public:
    /// Its child's pid. The child has to be reaped before this goes, and before the next start.
    Result<pid_t> start(std::vector<GroupMove> moves);
    bool is_moving(pid_t pid) const;
    /// What has become of them; only once the child has ended.
    std::vector<GroupMove> take();

  private:
    /// What the child reads and writes.
    struct Order {
        int members = -1;
        unsigned length = 0;
        char text[12];  ///< the pid
        long result = 0;
    };
    struct View {
        Order* orders = nullptr;
        std::size_t count = 0;
        alignas(16) char stack[4096];
    };
    static int main(void* view);

    std::unique_ptr<View> view_;
    std::vector<Order> orders_;
    std::vector<GroupMove> moves_;
};

}  // namespace superd::proc
