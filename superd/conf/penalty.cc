// SPDX-License-Identifier: MIT
// [penalty] for these sockets and these limits.
#include "conf/penalty.h"

#include <fmt/format.h>

#include "base/time.h"
#include "conf/validate.h"

namespace superd::conf {
namespace {

/// Why nobody can be held to account; empty: somebody can.
std::string cannot_know(const Service& service) {
    if (service.socket_type() == SocketType::datagram)
        return "does not apply to datagrams: whoever forges a sender would punish others";
    if (service.handoff == Handoff::listen)
        return "cannot be enforced: under handoff \"listen\" the handler accepts clients itself, and superd never sees "
               "them";
    return "";
}

/// A prefix that is shorter than what one party has.
void warn_of_neighbours(Draft& draft) {
    const Limits& limits = *draft.service.limits;
    const auto warn = [&](const char* name, int bits, int one) {
        const toml::Value* value = draft.get(name);
        if (value == nullptr || bits >= one) return;
        draft.warnings.push_back(
            {value->spot.place(),
             fmt::format("{} {}: neighbours in one /{} share its penalties, so one of them can have all refused", name,
                         bits, bits),
             true});
    };
    warn("limits.source_prefix_ipv4", limits.source_prefix_ipv4, 32);
    warn("limits.source_prefix_ipv6", limits.source_prefix_ipv6, 64);
}

}  // namespace

void resolve_penalty(Draft& draft, const Context& context, Diagnostics& errors) {
    const auto section = draft.sections.find("penalty");
    if (section == draft.sections.end()) return;
    Service& service = draft.service;
    const bool settled = !service.listen.empty() && !draft.is_broken("listen") && !draft.is_broken("model") &&
                         !draft.is_broken("handoff") && draft.get("model") != nullptr;
    if (const std::string why = settled ? cannot_know(service) : ""; !why.empty()) {
        // A default need not suit every service.
        if (section->second.source != context.defaults)
            errors.push_back({section->second.place(), fmt::format("[penalty] {}", why)});
        *service.penalty = Penalty();
        return;
    }
    Penalty& penalty = *service.penalty;
    penalty.on = true;
    warn_of_neighbours(draft);
    if (penalty.max > penalty.threshold || draft.is_broken("penalty.max") || draft.is_broken("penalty.threshold"))
        return;
    const char* const name = draft.get("penalty.max") != nullptr ? "penalty.max" : "penalty.threshold";
    draft.reject(name, draft.get(name)->spot,
                 fmt::format("penalty.max {} is not above penalty.threshold {}: nobody would ever be refused",
                             format_duration(penalty.max), format_duration(penalty.threshold)),
                 errors);
}

}  // namespace superd::conf
