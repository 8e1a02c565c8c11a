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
        last_client_ = host_.now();
        bool handed = false;
        while (!handed && !parked_.empty()) {
            const pid_t pid = parked_.front();
            parked_.pop_front();
            handed = host_.hand_over(pid, *client);
        }
        if (handed) continue;
        exhausted_ = last_client_;
        target_ = std::min(std::max<std::size_t>(target_, 1) * 2, most_);
        host_.serve(std::move(*client));
    }
    fill_up();
}

void PreforkConnection::fill_up() {
    if (drained_ || parked_.size() >= target_) return;
    if (host_.now() - last_client_ >= kPause) return host_.when_idle();
    if (!refill_at_) refill_at_ = std::max(last_client_ + kPause, host_.now());
    set_timer();
}

void PreforkConnection::exited(pid_t pid, End end) {
    const auto at = std::ranges::find(parked_, pid);
    if (drained_) return;
    if (at == parked_.end()) {  // it had its client, and its place is free already
        if (!dying_) retry_at_.reset();
        return fill_up();
    }
    parked_.erase(at);
    dying_ = end == End::badly;
    if (dying_) {
        retry_at_ = host_.now() + backoff_.next();
        set_timer();
    } else {
        backoff_.reset();
        host_.when_idle();
    }
}

void PreforkConnection::woken() {
    timer_.reset();
    if (drained_) return;
    const Instant time = host_.now();
    if (retry_at_ && *retry_at_ <= time) {
        retry_at_.reset();
        dying_ = false;
        refill_at_ = time;
    }
    if (target_ > least_ && time >= exhausted_ + idle_) {
        exhausted_ = time;
        target_ = std::max(target_ / 2, least_);
        while (parked_.size() > target_) {
            host_.retire(parked_.back());
            parked_.pop_back();
        }
    }
    if (refill_at_ && *refill_at_ <= time) {
        refill_at_.reset();
        fill_up();
    }
    set_timer();
}

void PreforkConnection::refill() {
    if (host_.now() - last_client_ < kPause) return fill_up();  // one has come since this was asked for
    while (!drained_ && !retry_at_ && parked_.size() < target_) {
        const auto pid = host_.park();
        if (pid)
            parked_.push_back(*pid);
        else  // those that are there serve on
            retry_at_ = host_.now() + scarce_.next();
    }
    if (!retry_at_) scarce_.reset();
    set_timer();
}

void PreforkConnection::set_timer() {
    std::optional<Instant> next = refill_at_;
    if (retry_at_ && (!next || *retry_at_ < *next)) next = retry_at_;
    if (target_ > least_ && (!next || exhausted_ + idle_ < *next)) next = exhausted_ + idle_;
    // An early wake-up does no harm.
    if (drained_ || !next || (timer_ && *timer_ <= *next)) return;
    timer_ = next;
    host_.wake_at(*next);
}

void PreforkConnection::drain() {
    drained_ = true;
    for (const pid_t pid : parked_) host_.retire(pid);
    parked_.clear();
}

}  // namespace superd::model
