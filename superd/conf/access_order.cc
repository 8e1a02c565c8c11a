// SPDX-License-Identifier: MIT
#include "conf/access_order.h"

#include <algorithm>
#include <tuple>

namespace superd::conf {

AccessOrder access_order(const Access& access) {
    AccessOrder order;
    order.deny_rest = !access.allow.empty();
    order.rules.reserve(access.allow.size() + access.deny.size());
    for (const auto& prefix : access.deny) order.rules.push_back({prefix, true});
    for (const auto& prefix : access.allow) order.rules.push_back({prefix, false});
    std::ranges::sort(order.rules, {}, [](const AccessRule& rule) {
        return std::tuple(rule.prefix.base.v6, -rule.prefix.length, rule.prefix.base, !rule.deny);
    });
    const auto repeated = std::ranges::unique(order.rules, {}, &AccessRule::prefix);
    order.rules.erase(repeated.begin(), repeated.end());
    return order;
}

}  // namespace superd::conf
