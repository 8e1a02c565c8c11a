// SPDX-License-Identifier: MIT
#pragma once
// Deadlines of children that all have the same length, so that they come in the order in which they were set.

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
    /// A child is named by pid and serial, since a pid may come again.
    using Handler = std::function<void(pid_t, std::uint64_t serial)>;
    /// `alive`: is it still there? Who is not is forgotten: twice as many as are alive are kept at most.
    using Alive = std::function<bool(pid_t, std::uint64_t serial)>;
    Deadlines(sys::Loop& loop, Duration length, Alive alive, Handler handler)
        : length_(length),
          alive_(std::move(alive)),
          handler_(std::move(handler)),
          timer_(loop, [this] { step(now()); }) {}

    void add(pid_t pid, std::uint64_t serial, Instant time) {
        // Each time that their number may have doubled, so that it costs little: one that lives for long is no shelter
        // for those behind it that have ended.
        if (waiting_.size() >= sweep_at_) {
            std::erase_if(waiting_, [this](const Entry& entry) { return !alive_(entry.pid, entry.serial); });
            sweep_at_ = std::max(kFew, 2 * waiting_.size());
        }
        waiting_.push_back({time + length_, pid, serial});
        // One that is set comes, too early perhaps, and is set anew.
        if (!timer_.is_set()) (void)timer_.set(waiting_.front().when);
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
        return waiting_.empty() ? Result<void>() : timer_.set(waiting_.front().when);
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
        if (!waiting_.empty()) (void)timer_.set(waiting_.front().when);
    }

  private:
    Duration length_;
    Alive alive_;
    Handler handler_;
    std::list<Entry> waiting_;  // which takes nothing while it is empty
    static constexpr std::size_t kFew = 64;
    std::size_t sweep_at_ = kFew;
    sys::Alarm timer_;
};

}  // namespace superd::core
