// SPDX-License-Identifier: MIT
#include "model/iterative.h"

namespace superd::model {

void Iterative::ready(std::size_t listener) {
    if (!wants(listener)) return;
    if (handoff_ == conf::Handoff::listen) {
        running_ = host_.start_owner(listener).value_or(0);
    } else if (auto client = host_.take(listener)) {
        running_ = host_.serve(std::move(*client)).value_or(0);
    }
}

void Iterative::exited(pid_t pid, End end) {
    if (pid != running_) return;
    running_ = 0;
    if (handoff_ == conf::Handoff::listen && end == End::badly) {
        throttled_ = true;
        host_.wake_at(host_.now() + backoff_.next());
    } else {
        backoff_.reset();
    }
}

}  // namespace superd::model
