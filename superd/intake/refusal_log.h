// SPDX-License-Identifier: MIT
#pragma once
// Refusals of one service, counted and logged; a flood of them becomes a line every ten seconds.

#include <optional>
#include <string>

#include "admit/refusal.h"
#include "base/log.h"
#include "sys/address.h"
#include "sys/loop.h"

namespace superd::intake {

class RefusalLog {
  public:
    RefusalLog(sys::Loop& loop, Log& log, std::string service) : loop_(loop), log_(log), service_(std::move(service)) {}
    RefusalLog(const RefusalLog&) = delete;

    /// Counts; `log` false: no more than that.
    void note(admit::Refusal why, const sys::Address& peer, bool log);
    const admit::Refusals& counts() const { return counts_; }
    /// Over an upgrade: what is counted, and the window that is open, if one is.
    struct Memory {
        admit::Refusals counts{}, in_window{};
        std::optional<Instant> until;
    };
    Memory memory() const { return {counts_, in_window_, until_}; }
    Result<void> go_on(const Memory& memory);
    /// "denied 2, gone 1"; empty where there were none.
    std::string summary() const;

    static constexpr Duration kWindow = std::chrono::seconds(10);
    static constexpr std::uint64_t kEach = 5;  ///< lines for each reason in a window

  private:
    /// Errors: no timer.
    Result<void> open_window(Instant until);
    void end_window();

    sys::Loop& loop_;
    Log& log_;
    std::string service_;
    admit::Refusals counts_{}, in_window_{};
    std::optional<Instant> until_;  ///< of the window that is open
    sys::Source timer_;
};

}  // namespace superd::intake
