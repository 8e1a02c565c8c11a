// SPDX-License-Identifier: MIT
#include "core/retirement.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace superd::core {

Retirement::~Retirement() {
    let_go();
}

void Retirement::add(pid_t pid, std::uint64_t serial) {
    const auto same = [&](const Entry& entry) { return entry.pid == pid && entry.serial == serial; };
    if (std::ranges::any_of(entries_, same)) return;
    Entry& entry = entries_.emplace_back();
    entry.pid = pid;
    entry.serial = serial;
    entry.when = owner_.now();
    arm();
}

void Retirement::let_go() {
    for (Entry& entry : entries_) {
        if (!entry.stopped || !owner_.wanted(entry.pid, entry.serial)) continue;
        go_on(entry);
        entry.when = owner_.now() + kAgain;
    }
}

void Retirement::rest() {
    for (Entry& entry : entries_) entry.when = owner_.now() + kAgain;
    arm();
}

std::optional<Instant> Retirement::due() const {
    const auto at = std::ranges::min_element(entries_, {}, &Entry::when);
    return at == entries_.end() ? std::nullopt : std::optional(at->when);
}

void Retirement::arm() {
    if (const auto when = due()) timer_.set(*when);
}

void Retirement::step() {
    const auto at = std::ranges::min_element(entries_, {}, &Entry::when);
    if (at != entries_.end() && at->when <= owner_.now()) {
        if (owner_.wanted(at->pid, at->serial)) {
            look(at);
        } else {
            entries_.erase(at);  // gone, or made to continue by whoever ended it in another way
        }
    }
    arm();  // one at a time: let others in between
}

void Retirement::look(Position at) {
    const Instant time = owner_.now();
    const Sight sight = owner_.look(at->pid);
    if (sight.verdict == Sight::Verdict::unknown) return finish(at, sight.verdict);
    if (at->stopped && !sight.stopped && time - at->stopped_at < kStopTime) {
        at->when = time + kStopPoll;
        return;
    }
    if (sight.verdict == Sight::Verdict::idle && sight.stopped) return finish(at, sight.verdict);
    if (!at->stopped && sight.verdict == Sight::Verdict::idle) {
        if (owner_.signal(at->pid, SIGSTOP) != 0) return finish(at, Sight::Verdict::unknown);
        at->stopped = true;
        at->stopped_at = time;
        at->when = time + kStopPoll;
        return;
    }
    if (at->pause == kAgain && !std::exchange(at->told, true))
        owner_.stays(at->pid, sight.verdict == Sight::Verdict::idle ? "does not stop" : sight.why);
    at->pause = at->stopped ? kAgain : std::min(at->pause * 2, kAgain);
    at->when = time + at->pause;
    if (at->stopped) go_on(*at);
}

void Retirement::finish(Position at, Sight::Verdict verdict) {
    Entry entry = *at;
    entries_.erase(at);
    owner_.end(entry.pid, verdict);
    if (entry.stopped || verdict == Sight::Verdict::idle) go_on(entry);
}

void Retirement::go_on(Entry& entry) {
    // Nothing else would do it, so a second try is worth its line.
    for (int i = 0; i < 3 && owner_.signal(entry.pid, SIGCONT) != 0 && errno != ESRCH; ++i) {
    }
    entry.stopped = false;
}

}  // namespace superd::core
