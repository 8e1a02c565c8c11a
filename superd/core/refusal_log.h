// SPDX-License-Identifier: MIT
#pragma once
// Refusals of one service, counted and logged; a flood of them becomes a line every ten seconds.

#include <string>

#include "admit/refusal.h"
#include "core/engine.h"
#include "sys/address.h"

namespace superd::core {

class RefusalLog {
  public:
    RefusalLog(Engine& engine, std::string service) : engine_(engine), service_(std::move(service)) {}
    RefusalLog(const RefusalLog&) = delete;

    /// Counts; `log` false: no more than that.
    void note(admit::Refusal why, const sys::Address& peer, bool log);
    const admit::Refusals& counts() const { return counts_; }
    void set_counts(const admit::Refusals& counts) { counts_ = counts; }
    /// "denied 2, gone 1"; empty where there were none.
    std::string summary() const;

    static constexpr Duration kWindow = std::chrono::seconds(10);
    static constexpr std::uint64_t kEach = 5;  ///< lines for each reason in a window

  private:
    void end_window();

    Engine& engine_;
    std::string service_;
    admit::Refusals counts_{}, in_window_{};
    bool open_ = false;
    sys::Source timer_;
};

}  // namespace superd::core
