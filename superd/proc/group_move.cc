// SPDX-License-Identifier: MIT
#include "proc/group_move.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "proc/raw_syscall.h"

namespace superd::proc {

/// Raw system calls alone, since its parent runs on. A signal would run superd's handler here.
SUPERD_CHILD int GroupMover::main(void* argument) {
    auto* const view = static_cast<View*>(argument);
    for (std::size_t i = 0; i < view->count; ++i) {
        Order& order = view->orders[i];
        order.result = raw_syscall(SYS_write, order.members,
                                   static_cast<long>(reinterpret_cast<std::intptr_t>(order.text)), order.length);
    }
    return 0;
}

Result<pid_t> GroupMover::start(std::vector<GroupMove> moves) {
    if (!view_) view_ = std::make_unique<View>();
    orders_.clear();
    for (const GroupMove& move : moves) {
        Order& order = orders_.emplace_back();
        order.members = move.members.get();
        order.result = -EINTR;  // if it does not come to that
        order.length = static_cast<unsigned>(fmt::format_to_n(order.text, sizeof order.text, "{}", move.pid).size);
    }
    view_->orders = orders_.data();
    view_->count = orders_.size();
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t pid = clone(main, view_->stack + sizeof view_->stack, CLONE_VM | CLONE_FILES | SIGCHLD, view_.get());
    const int code = errno;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) return fail_errno("clone", code);
    moves_ = std::move(moves);
    return pid;
}

bool GroupMover::is_moving(pid_t pid) const {
    return std::ranges::find(moves_, pid, &GroupMove::pid) != moves_.end();
}

std::vector<GroupMove> GroupMover::take() {
    for (std::size_t i = 0; i < moves_.size(); ++i)
        moves_[i].code = orders_[i].result < 0 ? static_cast<int>(-orders_[i].result) : 0;
    return std::exchange(moves_, {});
}

}  // namespace superd::proc
