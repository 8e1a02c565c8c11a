// SPDX-License-Identifier: MIT
#pragma once
// The last five minutes of counts that only grow, in slots of five seconds.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "web/control.h"

namespace status {

class History {
  public:
    static constexpr auto kSlot = std::chrono::seconds(5);
    static constexpr std::size_t kSlots = 60;

    /// What superd has counted until `time`: clients, and handlers that have ended with their seconds. Counts that have
    /// become less have begun anew. Returns what has come since the last time.
    struct Counts {
        double clients = 0, ended = 0, seconds = 0;
    };
    Counts add(web::Instant time, const Counts& counts);

    /// From the oldest slot to the present one; nullopt: nothing was seen then.
    std::vector<std::optional<double>> clients_per_second() const;
    /// The mean of those who ended then; nullopt: nobody.
    std::vector<std::optional<double>> handler_seconds() const;

  private:
    struct Slot {
        float seen = 0;  ///< seconds of it
        float clients = 0, ended = 0, seconds = 0;
    };
    Slot& slot(std::int64_t number);
    template <class Value>
    std::vector<std::optional<double>> all(const Value& value) const;

    std::array<Slot, kSlots> slots_{};
    std::int64_t newest_ = 0;
    std::optional<web::Instant> last_;
    Counts counts_;  ///< at that time
};

}  // namespace status
