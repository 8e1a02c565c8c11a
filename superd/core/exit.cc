// SPDX-License-Identifier: MIT
#include "core/exit.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/signal.h"

namespace superd::core {

bool Exit::by_signal() const {
    return WIFSIGNALED(status_);
}

int Exit::number() const {
    return by_signal() ? WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string Exit::how() const {
    if (for_memory_) return "killed by the kernel for want of memory";
    return by_signal() ? fmt::format("killed by {}", signal_name(number())) : fmt::format("exit status {}", number());
}

bool Exit::as_told() const {
    return child_.stopping || (child_.sent != 0 && by_signal() && number() == child_.sent);
}

std::optional<bool> Exit::started_well() const {
    if (child_.kind != Kind::handler || scarcity_) return std::nullopt;
    if (failure_) return false;
    return status_ == 0 || child_.stopping || lived_ >= kBadStart;
}

bool Exit::is_useless() const {
    if (child_.reports.clients > 0) return false;
    if (status_ != 0) return lived_ < kEarly;
    // A worker or parked process has no reason to leave at once; a handler or owner may.
    const bool stays = child_.kind == Kind::worker || child_.kind == Kind::parked;
    return stays && lived_ < kBadStart;
}

model::End Exit::end(bool unread, bool counts_requests) const {
    if (child_.stopping || !(failure_ || unread || is_useless())) return model::End::well;
    // A silent worker that has served its max_requests within a moment looks like one that left at once.
    const bool may_have_served =
        child_.kind == Kind::worker && status_ == 0 && !failure_ && !child_.reports.any() && counts_requests;
    return may_have_served ? model::End::hasty : model::End::badly;
}

std::optional<admit::Offence> Exit::offence() const {
    if (child_.kind != Kind::handler || failure_ || for_memory_ || !is_abnormal()) return std::nullopt;
    if (!by_signal()) return admit::Offence::failed;
    return number() == SIGPIPE ? std::nullopt : std::optional(admit::Offence::crashed);
}

void Exit::count(Stats& stats) const {
    if (is_abnormal()) ++stats.failures;
    if (child_.kind == Kind::parked) return;
    if (child_.kind != Kind::worker) stats.handler_time.add(lived_);
    if (status_ == 0) {
        ++stats.exits.ok;
    } else if (as_told()) {
        ++stats.exits.stopped;
    } else {
        ++(by_signal() ? stats.exits.killed : stats.exits.failed);
    }
}

}  // namespace superd::core
