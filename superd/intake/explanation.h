// SPDX-License-Identifier: MIT
#pragma once
// What superd says about a client that might come, as plain values.

#include <array>
#include <string>
#include <vector>

#include "base/names.h"

namespace superd::intake {

/// What would happen to a client.
struct Explanation {
    enum class Outcome {
        served,
        held,   ///< accepted, until its source's turn
        waits,  ///< in the backlog
        refused,
    };  // from good to bad
    friend constexpr auto names_of(Outcome) { return std::array{"served", "held", "waits", "refused"}; }
    struct Step {
        const char* what = "";  ///< state, listener, instances, max_load, rate, access, times, per_source, …
        Outcome outcome = Outcome::served;  ///< served: it passes
        std::string text;
    };
    std::vector<Step>
        steps;  ///< everything that was looked at, at least one, in superd's order; the first of the worst decides
    /// The outcome of the step that decides.
    Outcome outcome() const;
    /// "refused: per_source (4 of 4)"
    std::string verdict() const;
};
using superd::name_of;

}  // namespace superd::intake
