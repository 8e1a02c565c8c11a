// SPDX-License-Identifier: MIT
#include "admit/access.h"

#include <algorithm>
#include <span>

namespace superd::admit {

AccessRules::AccessRules(const conf::Access& access) : order_(conf::access_order(access)) {
    for (std::size_t i = 0; i < order_.rules.size(); ++i) {
        const auto& prefix = order_.rules[i].prefix;
        auto& blocks = prefix.base.v6 ? v6_ : v4_;
        if (blocks.empty() || blocks.back().length != prefix.length) blocks.push_back({prefix.length, i, i});
        blocks.back().end = i + 1;
    }
}

Verdict AccessRules::decide(const sys::IpBytes& address) const {
    for (const auto& block : address.v6 ? v6_ : v4_) {
        const std::span rules(order_.rules.begin() + static_cast<std::ptrdiff_t>(block.begin), block.end - block.begin);
        const auto base = sys::masked(address, block.length);
        const auto found =
            std::ranges::lower_bound(rules, base, {}, [](const conf::AccessRule& rule) { return rule.prefix.base; });
        if (found != rules.end() && found->prefix.base == base) return {!found->deny, *found};
    }
    return {!order_.deny_rest, std::nullopt};
}

}  // namespace superd::admit
