// SPDX-License-Identifier: MIT
#pragma once
// Which value of prefork.warm is in force: the one that was asked for, or a lower one for a while, and why.

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "conf/service.h"

namespace superd::core {

class WarmLevel {
  public:
    using Value = conf::Warm;
    explicit WarmLevel(Value wanted) : wanted_(wanted), in_force_(wanted) {}

    Value wanted() const { return wanted_; }
    Value in_force() const { return in_force_; }
    bool is_lowered() const { return in_force_ != wanted_; }
    /// Why it is lowered.
    const std::string& reason() const { return reason_; }

    /// A handler has parked that can do as much as `value`.
    void reached(Value value, Instant time);
    /// It cannot be had; `value` is served instead. True: that is to be told, since nobody has heard of it yet.
    bool failed(Value value, std::string reason, Instant time);
    /// A template had to be renewed. True: too often, so the level has sunk, which is to be told.
    bool renewed(Instant time);

    /// When what was asked for is tried again. While it is, the lower level stays in force.
    const std::optional<Instant>& retry_at() const { return retry_at_; }
    void trying(std::optional<Instant> again = {}) { retry_at_ = again; }
    /// What was the matter may have changed.
    void changed(Instant time);

    struct Memory {
        Value in_force = Value::off;
        std::string reason, told;
        std::vector<Instant> renewals;  ///< in the last minute
        std::optional<Instant> retry_at;
        Backoff::Place backoff;
        bool often = false;  ///< it is low because of renewals
    };
    Memory memory() const;
    void go_on(const Memory& memory);

    static constexpr std::size_t kMostRenewals = 6;
    static constexpr Duration kMinute = std::chrono::minutes(1);

  private:
    Value wanted_, in_force_;
    std::string reason_, told_;
    std::deque<Instant> renewals_;
    std::optional<Instant> retry_at_;
    Backoff backoff_{std::chrono::seconds(10), std::chrono::hours(1)};
    bool often_ = false;
};

/// The value below.
constexpr conf::Warm below(conf::Warm value) {
    return value == conf::Warm::clone ? conf::Warm::start : conf::Warm::off;
}

}  // namespace superd::core
