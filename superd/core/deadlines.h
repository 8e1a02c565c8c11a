// SPDX-License-Identifier: MIT
#pragma once
// Deadlines of children that all have the same length, so that they expire in the order in which they were set.

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <vector>

#include "sys/alarm.h"

namespace superd::core {

class Deadlines {
  public:
    /// A child is named by pid and serial, since a pid may be used again.
    using Handler = std::function<void(pid_t, std::uint64_t serial)>;
    /// `alive`: does it still exist? Dead children are forgotten: at most twice as many as are alive are kept.
    using Alive = std::function<bool(pid_t, std::uint64_t serial)>;
    Deadlines(sys::Loop& loop, Duration length, Alive alive, Handler handler)
        : length_(length),
          alive_(std::move(alive)),
          handler_(std::move(handler)),
          timer_(loop, [this] { step(now()); }) {}

    void add(pid_t pid, std::uint64_t serial, Instant time) {
        // Each time their number may have doubled, so that this costs little: a long-lived child must not shelter dead
        // ones behind it.
        if (waiting_.size() >= sweep_at_) {
            std::erase_if(waiting_, [this](const Entry& entry) { return !alive_(entry.pid, entry.serial); });
            sweep_at_ = std::max(kFew, 2 * waiting_.size());
        }
        waiting_.push_back({time + length_, pid, serial});
        // A set timer fires, perhaps too early, and is then set again.
        if (!timer_.is_set()) timer_.set(waiting_.front().when);
    }

    struct Entry {
        Instant when{};
        pid_t pid = 0;
        std::uint64_t serial = 0;
    };
    /// The pending deadlines, in order.
    std::vector<Entry> entries() const { return {waiting_.begin(), waiting_.end()}; }
    /// Continues with the entries of an earlier superd.
    void go_on(const std::vector<Entry>& entries) {
        waiting_.assign(entries.begin(), entries.end());
        if (!waiting_.empty()) timer_.set(waiting_.front().when);
    }

    bool awaits(std::uint64_t serial) const {
        return std::ranges::find(waiting_, serial, &Entry::serial) != waiting_.end();
    }
    std::optional<Instant> due() const {
        return waiting_.empty() ? std::nullopt : std::optional(waiting_.front().when);
    }
    /// What is due by `time`; the timer calls it.
    void step(Instant time) {
        while (!waiting_.empty() && waiting_.front().when <= time) {
            const Entry entry = waiting_.front();
            waiting_.pop_front();
            if (alive_(entry.pid, entry.serial)) handler_(entry.pid, entry.serial);
        }
        if (!waiting_.empty()) timer_.set(waiting_.front().when);
    }

  private:
    Duration length_;
    Alive alive_;
    Handler handler_;
    std::list<Entry> waiting_;  // takes no memory while it is empty
    static constexpr std::size_t kFew = 64;
    std::size_t sweep_at_ = kFew;
    sys::Alarm timer_;
};

}  // namespace superd::core
