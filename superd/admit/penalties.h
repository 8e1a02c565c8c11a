// SPDX-License-Identifier: MIT
#pragma once
// What a source has earned by what its clients did ([penalty]). Pure.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/names.h"
#include "base/time.h"
#include "conf/penalty.h"

namespace superd::admit {

enum class Offence {
    failed,   ///< its handler ended with another status than 0
    crashed,  ///< its handler was ended by a signal
    refused,  ///< by [access] allow or deny, per_source or per_source_rate
    touched,  ///< it came
};
constexpr auto names_of(Offence) {
    return std::array{"failed", "crashed", "refused", "touched"};
}
using superd::name_of;
constexpr std::size_t kOffences = names_of(Offence{}).size();
using Offences = std::array<std::uint64_t, kOffences>;

/// Zero: it costs nothing.
Duration cost(const conf::Penalty& rules, Offence what);

/// It runs off with time, so that two instants say it all and nothing has to count down.
struct Debt {
    Instant runs_off_at{};
    Instant refused_until{};

    bool is_refused(Instant now) const { return refused_until > now; }
    Duration left(Instant now) const { return runs_off_at > now ? runs_off_at - now : Duration::zero(); }
    /// Does not grow while the source is refused.
    void add(Duration amount, const conf::Penalty& rules, Instant now);
};

}  // namespace superd::admit
