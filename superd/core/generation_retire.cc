// SPDX-License-Identifier: MIT
// How workers and parked processes that are no longer wanted leave, and no client with them.
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>

#include "core/generation.h"
#include "core/service.h"
#include "net/accepted.h"
#include "proc/occupation.h"

namespace superd::core {

/// First by closing our side of the pair, which a worker that reports is to notice: it then leaves between two clients.
/// One that does not report is looked at, and ended while it has no client.
void Generation::retire(pid_t pid) {
    const auto at = children_.find(pid);
    if (at == children_.end()) return;
    Child& child = at->second;
    child.stopping = true;
    if (child.kind == Kind::parked) {
        child.pair_source = {};
        child.pair.reset();
        ends().kills.add(pid, child.serial);
        return;
    }
    child.retired = true;
    bool open = true;
    if (child.pair) {
        read_reports(child, open);  // it may have taken a client just now
        shutdown(child.pair.get(), SHUT_WR);
    }
    if (child.silent()) return press(pid, child);
    ends().retired.add(pid, child.serial);
}

/// One that reports and says that it has a client is left alone until it says that it has none.
void Generation::press(pid_t pid, Child& child) {
    if (child.silent() || child.reports.idle()) ends().retirement.add(pid, child.serial);
}

Retirement::Owner Generation::retirement() {
    return {
        [this](pid_t pid, std::uint64_t serial) { return is_alive(pid, serial) && children_.at(pid).retired; },
        [this](pid_t pid) { return look(pid, children_.at(pid)); },
        [this](pid_t pid, Sight::Verdict verdict) { end_retired(pid, verdict); },
        [this](pid_t pid, const char* why) {
            engine_.log.write(
                Level::notice,
                fmt::format("{} {} is to leave and goes on, since it {}", name_of(children_.at(pid).kind), pid, why),
                {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
        },
        // The leader alone: whatever it has started may be busy with a client.
        [](pid_t pid, int number) { return kill(pid, number); },
        [] { return superd::now(); },
    };
}

Sight Generation::look(pid_t pid, Child& child) {
    using Verdict = Sight::Verdict;
    const auto view = sys::look_at(pid);
    if (!view) {
        // Only what will not change is a reason to end it unseen.
        const int code = view.error().code;
        const bool for_good = code == EPERM || code == EACCES || code == ENOENT || code == EOPNOTSUPP;
        return {for_good ? Verdict::unknown : Verdict::busy, false, "cannot be looked at"};
    }
    const bool stopped = view->is_stopped();
    bool open = true;
    if (child.pair) read_reports(child, open);
    const char* busy = nullptr;
    if (child.silent())
        busy = proc::occupation_of(*view, child.given.type == conf::SocketType::datagram);
    else if (!child.reports.idle())
        busy = "has a client";
    else if (!view->whole)
        return {};  // its word is all there is
    if (busy != nullptr) return {Verdict::busy, stopped, busy};
    std::vector<ino_t> others = view->sockets;
    std::erase_if(others, [&](ino_t inode) { return std::ranges::count(child.given.inodes, inode) > 0; });
    if (net::any_accepted(child.given.where, child.given.type, others))
        return {Verdict::busy, stopped, "has a client's connection"};
    return {Verdict::idle, stopped, ""};
}

/// `verdict`: idle, and stopped; or nobody knows, and what it says of itself is all there is.
void Generation::end_retired(pid_t pid, Sight::Verdict verdict) {
    Child& child = children_.at(pid);
    if (!child.signalled) {
        child.signalled = true;
        kill(pid, definition_.stop_signal);
        ends().kills.add(pid, child.serial);
    } else if (verdict == Sight::Verdict::idle || !child.silent()) {
        kill_late(pid);
    } else {
        engine_.log.write(
            Level::warning,
            fmt::format("{} {} has been asked to leave and goes on; it does not report, so it may have a client",
                        name_of(child.kind), pid),
            {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
    }
}

}  // namespace superd::core
