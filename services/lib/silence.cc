// SPDX-License-Identifier: MIT
#include "lib/silence.h"

#include <sys/time.h>
#include <time.h>

#include <algorithm>

namespace worker {
namespace {

// The coarse clock costs next to nothing and is never ahead of the exact one.
std::chrono::nanoseconds coarse_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

void wake_after(std::chrono::nanoseconds time) {
    const auto micro = std::max<std::int64_t>(std::chrono::ceil<std::chrono::microseconds>(time).count(), 1);
    const itimerval once{.it_interval = {}, .it_value = {.tv_sec = micro / 1'000'000, .tv_usec = micro % 1'000'000}};
    setitimer(ITIMER_REAL, &once, nullptr);
}

}  // namespace

void Silence::watch() {
    end();
    if (limit_.count() > 0) wake_after(limit_);
}

void Silence::end() {
    since_.store(coarse_now().count(), std::memory_order_relaxed);
}

bool Silence::is_over() const {
    if (limit_.count() == 0) return false;
    const auto left = limit_ - (coarse_now() - std::chrono::nanoseconds(since_.load(std::memory_order_relaxed)));
    if (left.count() <= 0) return true;
    wake_after(left);
    return false;
}

}  // namespace worker
