// SPDX-License-Identifier: MIT
#pragma once
// Refusals of one service, counted and logged; a flood of them becomes one line every ten seconds.

#include <optional>
#include <string>

#include "admit/refusal.h"
#include "base/log.h"
#include "base/time.h"
#include "sys/address.h"

namespace superd::intake {

class RefusalLog {
  public:
    RefusalLog(Log& log, std::string service) : log_(log), service_(std::move(service)) {}
    RefusalLog(const RefusalLog&) = delete;

    void count(admit::Refusal why) { ++counts_[static_cast<std::size_t>(why)]; }
    /// Counts and logs. `more`: what else there is to say.
    void note(admit::Refusal why, const sys::Address& peer, Instant now, std::string_view more = {});
    /// When the open window ends; expire() is due then.
    std::optional<Instant> ends_at() const { return until_; }
    void expire(Instant now);
    const admit::Refusals& counts() const { return counts_; }
    /// For an upgrade: the counts, and the open window, if any.
    struct Memory {
        admit::Refusals counts{}, in_window{};
        std::optional<Instant> until;
    };
    Memory memory() const { return {counts_, in_window_, until_}; }
    void go_on(const Memory& memory);
    /// "denied 2, gone 1"; empty if there are none.
    std::string summary() const;

    static constexpr Duration kWindow = std::chrono::seconds(10);
    static constexpr std::uint64_t kEach = 5;  ///< lines for each reason in a window

  private:
    Log& log_;
    std::string service_;
    admit::Refusals counts_{}, in_window_{};
    std::optional<Instant> until_;  ///< of the open window
};

}  // namespace superd::intake
