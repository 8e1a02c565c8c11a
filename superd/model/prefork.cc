// SPDX-License-Identifier: MIT
#include "model/prefork.h"

#include <algorithm>

namespace superd::model {

PreforkConnection::PreforkConnection(Host& host, const conf::Prefork& prefork)
    : host_(host),
      least_(static_cast<std::size_t>(prefork.min_spare)),
      most_(static_cast<std::size_t>(prefork.max_spare)),
      target_(least_),
      idle_(prefork.max_idle.value_or(kDefaultIdle)) {}

void PreforkConnection::ready(std::size_t listener) {
    for (int i = 0; i < kBatch; ++i) {
        auto client = host_.take(listener);
        if (!client) break;
        bool handed = false;
        while (!handed && !parked_.empty()) {
            const pid_t pid = parked_.front();
            parked_.pop_front();
            handed = host_.hand_over(pid, *client);
        }
        if (handed) continue;
        exhausted_ = host_.now();
        if (target_ < most_) {
            target_ = std::min(std::max<std::size_t>(target_, 1) * 2, most_);
            if (!throttled_) host_.wake_at(exhausted_ + idle_);
        }
        host_.serve(std::move(*client));
    }
    if (parked_.size() < target_ && !throttled_) host_.when_idle();
}

void PreforkConnection::exited(pid_t pid, bool early) {
    const auto at = std::ranges::find(parked_, pid);
    if (drained_) return;
    if (at == parked_.end()) {  // it had its client, and has made room
        if (parked_.size() >= target_ || dying_) return;
        throttled_ = false;
        host_.when_idle();
        return;
    }
    parked_.erase(at);
    dying_ = early;
    if (early) {
        throttled_ = true;
        host_.wake_at(host_.now() + backoff_.next());
    } else {
        backoff_.reset();
        host_.when_idle();
    }
}

void PreforkConnection::woken() {
    if (drained_) return;
    if (throttled_) {
        throttled_ = dying_ = false;
        refill();
        if (!throttled_ && target_ > least_) host_.wake_at(host_.now() + idle_);
        return;
    }
    if (host_.now() < exhausted_ + idle_) {
        host_.wake_at(exhausted_ + idle_);
        return;
    }
    target_ = std::max(target_ / 2, least_);
    while (parked_.size() > target_) {
        host_.retire(parked_.back());
        parked_.pop_back();
    }
    if (target_ > least_) host_.wake_at(host_.now() + idle_);
}

void PreforkConnection::refill() {
    while (!drained_ && !throttled_ && parked_.size() < target_) {
        const auto pid = host_.park();
        if (!pid) {  // those that are there serve on
            throttled_ = true;
            host_.wake_at(host_.now() + scarce_.next());
            return;
        }
        parked_.push_back(*pid);
    }
    if (!throttled_) scarce_.reset();
}

void PreforkConnection::drain() {
    drained_ = true;
    for (const pid_t pid : parked_) host_.retire(pid);
    parked_.clear();
}

PreforkListen::PreforkListen(Host& host, const conf::Service& definition)
    : host_(host),
      wanted_(static_cast<std::size_t>(std::max(definition.prefork.min_spare, 1))),
      most_(static_cast<std::size_t>(definition.limits.instances)),
      max_age_(definition.prefork.max_age),
      count_(host.listeners()) {}

void PreforkListen::refill() {
    // Round by round, so that each listener has a worker before one has two.
    bool failed = false;
    for (std::size_t each = 1; each <= wanted_; ++each) {
        for (std::size_t listener = 0; listener < count_.size(); ++listener) {
            if (drained_ || throttled_ || count_[listener] >= each || workers_.size() >= most_) continue;
            const auto pid = host_.start_worker(listener);
            if (!pid) {
                failed = true;
                continue;
            }
            workers_[*pid] = {listener, 0, host_.now()};
            ++count_[listener];
        }
    }
    if (failed) {
        throttled_ = true;
        host_.wake_at(host_.now() + scarce_.next());
    } else if (!throttled_) {
        scarce_.reset();
    }
    wake_for_age();
}

void PreforkListen::exited(pid_t pid, bool early) {
    if (drained_) return;
    const auto at = workers_.find(pid);
    if (at == workers_.end()) {  // it was retired, and its place is free now
        if (dying_) return;
        throttled_ = false;
        return refill();
    }
    if (at->second.requests > 0) --busy_;
    --count_[at->second.listener];
    workers_.erase(at);
    dying_ = early;
    if (early) {
        throttled_ = true;
        host_.wake_at(host_.now() + backoff_.next());
    } else {
        backoff_.reset();
        refill();
    }
}

void PreforkListen::reported(pid_t pid, bool busy) {
    const auto at = workers_.find(pid);
    if (at == workers_.end()) return;
    int& requests = at->second.requests;
    if (busy && requests++ == 0) ++busy_;
    if (!busy && requests > 0 && --requests == 0) --busy_;
}

void PreforkListen::woken() {
    throttled_ = dying_ = false;
    if (max_age_)
        for (auto at = workers_.begin(); at != workers_.end();) {
            if (at->second.started + *max_age_ > host_.now()) {
                ++at;
                continue;
            }
            // It finishes what it has; its successor starts now, not when it has gone.
            host_.retire(at->first);
            if (at->second.requests > 0) --busy_;
            --count_[at->second.listener];
            at = workers_.erase(at);
        }
    refill();
}

void PreforkListen::wake_for_age() {
    if (!max_age_ || throttled_ || drained_ || workers_.empty()) return;
    const auto oldest = std::ranges::min_element(workers_, {}, [](const auto& entry) { return entry.second.started; });
    host_.wake_at(oldest->second.started + *max_age_);
}

void PreforkListen::drain() {
    drained_ = true;
    for (const auto& [pid, worker] : workers_) host_.retire(pid);
    workers_.clear();
    busy_ = 0;
}

}  // namespace superd::model
