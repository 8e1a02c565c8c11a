// SPDX-License-Identifier: MIT
#include "sys/alarm.h"

#include <new>
#include <utility>

namespace superd::sys {

Alarm::~Alarm() {
    if (loop_.shared_->rings == this) loop_.shared_->rings = nullptr;
    unlink();
}

void Alarm::set(Instant when) {
    unlink();
    when_ = when;
    if (!arm()) link();
}

void Alarm::set_by(Instant when) {
    if (when < when_) set(when);
}

void Alarm::clear() {
    unlink();
    if (is_set() && timer_) (void)timer_.enable(false);
    when_ = kNever;
}

/// False: there is no memory for its own timer.
bool Alarm::arm() try {
    if (!timer_) {
        auto timer = loop_.timer([this] { ring(); });
        if (!timer) return false;
        timer_ = std::move(*timer);
    }
    return timer_.arm(when_).has_value();
} catch (const std::bad_alloc&) {
    return false;
}

void Alarm::ring() {
    when_ = kNever;
    Alarm*& here = loop_.shared_->rings;
    here = this;
    Loop::Handler rings = std::move(rings_);  // it may destroy this, and with it what is a member
    const bool done = loop_.attempt(rings);
    if (std::exchange(here, nullptr) == nullptr) return;
    rings_ = std::move(rings);
    if (!done && !is_set()) set(now() + Loop::kTryAgain);
}

/// Those that are not due yet get a timer of their own, if there is memory by now.
void Alarm::ring_shared(Loop::Shared& shared) {
    const Instant time = now();
    Alarm* all = std::exchange(shared.first, nullptr);
    if (all != nullptr) all->self_ = &all;
    while (all != nullptr) {
        Alarm& one = *all;
        one.unlink();
        if (one.when_ <= time)
            one.ring();
        else if (!one.arm())
            one.link();
    }
}

void Alarm::link() {
    Loop::Shared& shared = *loop_.shared_;
    if (shared.first == nullptr) (void)shared.timer.arm(now() + Loop::kTryAgain);
    next_ = shared.first;
    if (next_ != nullptr) next_->self_ = &next_;
    shared.first = this;
    self_ = &shared.first;
}

void Alarm::unlink() {
    if (self_ == nullptr) return;
    *self_ = next_;
    if (next_ != nullptr) next_->self_ = self_;
    next_ = nullptr;
    self_ = nullptr;
}

}  // namespace superd::sys
