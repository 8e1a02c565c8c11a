// SPDX-License-Identifier: MIT
#pragma once
// Deadlines of children that all have the same length, so that they come in the order in which they were set.

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "sys/loop.h"

namespace superd::core {

class Deadlines {
  public:
    /// A child is named by pid and serial, since a pid may come again.
    using Handler = std::function<void(pid_t, std::uint64_t serial)>;
    /// `alive`: is it still there? Who is not is forgotten: twice as many as are alive are kept at most.
    using Alive = std::function<bool(pid_t, std::uint64_t serial)>;
    Deadlines(sys::Loop& loop, Duration length, Alive alive, Handler handler)
        : loop_(loop), length_(length), alive_(std::move(alive)), handler_(std::move(handler)) {}

    void add(pid_t pid, std::uint64_t serial) {
        const bool was_empty = waiting_.empty();
        // Each time that their number may have doubled, so that it costs little: one that lives for long is no shelter
        // for those behind it that have ended.
        if (waiting_.size() >= sweep_at_) {
            std::erase_if(waiting_, [this](const Entry& entry) { return !alive_(entry.pid, entry.serial); });
            sweep_at_ = std::max(kFew, 2 * waiting_.size());
        }
        waiting_.push_back({now() + length_, pid, serial});
        if (!was_empty) return;  // the timer comes, too early perhaps, and is set anew
        arm();
    }

    struct Entry {
        Instant when{};
        pid_t pid = 0;
        std::uint64_t serial = 0;
    };
    /// What is waited for, in order.
    std::vector<Entry> entries() const { return {waiting_.begin(), waiting_.end()}; }
    /// Goes on with another's.
    Result<void> go_on(const std::vector<Entry>& entries) {
        waiting_.assign(entries.begin(), entries.end());
        if (!waiting_.empty()) arm();
        if (!waiting_.empty() && !timer_) return fail("no timer for deadlines");
        return {};
    }

  private:
    void arm() {
        if (!timer_) {
            auto timer = loop_.timer([this] { fire(); });
            if (!timer) return;
            timer_ = std::move(*timer);
        }
        (void)timer_.arm(waiting_.front().when);
    }
    void fire() {
        const Instant time = now();
        while (!waiting_.empty() && waiting_.front().when <= time) {
            const Entry entry = waiting_.front();
            waiting_.pop_front();
            if (alive_(entry.pid, entry.serial)) handler_(entry.pid, entry.serial);
        }
        if (!waiting_.empty()) arm();
    }

    sys::Loop& loop_;
    Duration length_;
    Alive alive_;
    Handler handler_;
    std::deque<Entry> waiting_;
    static constexpr std::size_t kFew = 64;
    std::size_t sweep_at_ = kFew;
    sys::Source timer_;
};

}  // namespace superd::core
