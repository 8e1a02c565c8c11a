// SPDX-License-Identifier: MIT
#include "core/leaf_mover.h"

#include <sys/wait.h>

#include <cerrno>
#include <new>

#include "base/place.h"

namespace superd::core {

LeafMover::~LeafMover() {
    engine_.unanswered.erase(this);
    if (child_ == 0) return;
    engine_.children.erase(child_);
    while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {  // it runs in memory of this
    }
}

Result<void> LeafMover::move(pid_t pid, sys::Fd members) try {
    next_.push_back({std::move(members), pid});
    if (child_ != 0) return {};
    auto started = start();
    if (!started) next_.clear();
    return started;
} catch (const std::bad_alloc&) {
    return no_memory();
}

Result<void> LeafMover::start() try {
    Place whose(engine_.children);
    engine_.unanswered.insert(this);
    const auto pid = mover_.start(std::move(next_));
    next_.clear();
    if (!pid) {
        engine_.unanswered.erase(this);
        return std::unexpected(pid.error());
    }
    child_ = *pid;
    whose.take(child_, this);
    unsettled_ = Counted(engine_.unsettled);
    return {};
} catch (const std::bad_alloc&) {  // before there is a child
    return no_memory();
}

void LeafMover::before_reaping(pid_t pid) {
    std::erase_if(next_, [pid](const proc::GroupMove& move) { return move.pid == pid; });
    if (child_ == 0 || !mover_.is_moving(pid)) return;
    siginfo_t ended{};
    while (waitid(P_PID, static_cast<id_t>(child_), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
}

void LeafMover::exited(pid_t, int, const rusage&) {
    child_ = 0;
    unsettled_ = {};
    engine_.unanswered.erase(this);
    for (const proc::GroupMove& move : mover_.take()) moved_(move.pid, move.code == 0);
    if (next_.empty()) return;
    std::vector<pid_t> pids;
    for (const proc::GroupMove& move : next_) pids.push_back(move.pid);
    if (start()) return;
    for (const pid_t pid : pids) moved_(pid, false);
}

void LeafMover::after_exit() {
    over_();
}

}  // namespace superd::core
