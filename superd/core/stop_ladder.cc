// SPDX-License-Identifier: MIT
#include "core/stop_ladder.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "net/accepted.h"
#include "proc/occupation.h"

namespace superd::core {

using Reach = StopLadder::Host::Reach;

StopLadder::StopLadder(sys::Loop& loop, Log& log, Host& host, const conf::Service& definition)
    : log_(log),
      host_(host),
      definition_(definition),
      lifetimes_(
          loop, definition.max_lifetime.value_or(Duration::zero()),
          [this](pid_t pid, std::uint64_t serial) { return is_there(pid, serial); },
          [this](pid_t pid, std::uint64_t) {
              Child& child = *host_.known(pid);
              log_.write(Level::notice,
                         fmt::format("{} {} is older than max_lifetime and is ended", name_of(child.kind), pid),
                         {{"SERVICE", definition_.name}, {"CHILD_PID", pid}, {"PEER", child.peer.text()}});
              stop(pid, child);
          }),
      kills_(
          loop, definition.stop_timeout, [this](pid_t pid, std::uint64_t serial) { return is_there(pid, serial); },
          [this](pid_t pid, std::uint64_t) {
              const Child& child = *host_.known(pid);
              child.retired ? press(pid, child) : kill_late(pid, child);
          }),
      retired_(
          loop, kHint, [this](pid_t pid, std::uint64_t serial) { return is_there(pid, serial); },
          [this](pid_t pid, std::uint64_t) { press(pid, *host_.known(pid)); }),
      retirement_(loop, retirement()) {}

bool StopLadder::is_there(pid_t pid, std::uint64_t serial) {
    const Child* const child = host_.known(pid);
    return child != nullptr && child->serial == serial;
}

void StopLadder::limit(pid_t pid, const Child& child) {
    lifetimes_.add(pid, child.serial, host_.now());
}

void StopLadder::stop(pid_t pid, Child& child) {
    if (child.stopping && child.kind == Child::Kind::handler) return;
    if (child.warm && child.kind == Child::Kind::parked) return retire(pid, child);  // it blocks all signals
    child.stopping = true;
    child.retired = false;
    // A stopped process would never see its signal.
    host_.signal(pid, SIGCONT, Reach::session);
    host_.signal(pid, definition_.stop_signal, Reach::session);
    kills_.add(pid, child.serial, host_.now());
}

void StopLadder::retire(pid_t pid, Child& child) {
    child.stopping = true;
    if (child.kind == Child::Kind::parked) {
        child.pair_source = {};
        child.pair.reset();
        if (child.warm) child.warm->close();
        return kills_.add(pid, child.serial, host_.now());
    }
    child.retired = true;
    if (child.pair) {
        host_.hear(child);  // it may have taken a client just now
        shutdown(child.pair.get(), SHUT_WR);
    }
    if (child.silent()) return press(pid, child);
    retired_.add(pid, child.serial, host_.now());
}

void StopLadder::heard(pid_t pid, const Child& child) {
    if (child.retired && child.reports.idle()) retired_.add(pid, child.serial, host_.now());
}

/// A worker that reports a client is left alone until it reports that it has none.
void StopLadder::press(pid_t pid, const Child& child) {
    if (child.silent() || child.reports.idle()) retirement_.add(pid, child.serial);
}

Retirement::Owner StopLadder::retirement() {
    return {
        [this](pid_t pid, std::uint64_t serial) { return is_there(pid, serial) && host_.known(pid)->retired; },
        [this](pid_t pid) { return host_.look(pid, *host_.known(pid)); },
        [this](pid_t pid, Sight::Verdict verdict) { end_retired(pid, verdict); },
        [this](pid_t pid, const char* why) {
            tell(Level::notice, pid, *host_.known(pid), fmt::format("should leave but stays, since it {}", why));
        },
        // Only the leader: whatever it has started may be busy with a client.
        [this](pid_t pid, int number) { return host_.signal(pid, number, Reach::process); },
        [this] { return host_.now(); },
    };
}

/// `verdict`: idle, and stopped; or unknown, and its own reports are all there is.
void StopLadder::end_retired(pid_t pid, Sight::Verdict verdict) {
    Child& child = *host_.known(pid);
    if (!child.signalled) {
        child.signalled = true;
        host_.signal(pid, definition_.stop_signal, Reach::process);
        kills_.add(pid, child.serial, host_.now());
    } else if (verdict == Sight::Verdict::idle || !child.silent()) {
        kill_late(pid, child);
    } else {
        tell(Level::warning, pid, child,
             "has been asked to leave but stays; it does not report, so it may have a client");
    }
}

void StopLadder::kill_late(pid_t pid, const Child& child) {
    tell(Level::notice, pid, child, "did not leave in time and is killed");
    // Only the leader of a silent retired worker: what it has started may have a client.
    host_.signal(pid, SIGKILL, child.retired && child.silent() ? Reach::process : Reach::session);
}

void StopLadder::tell(Level level, pid_t pid, const Child& child, const std::string& what) {
    log_.write(level, fmt::format("{} {} {}", name_of(child.kind), pid, what),
               {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
}

StopLadder::Memory StopLadder::write_down() {
    retirement_.let_go();  // a stopped worker must not stay stopped for longer than its look takes
    return {lifetimes_.entries(), kills_.entries(), retired_.entries()};
}

void StopLadder::go_on(const Memory& memory) {
    lifetimes_.go_on(memory.lifetimes);
    kills_.go_on(memory.kills);
    retired_.go_on(memory.retired);
}

void StopLadder::go_on_with(pid_t pid, const Child& child) {
    if (child.retired && !kills_.awaits(child.serial) && !retired_.awaits(child.serial)) press(pid, child);
}

void StopLadder::step() {
    for (Deadlines* deadlines : {&lifetimes_, &kills_, &retired_}) deadlines->step(host_.now());
    if (const auto when = retirement_.due(); when && *when <= host_.now()) retirement_.step();
}

std::optional<Instant> StopLadder::due() const {
    std::optional<Instant> next;
    for (const auto& when : {lifetimes_.due(), kills_.due(), retired_.due(), retirement_.due()})
        if (when && (!next || *when < *next)) next = when;
    return next;
}

Sight sight_of(const Result<sys::ProcessView>& view, const Child& child) {
    using Verdict = Sight::Verdict;
    if (!child.silent() && !child.reports.idle()) return {Verdict::busy, view && view->is_stopped(), "has a client"};
    if (!view) {
        // Only a lasting reason justifies ending it unseen.
        const int code = view.error().code;
        const bool for_good = code == EPERM || code == EACCES || code == ENOENT || code == EOPNOTSUPP;
        return {for_good ? Verdict::unknown : Verdict::busy, false, "cannot be looked at"};
    }
    const bool stopped = view->is_stopped();
    const char* busy = nullptr;
    if (child.silent())
        busy = proc::occupation_of(*view, child.given.type == conf::SocketType::datagram);
    else if (!view->whole)
        return {};  // its reports are all there is
    if (busy != nullptr) return {Verdict::busy, stopped, busy};
    std::vector<ino_t> others = view->sockets;
    std::erase_if(others, [&](ino_t inode) { return std::ranges::count(child.given.inodes, inode) > 0; });
    if (net::any_accepted(child.given.where, child.given.type, others))
        return {Verdict::busy, stopped, "has a client's connection"};
    return {Verdict::idle, stopped, ""};
}

}  // namespace superd::core
