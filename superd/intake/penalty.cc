// SPDX-License-Identifier: MIT
// What clients earn their sources, and who is refused for it.
#include <fmt/format.h>

#include <algorithm>

#include "intake/intake.h"

namespace superd::intake {

bool Intake::is_exempt(const sys::Address& peer) const {
    const conf::Penalty& rules = penalty_;
    const auto ip = sys::ip_bytes(peer);
    return rules.on && ip &&
           std::ranges::any_of(rules.exempt, [&](const sys::Prefix& prefix) { return prefix.contains(*ip); });
}

const admit::Debt* Intake::debt_of(const sys::Address& peer, const admit::SourceKey& source) const {
    const conf::Penalty& rules = penalty_;
    if ((!rules.on && everywhere_.size() == 0) || source.kind == admit::SourceKey::Kind::none || is_exempt(peer))
        return nullptr;
    const admit::Debt* const others = everywhere_.find(source, sys::ip_bytes(peer));
    const admit::Debt* const own = rules.on ? admission_.debt(source) : nullptr;
    if (own == nullptr || others == nullptr) return own != nullptr ? own : others;
    const auto worst = [](const admit::Debt& debt) { return std::pair(debt.refused_until, debt.runs_off_at); };
    return worst(*own) < worst(*others) ? others : own;
}

void Intake::penalise(const sys::Address& peer, const admit::SourceKey& source, admit::Offence what) {
    const conf::Penalty& rules = penalty_;
    const Duration amount = admit::cost(rules, what);
    if (amount <= Duration::zero() || source.kind == admit::SourceKey::Kind::none || is_exempt(peer)) return;
    const Instant time = host_.now();
    if (const admit::Debt* owes = debt_of(peer, source); owes != nullptr && owes->is_refused(time)) return;
    ++offences_[static_cast<std::size_t>(what)];
    if (!rules.everywhere) return admission_.penalise(source, amount, rules, time);
    const conf::Limits& limits = admission_.limits();
    const auto ip = sys::ip_bytes(peer);
    // From the address itself: a reload may have changed the prefix since `source` was made.
    everywhere_.add(ip ? admit::key_of(*ip, ip->v6 ? limits.source_prefix_ipv6 : limits.source_prefix_ipv4) : source,
                    amount, rules, time);
}

std::size_t Intake::penalised() const {
    return penalty_->on ? admission_.sources().refused(host_.now()) : 0;
}

void Intake::refuse_for_penalty(model::Client client, const admit::Debt& owes) {
    const std::string more = fmt::format(", for another {}", format_roughly(owes.refused_until - host_.now()));
    let_go(std::move(client), admit::Refusal::penalty, true, more);
}

}  // namespace superd::intake
