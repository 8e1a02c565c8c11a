// SPDX-License-Identifier: MIT
#pragma once
// Moves children that began in their service's control group into leaves of their own, ahead of their clients, and
// without having the loop wait.

#include <functional>
#include <vector>

#include "base/counted.h"
#include "core/awaited.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "proc/group_move.h"

namespace superd::core {

class LeafMover final : public ChildOwner, public Awaited {
  public:
    /// `moved`: this child is there, or could not be moved. `over`: last of all; it may be the end of this.
    LeafMover(Engine& engine, std::function<void(pid_t, bool)> moved, std::function<void()> over)
        : engine_(engine), moved_(std::move(moved)), over_(std::move(over)) {}
    ~LeafMover() override;
    LeafMover(const LeafMover&) = delete;

    /// `members`: the leaf's cgroup.procs. Error: `moved` is not called.
    Result<void> move(pid_t pid, sys::Fd members);
    bool empty() const { return child_ == 0; }

    void hear_all(Duration) override {}
    /// Until a child has been moved, its number must not become another's.
    void before_reaping(pid_t pid) override;
    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;

  private:
    Result<void> start();

    Engine& engine_;
    std::function<void(pid_t, bool)> moved_;
    std::function<void()> over_;
    proc::GroupMover mover_;
    pid_t child_ = 0;
    std::vector<proc::GroupMove> next_;
    Counted unsettled_;
};

}  // namespace superd::core
