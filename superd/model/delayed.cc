// SPDX-License-Identifier: MIT
#include "model/delayed.h"

namespace superd::model {

void Delayed::resume() {
    if (begun_) return;
    begun_ = true;
    if (!host_.others_running()) return;
    inherited_ = true;
    host_.wake_at(host_.now() + delay_);
}

void Delayed::ready(std::size_t listener) {
    if (!wants(listener)) return;
    auto client = host_.take(listener);
    if (!client) return;
    fresh_ = host_.serve(std::move(*client)).value_or(0);
    if (fresh_ != 0) host_.wake_at(host_.now() + delay_);
}

void Delayed::exited(pid_t pid, End) {
    if (pid == fresh_) fresh_ = 0;
    if (!host_.others_running()) inherited_ = false;
}

void Delayed::woken() {
    fresh_ = 0;
    inherited_ = false;
}

}  // namespace superd::model
