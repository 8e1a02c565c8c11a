// SPDX-License-Identifier: MIT
#include "lib/pace.h"

namespace worker {

void Pace::taken(int datagrams) {
    alone_ = datagrams > 1 ? 0 : alone_ + 1;
    timed_ = most_ > 1 || alone_ % kAlone == 0;
    if (most_ == 1 && timed_) {
        most_ = kBatch;  // until a request takes long
    } else if (alone_ > 1) {
        most_ = 1;
    }
    if (timed_) since_ = Clock::now();
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
