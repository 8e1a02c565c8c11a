// SPDX-License-Identifier: MIT
#pragma once
// Something that goes wrong again and again, and is told of once: when it begins, when it is over, or both.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include "sys/loop.h"

namespace superd::core {

class Episode {
  public:
    /// How often it went wrong, and from the first to the last time.
    using Over = std::function<void(std::uint64_t count, Duration lasted)>;
    /// It is over when nothing has gone wrong for `quiet`, or once it has lasted kLongest.
    Episode(sys::Loop& loop, Duration quiet, Over over) : loop_(loop), quiet_(quiet), over_(std::move(over)) {}

    /// It went wrong. True: for the first time.
    bool note(Instant time) {
        const bool first = memory_.count++ == 0;
        if (first) memory_.begun = time;
        memory_.last = time;
        if (!armed_) arm();
        return first;
    }
    /// Over now, if there is one.
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
    /// Goes on with another's.
    Result<void> go_on(const Memory& memory) {
        memory_ = memory;
        if (memory_.count > 0) arm();
        return memory_.count == 0 || armed_ ? Result<void>{} : fail("no timer for an episode");
    }

    static constexpr Duration kLongest = std::chrono::minutes(1);

  private:
    Instant ends() const { return std::min(memory_.last + quiet_, memory_.begun + kLongest); }
    void arm() {
        if (!timer_) {
            auto timer = loop_.timer([this] {
                armed_ = false;
                if (memory_.count > 0 && now() < ends()) return arm();
                end();
            });
            if (!timer) return;  // the next that goes wrong is the next try
            timer_ = std::move(*timer);
        }
        armed_ = timer_.arm(ends()).has_value();
    }

    sys::Loop& loop_;
    const Duration quiet_;
    const Over over_;
    Memory memory_;
    bool armed_ = false;
    sys::Source timer_;
};

}  // namespace superd::core
