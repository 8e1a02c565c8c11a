// SPDX-License-Identifier: MIT
#include "core/warm_level.h"

#include <algorithm>
#include <utility>

namespace superd::core {

void WarmLevel::reached(Value value, Instant time) {
    // Whoever is low because of renewals stays so until a minute without one is over.
    if (often_ && !renewals_.empty() && time < renewals_.back() + kMinute) return;
    in_force_ = value;
    if (value != wanted_) return;
    often_ = false;
    reason_.clear();
    told_.clear();
    retry_at_.reset();
    backoff_.reset();
}

bool WarmLevel::failed(Value value, std::string reason, Instant time) {
    in_force_ = value;
    retry_at_ = time + backoff_.next();
    if (often_ && !renewals_.empty() && time < renewals_.back() + kMinute)
        retry_at_ = std::max(*retry_at_, renewals_.back() + kMinute);
    else
        often_ = false;
    reason_ = std::move(reason);
    if (reason_ == told_) return false;
    told_ = reason_;
    return true;
}

bool WarmLevel::renewed(Instant time) {
    while (!renewals_.empty() && renewals_.front() <= time - kMinute) renewals_.pop_front();
    renewals_.push_back(time);
    if (often_) retry_at_ = time + kMinute;
    if (renewals_.size() <= kMostRenewals) return false;
    if (in_force_ == Value::off) {  // nothing is lower, but it is not tried with each change either
        often_ = true;
        retry_at_ = time + kMinute;
        return false;
    }
    renewals_ = {time};
    in_force_ = below(in_force_);
    often_ = true;
    retry_at_ = time + kMinute;
    reason_ = "it had to be renewed more than six times in a minute";
    told_ = reason_;
    return true;
}

void WarmLevel::changed(Instant time) {
    if (!often_ && is_lowered()) retry_at_ = time;
}

WarmLevel::Memory WarmLevel::memory() const {
    return {in_force_, reason_, told_, {renewals_.begin(), renewals_.end()}, retry_at_, backoff_.place(), often_};
}

void WarmLevel::go_on(const Memory& memory) {
    in_force_ = memory.in_force;
    reason_ = memory.reason;
    told_ = memory.told;
    renewals_.assign(memory.renewals.begin(), memory.renewals.end());
    retry_at_ = memory.retry_at;
    backoff_.go_on(memory.backoff);
    often_ = memory.often;
}

}  // namespace superd::core
