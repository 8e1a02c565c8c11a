// SPDX-License-Identifier: MIT
#include "lib/pace.h"

namespace worker {

void Pace::taken(int datagrams) {
    if (datagrams > 1) {
        timed_ = true;
    } else if (most_ > 1) {
        timed_ = false;
        most_ = 1;
        alone_ = 0;
    } else {
        timed_ = ++alone_ >= kAlone;
    }
    if (!timed_) return;
    alone_ = 0;
    most_ = kBatch;  // until one of these takes long
    since_ = Clock::now();
}

bool Pace::answered() {
    if (!timed_) return false;
    const auto now = Clock::now();
    const bool slow = now - since_ > kShort;
    since_ = now;
    if (slow) most_ = 1;
    return slow;
}

}  // namespace worker
