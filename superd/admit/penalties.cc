// SPDX-License-Identifier: MIT
#include "admit/penalties.h"

#include <algorithm>

namespace superd::admit {

Duration cost(const conf::Penalty& rules, Offence what) {
    if (!rules.on) return Duration::zero();
    switch (what) {
        case Offence::failed:
            return rules.failed;
        case Offence::crashed:
            return rules.crashed;
        case Offence::refused:
            return rules.refused;
        case Offence::touched:
            return rules.touched.value_or(Duration::zero());
    }
    return Duration::zero();
}

void Debt::add(Duration amount, const conf::Penalty& rules, Instant now) {
    if (is_refused(now)) return;
    runs_off_at = std::min(std::max(runs_off_at, now) + amount, now + rules.max);
    if (left(now) > rules.threshold) refused_until = runs_off_at - rules.threshold;
}

}  // namespace superd::admit
