// SPDX-License-Identifier: MIT
#pragma once
// Starts children without waiting for their exec and without copying memory or the descriptor table.
//
// clone(2) with CLONE_VM and CLONE_FILES but without CLONE_VFORK: the child runs on its own stack while its parent
// continues. Its first act is close_range(2) with CLOSE_RANGE_UNSHARE from just above the highest descriptor that it
// needs, so it gets its own table with only the few below. A spawn thus costs the same with 10 listeners as with
// 10,000, provided that connections have low numbers and everything else high ones (sys::Fd::lifted). Until then parent
// and child share one table, and the parent keeps the child's descriptors open.
// An eventfd says when it may close them.
//
// A small table is copied by clone(2) itself. The parent then closes its copies at once and need not be woken, which
// costs more than the copy.

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/histogram.h"
#include "base/time.h"
#include "proc/environment.h"
#include "proc/exec_plan.h"
#include "proc/pid_namespace.h"
#include "sys/fd.h"
#include "sys/loop.h"

namespace superd::proc {

/// One child to start. number[i] says which of `descriptors` becomes the child's descriptor i; no other stays open.
struct Launch {
    const ExecPlan* plan = nullptr;  ///< outlives the child's exec
    std::vector<sys::Fd> descriptors;
    std::vector<int> number;  ///< for each target, the index in `descriptors` it comes from
    Environment environment;
    bool listen_pid = false;          ///< adds LISTEN_PID, which only the child knows
    int cgroup = -1;                  ///< folder of the control group that it is born in; only needed by spawn()
    int death_signal = 0;             ///< sent to the child when its parent dies
    Instant asked{};                  ///< since when somebody has been waiting for it
    Histogram* until_exec = nullptr;  ///< counts how long that took; outlives the child
    int holder = -1;                  ///< pidfd of the process that has made its namespaces; stays open until spawn()
    /// Its stdin is a pair (proc/parking.h), in which a client may wait for it before it is there. If it does not reach
    /// its program, SpawnFailure::connection is this client's.
    bool waits_for_client = false;
};

/// For a plan that starts another program in the handler's stead (ExecPlan::start_by): the filter, if there is one,
/// becomes the next descriptor. proc/parked/filter.h
Result<void> add_filter(Launch& launch);

class Spawner {
  public:
    /// `overdue`: called with a child whose exec did not return in time; it has been sent SIGKILL.
    static Result<std::unique_ptr<Spawner>> create(sys::Loop& loop, std::function<void(pid_t)> overdue);
    ~Spawner();

    /// The child's pid. Errors: EAGAIN (processes), ENOMEM, what the control group causes; `launch` is then unchanged
    /// and may be tried again.
    Result<pid_t> spawn(Launch& launch);

    /// Call it once for each reaped child: what kept it from its exec, if anything did.
    std::optional<SpawnFailure> reaped(pid_t pid);

    /// Waits at most this long for children on their way to exec. True: there are none.
    bool settle(Duration most);

    /// Children that have not reached their program.
    std::size_t in_flight() const { return in_flight_.size(); }

    static constexpr Duration kExecDeadline = std::chrono::seconds(10);

    struct Slot;

  private:
    Spawner(sys::Fd wake, sys::Fd give_back, sys::Fd returns, std::function<void(pid_t)> overdue);
    /// Receives the connections that came back; returns this child's, if it is among them.
    sys::GuardedFd returned(long number);
    /// The connection that superd has sent into this pair, if any.
    static sys::GuardedFd waiting_in(sys::GuardedFd pair);
    Result<pid_t> clone_child(Slot& slot);
    /// As clone(2), in the child's control group.
    long clone_in_group(Slot& slot, int flags);
    /// For a child that is not born there, and has to enter it.
    static int open_group(Slot& slot);
    void sweep();
    /// Closes the parent's copies, and lets the child go on that waits for that.
    static void release(Slot& slot);
    void check_deadlines();
    void arm_deadline();

    sys::Fd wake_, give_back_;  ///< low numbers: children still have them after they have left the shared table
    sys::Fd returns_;           ///< other end of give_back_
    long number_ = 0;           ///< of the last child
    std::vector<std::pair<long, sys::GuardedFd>> returned_;
    std::function<void(pid_t)> overdue_;
    sys::Source wake_source_, deadline_;
    bool deadline_armed_ = false;
    bool copies_table_ = false;  ///< the table was small when the deadline was last armed
    OwnPids pids_;
    std::unique_ptr<Slot> between_;  ///< once there is a child to be put into a user namespace of its own
    bool born_into_ = true;          ///< this kernel can start a process in a control group
    std::vector<std::unique_ptr<Slot>> in_flight_, free_;
};

}  // namespace superd::proc
