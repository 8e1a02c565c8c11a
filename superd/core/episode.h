// SPDX-License-Identifier: MIT
#pragma once
// A fault that occurs again and again, and is reported once: when it begins, when it is over, or both.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include "sys/alarm.h"

namespace superd::core {

class Episode {
  public:
    /// How often it occurred, and the time from the first to the last occurrence.
    using Over = std::function<void(std::uint64_t count, Duration lasted)>;
    /// It is over when nothing has gone wrong for `quiet`, or once it has lasted kLongest.
    Episode(sys::Loop& loop, Duration quiet, Over over)
        : quiet_(quiet), over_(std::move(over)), timer_(loop, [this] { look(); }) {}

    /// It occurred, as often as `times` says. True: for the first time.
    bool note(Instant time, std::uint64_t times = 1) {
        const bool first = memory_.count == 0;
        memory_.count += times;
        if (first) memory_.begun = time;
        memory_.last = time;
        if (!timer_.is_set()) timer_.set(ends());
        return first;
    }
    /// Ends the current episode, if any.
    void end() {
        if (memory_.count == 0) return;
        const Memory ended = std::exchange(memory_, {});
        over_(ended.count, ended.last - ended.begun);
    }

    struct Memory {
        std::uint64_t count = 0;
        Instant begun{}, last{};
    };
    const Memory& memory() const { return memory_; }
    /// Continues an earlier superd's episode.
    void go_on(const Memory& memory) {
        memory_ = memory;
        if (memory_.count > 0) timer_.set(ends());
    }

    static constexpr Duration kLongest = std::chrono::minutes(1);

  private:
    Instant ends() const { return std::min(memory_.last + quiet_, memory_.begun + kLongest); }
    void look() {
        if (memory_.count > 0 && now() < ends()) return timer_.set(ends());
        end();
    }

    const Duration quiet_;
    const Over over_;
    Memory memory_;
    sys::Alarm timer_;
};

}  // namespace superd::core
