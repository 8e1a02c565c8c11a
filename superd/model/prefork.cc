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
        host_.serve_past_parked(std::move(*client));
    }
    fill_up();
}

void PreforkConnection::fill_up() {
    if (drained_ || spares() >= target_) return;
    const Duration pause = host_.pause_for_parking();
    if (host_.now() - last_client_ >= pause) return host_.when_idle();
    if (!refill_at_) refill_at_ = std::max(last_client_ + pause, host_.now());
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
        let_go(target_);
    }
    if (refill_at_ && *refill_at_ <= time) {
        refill_at_.reset();
        fill_up();
    }
    set_timer();
}

void PreforkConnection::refill() {
    if (host_.now() - last_client_ < host_.pause_for_parking())
        return fill_up();  // one has come since it was asked for
    using Outcome = Parking::Outcome;
    Outcome last = Outcome::ready;
    while (!drained_ && !retry_at_ && spares() < target_ && last != Outcome::later) {
        const Parking parking = host_.park();
        last = parking.outcome;
        if (last == Outcome::ready) parked_.push_back(parking.pid);
        if (last == Outcome::coming) ++coming_;
        if (last == Outcome::not_now) retry_at_ = host_.now() + scarce_.next();  // those that are there serve on
    }
    if (!retry_at_ && coming_ == 0) scarce_.reset();
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

void PreforkConnection::parked(pid_t pid) {
    if (coming_ > 0) --coming_;
    scarce_.reset();
    parked_.push_back(pid);
    let_go(drained_ ? 0 : target_);  // which may have sunk meanwhile
}

void PreforkConnection::park_failed() {
    if (coming_ > 0) --coming_;
    if (drained_ || retry_at_) return;
    retry_at_ = host_.now() + scarce_.next();
    set_timer();
}

void PreforkConnection::stale() {
    coming_ = 0;
    let_go(0);
}

void PreforkConnection::let_go(std::size_t most) {
    while (parked_.size() > most) {
        host_.retire(parked_.back());
        parked_.pop_back();
    }
}

void PreforkConnection::drain() {
    drained_ = true;
    stale();
}

}  // namespace superd::model
