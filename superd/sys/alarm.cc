// SPDX-License-Identifier: MIT
#include "sys/alarm.h"

#include <new>

namespace superd::sys {

Result<void> Alarm::set(Instant when) try {
    if (!timer_) {
        auto timer = loop_.timer([this, rings = rings_] {
            when_.reset();
            rings();  // which may destroy this
        });
        if (!timer) return std::unexpected(timer.error());
        timer_ = std::move(*timer);
    }
    when_.reset();
    if (auto armed = timer_.arm(when); !armed) return armed;
    when_ = when;
    return {};
} catch (const std::bad_alloc&) {
    return fail_errno("timer", ENOMEM);
}

Result<void> Alarm::set_by(Instant when) {
    return when_ && *when_ <= when ? Result<void>() : set(when);
}

void Alarm::clear() {
    if (timer_) (void)timer_.enable(false);
    when_.reset();
}

}  // namespace superd::sys
