// SPDX-License-Identifier: MIT
#include "model/workers.h"

#include <algorithm>
#include <utility>

namespace superd::model {

Workers::Workers(Host& host, const conf::Service& definition)
    : host_(host),
      delayed_(definition.model == conf::Model::delayed),
      least_(delayed_ ? 1 : definition.prefork->min_spare),
      most_spare_(definition.prefork->max_spare),
      most_(static_cast<std::size_t>(definition.limits->instances)),
      grow_after_(delayed_ ? definition.delay : definition.prefork->grow_after.value_or(kGrowAfter)),
      reported_grow_after_(definition.prefork->grow_after.value_or(kReportedGrowAfter)),
      idle_(definition.prefork->max_idle.value_or(kDefaultIdle)),
      max_age_(definition.prefork->max_age),
      max_requests_(definition.prefork->max_requests),
      pools_(host.listeners()) {}

/// One event for waiting clients is enough: after that look_at() has its time.
bool Workers::wants(std::size_t listener) const {
    return listener < pools_.size() && can_start() && !pools_[listener].look_at;
}

void Workers::ready(std::size_t listener) {
    if (!wants(listener)) return;
    Pool& pool = pools_[listener];
    pool.filled_since = host_.now();
    pool.taken_before = pool.taken;
    pool.look_at = pool.filled_since + grow_after_ / 4;
    if (pool.workers == 0 && start(listener)) pool.coming = 1;
    note_shortage(listener);
    set_timer();
}

bool Workers::start(std::size_t listener) {
    if (!can_start()) return false;
    const auto pid = host_.start_worker(listener);
    if (!pid) {  // the present ones continue to serve
        retry_at_ = host_.now() + scarce_.next();
        return false;
    }
    scarce_.reset();
    workers_[*pid] = {listener, host_.now(), {}};
    Pool& pool = pools_[listener];
    ++pool.workers;
    ++pool.spare;
    ++pool.room;
    return true;
}

std::size_t Workers::missing(std::size_t listener) const {
    const Pool& pool = pools_[listener];
    if (!host_.has_socket(listener)) return 0;
    const auto past = [](int least, int there) { return static_cast<std::size_t>(std::max(least - there, 0)); };
    if (!by_reports()) return past(least_, static_cast<int>(pool.workers));
    // Waiting clients have no worker yet, and must not use up the spare ones.
    if (pool.growing) return past(least_ + static_cast<int>(host_.waiting(listener)), pool.spare);
    if (pool.room >= wanted()) return 0;
    return past(least_ > 0 || host_.waiting(listener) > 0 ? wanted() : 0, pool.room);
}

bool Workers::turns_over(std::size_t listener, std::uint64_t taken) const {
    const Pool& pool = pools_[listener];
    if (!by_reports()) return false;
    return pool.taken - taken >= host_.waiting(listener) + static_cast<std::size_t>(pool.room - pool.spare);
}

bool Workers::note_shortage(std::size_t listener) {
    Pool& pool = pools_[listener];
    bool is_short = by_reports() && pool.spare < wanted() && can_start() && host_.has_socket(listener);
    if (is_short && pool.spare >= least_) is_short = host_.waiting(listener) > 0;
    if (!is_short) pool.shortage.reset();
    if (!is_short || pool.shortage || pool.growing) return false;
    pool.shortage = {host_.now() + reported_grow_after_, pool.taken};
    return true;
}

void Workers::judge_shortage(std::size_t listener) {
    Pool& pool = pools_[listener];
    if (!pool.shortage || pool.shortage->end > host_.now()) return;
    pool.growing = !turns_over(listener, pool.shortage->taken);
    pool.shortage.reset();
}

void Workers::refill() {
    if (drained_) return;
    for (std::size_t listener = 0; listener < pools_.size(); ++listener) judge_shortage(listener);
    fill();
    set_timer();
}

void Workers::fill() {
    std::vector<std::size_t> still(pools_.size());
    std::size_t in_all = 0;
    for (std::size_t listener = 0; can_start() && listener < pools_.size(); ++listener)
        in_all += still[listener] = missing(listener);
    // The listener with the fewest workers comes first, so that none is without a worker while others get more.
    for (std::size_t left = std::min<std::size_t>(in_all, kBatch); left > 0; --left) {
        std::size_t next = pools_.size();
        for (std::size_t listener = 0; listener < pools_.size(); ++listener)
            if (still[listener] > 0 && (next == pools_.size() || pools_[listener].workers < pools_[next].workers))
                next = listener;
        if (!start(next)) break;
        --still[next];
    }
    const bool more = in_all > kBatch && can_start();
    if (more) host_.when_idle();  // let others go first
    for (std::size_t listener = 0; listener < pools_.size(); ++listener) {
        pools_[listener].growing = pools_[listener].growing && more && still[listener] > 0;
        note_spare(pools_[listener]);
        note_shortage(listener);
    }
}

void Workers::look_at_queue(std::size_t listener) {
    Pool& pool = pools_[listener];
    const Instant time = host_.now();
    const std::size_t waiting = host_.waiting(listener);
    if (waiting == 0 || workers_.size() >= most_) {
        pool.look_at.reset();
        pool.burst = 1;
        pool.coming = pool.waiting = 0;
        return;
    }
    if (waiting < pool.waiting) pool.coming -= std::min(pool.coming, pool.waiting - waiting);
    pool.waiting = waiting;
    pool.look_at = time + std::max<Duration>(grow_after_ / 4, std::chrono::milliseconds(1));
    if (retry_at_) pool.look_at = std::max(*pool.look_at, *retry_at_);
    if (time - pool.filled_since < grow_after_) return;
    if (turns_over(listener, pool.taken_before)) {
        pool.filled_since = time;
        pool.taken_before = pool.taken;
        return;
    }
    pool.grown = time;
    if (pool.coming > 0 && time - pool.filled_since >= std::max(kStartTime, grow_after_)) pool.coming = 0;
    for (std::size_t i = 0; i < pool.burst && pool.coming < waiting; ++i) {
        if (!start(listener)) return;
        ++pool.coming;
        pool.filled_since = time;
        pool.taken_before = pool.taken;
    }
    if (pool.filled_since == time) pool.burst *= 2;
}

void Workers::exited(pid_t pid, End end) {
    if (drained_) return;
    const auto at = workers_.find(pid);
    if (at == workers_.end()) return resume();  // it was retired, and its place is free now
    if (Pool& pool = pools_[at->second.listener]; pool.coming > 0 && !at->second.reports.any()) --pool.coming;
    forget(at);
    dying_ = end != End::well;
    if (end == End::badly) {
        replaced_ = 0;  // it may have been the successor
        retry_at_ = host_.now() + backoff_.next();
    } else if (end == End::hasty) {
        retry_at_ = host_.now() + kHaste;
    } else {
        backoff_.reset();
        retry_at_.reset();
    }
    refill();
}

void Workers::resume() {
    if (!dying_) retry_at_.reset();
    refill();
}

void Workers::reported(pid_t pid, const Reports& reports) {
    const auto at = workers_.find(pid);
    if (at == workers_.end()) return;
    Worker& worker = at->second;
    const std::size_t listener = worker.listener;
    Pool& pool = pools_[listener];
    pool.spare -= free(worker);
    pool.room -= room(worker);
    pool.taken += reports.clients - worker.reports.clients;
    worker.reports = reports;
    reports_ = true;
    pool.spare += free(worker);
    pool.room += room(worker);
    pool.each = std::max(pool.each, reports.slots);
    if (reports.clients > 0) backoff_.reset();  // they work
    // No worker leaves while no successor can be started.
    if (max_requests_ && !retry_at_ && reports.clients >= static_cast<std::uint64_t>(*max_requests_)) retire(at);
    if ((pool.growing || pool.room < wanted()) && can_start()) host_.when_idle();
    const bool shortage = note_shortage(listener);
    if (note_spare(pool) || shortage) set_timer();
}

bool Workers::note_spare(Pool& pool) {
    bool opened = false;
    const auto note = [&](Window& window, int wanted, Duration length) {
        if (pool.spare < wanted + pool.each) {
            window.end.reset();
        } else if (window.end) {
            window.lowest = std::min(window.lowest, pool.spare);
        } else {
            window = {host_.now() + length, pool.spare};
            opened = true;
        }
    };
    if (by_reports()) note(pool.over_most, most_spare_, std::min(kOverMost, idle_));
    note(pool.over_least, least_, idle_);
    return opened;
}

void Workers::shrink(std::size_t listener) {
    Pool& pool = pools_[listener];
    const Instant time = host_.now();
    if (pool.over_most.end && *pool.over_most.end <= time) {
        pool.over_most.end.reset();
        retire_spare(listener, pool.over_most.lowest - most_spare_);
    }
    if (pool.over_least.end && *pool.over_least.end <= time) {
        pool.over_least.end.reset();
        if (reports_)
            retire_spare(listener, pool.over_least.lowest - least_);
        else if (pool.look_at || time - pool.grown < idle_)
            pool.over_least = {std::max(time, pool.grown) + idle_, pool.spare};
        else  // the right number is unknown: try half of them next
            retire_spare(listener, (pool.spare - least_ + 1) / 2);
    }
    note_spare(pool);
}

void Workers::retire_spare(std::size_t listener, int room_for) {
    if (room_for <= 0 || host_.waiting(listener) > 0) return;
    for (auto at = workers_.begin(); at != workers_.end() && room_for > 0;) {
        const Worker& worker = at->second;
        const bool idle = worker.reports.any() ? worker.reports.idle() : !reports_;
        if (worker.listener != listener || !idle || room(worker) > room_for) {
            ++at;
            continue;
        }
        room_for -= room(worker);
        at = retire(at);
    }
}

Workers::Position Workers::retire(Position at) {
    host_.retire(at->first);
    return forget(at);
}

Workers::Position Workers::forget(Position at) {
    Pool& pool = pools_[at->second.listener];
    --pool.workers;
    pool.spare -= free(at->second);
    pool.room -= room(at->second);
    return workers_.erase(at);
}

/// One after the other, and its successor first if there is a place: if that cannot serve, the old ones stay.
void Workers::replace_old() {
    const Instant time = host_.now();
    if (replace_at_ && *replace_at_ > time) return;
    const auto old = workers_.find(std::exchange(replaced_, 0));
    const bool works = replace_at_.has_value() && !retry_at_;
    replace_at_.reset();
    if (works && old != workers_.end()) retire(old);
    if (!max_age_ || retry_at_) return;
    const auto oldest = std::ranges::min_element(workers_, {}, [](const auto& entry) { return entry.second.started; });
    if (oldest == workers_.end() || oldest->second.started + *max_age_ > time) return;
    if (workers_.size() >= most_) {
        retire(oldest);
    } else {
        replaced_ = oldest->first;
        if (!start(oldest->second.listener)) return;
    }
    replace_at_ = time + kProof;
}

void Workers::woken() {
    timer_.reset();
    if (drained_) return;
    const Instant time = host_.now();
    const bool tries = retry_at_ && *retry_at_ <= time;
    if (tries) {
        retry_at_.reset();
        dying_ = false;
    }
    const std::size_t before = workers_.size();
    fill();  // start the missing ones before any leaves
    // Whether those live is to show before clients who wait bring more: a handler that dies is not tried in numbers.
    for (Pool& pool : pools_)
        if (tries && workers_.size() > before && pool.look_at) {
            pool.filled_since = time;
            pool.taken_before = pool.taken;
        }
    replace_old();
    for (std::size_t listener = 0; listener < pools_.size(); ++listener) {
        const Pool& pool = pools_[listener];
        if (pool.look_at && *pool.look_at <= time) look_at_queue(listener);
        shrink(listener);
        // Read all reports until now first.
        if (pool.shortage && pool.shortage->end <= time) host_.when_idle();
    }
    fill();
    set_timer();
}

void Workers::set_timer() {
    std::optional<Instant> next = retry_at_;
    const auto consider = [&next](const std::optional<Instant>& when) {
        if (when && (!next || *when < *next)) next = when;
    };
    for (const Pool& pool : pools_) {
        consider(pool.look_at);
        consider(pool.over_most.end);
        consider(pool.over_least.end);
        if (pool.shortage && pool.shortage->end > host_.now()) consider(pool.shortage->end);
    }
    consider(replace_at_);
    if (max_age_ && !retry_at_ && !replace_at_)
        for (const auto& [pid, worker] : workers_) consider(worker.started + *max_age_);
    // An early wake-up does no harm.
    if (!next || (timer_ && *timer_ <= *next)) return;
    timer_ = next;
    host_.wake_at(*next);
}

std::size_t Workers::spare() const {
    int sum = 0;
    for (const Pool& pool : pools_) sum += pool.spare;
    return static_cast<std::size_t>(sum);
}

void Workers::pass(sys::Archive& archive) {
    std::vector<std::pair<pid_t, Worker>> workers(workers_.begin(), workers_.end());
    const std::size_t listeners = pools_.size();
    SUPERD_PASS(archive, Workers, reports_, drained_, retry_at_, replace_at_, replaced_, dying_, timer_, backoff_,
                scarce_, workers, pools_);
    workers_ = {workers.begin(), workers.end()};
    const bool fit = pools_.size() == listeners &&
                     std::ranges::all_of(workers, [&](const auto& entry) { return entry.second.listener < listeners; });
    pools_.resize(listeners);
    if (!fit) return archive.refuse("not the listeners of this service");
    // 0.1.0 does not write this down.
    for (Pool& pool : pools_) pool.room = 0;
    for (const auto& [pid, worker] : workers_) pools_[worker.listener].room += room(worker);
}

void Workers::drain() {
    drained_ = true;
    for (auto at = workers_.begin(); at != workers_.end();) at = retire(at);
}

}  // namespace superd::model
