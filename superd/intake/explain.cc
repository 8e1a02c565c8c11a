// SPDX-License-Identifier: MIT
// What would happen to a client, explained by the functions that decide it.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "admit/times.h"
#include "base/time.h"
#include "intake/intake.h"

namespace superd::intake {
namespace {

using Step = Explanation::Step;
using Outcome = Explanation::Outcome;

/// The first of equals.
const Step& decides(const std::vector<Step>& steps) {
    return *std::ranges::max_element(steps, {}, &Step::outcome);
}

std::string text_of(const admit::Verdict& verdict) {
    if (verdict.rule)
        return fmt::format("{} {} decides", verdict.rule->deny ? "deny" : "allow", verdict.rule->prefix.text());
    return verdict.allowed ? "no list names it" : "no list names it, and there is an allow list";
}

std::string text_of(const admit::Debt& owes, const conf::Penalty& rules, Instant time) {
    const std::string what = format_roughly(owes.left(time));
    if (owes.is_refused(time))
        return fmt::format("{}: refused for {}", what, format_roughly(owes.refused_until - time));
    return rules.on ? fmt::format("{}, refused above {}", what, format_duration(rules.threshold)) : what;
}

std::string next_client(Instant opens, Instant time) {
    const Duration in = opens - time;
    return in <= Duration::zero() ? "a client may come now"
                                  : fmt::format("the next client may come in {}", format_roughly(in));
}

}  // namespace

void Intake::explain(const sys::Address& client, std::optional<uid_t> uid, bool seen, model::Client::Kind kind,
                     std::vector<Step>& steps) const {
    const conf::Limits& limits = admission_.limits();
    const bool queue = queues();
    const auto source = source_of(client, uid);
    const Instant time = host_.now();
    const auto overloaded = [&] {
        const Outcome otherwise = queue ? Outcome::waits : Outcome::refused;
        steps.push_back({"instances", admission_.has_room() ? Outcome::served : otherwise,
                         fmt::format("{} of {}", admission_.in_use(), admission_.instances())});
        if (!limits.max_load) return;
        const bool allows = load_allows();
        steps.push_back({"max_load", allows ? Outcome::served : otherwise,
                         fmt::format("the load average is {} {}", allows ? "not above" : "above", *limits.max_load)});
    };
    // In the order of take(): first what stops superd from watching a listener, then what applies to each client.
    if (seen && queue) overloaded();
    if (seen && limits.rate)
        steps.push_back({"rate", admission_.rate_opens_at() <= time ? Outcome::served : Outcome::waits,
                         next_client(admission_.rate_opens_at(), time)});
    // Coming alone may cost it something, as it will when it comes.
    const admit::Debt* const owed = debt_of(client, source);
    admit::Debt owes = owed != nullptr ? *owed : admit::Debt{};
    const Duration touched = admit::cost(penalty_, admit::Offence::touched);
    if (touched > Duration::zero() && kind == model::Client::Kind::connection && !is_exempt(client))
        owes.add(touched, penalty_, time);
    const auto against = judgement(client, source, &owes, false);
    const auto outcome = [&](admit::Refusal why) {
        if (!against || against->why != why) return Outcome::served;
        return may_wait(*against, kind) && held_.has_place(source) ? Outcome::held : Outcome::refused;
    };
    if (const auto ip = sys::ip_bytes(client))
        steps.push_back({"access", outcome(admit::Refusal::denied), text_of(access_.decide(*ip))});
    if (!times_.empty())
        steps.push_back({"times", outcome(admit::Refusal::time),
                         admit::open_at(times_, host_.time_of_day()) ? "within" : "closed at this time"});
    if (!seen) return;
    if (penalty_->on || owed != nullptr)
        steps.push_back({"penalty", outcome(admit::Refusal::penalty),
                         is_exempt(client) ? "exempt" : text_of(owes, penalty_, time)});
    const admit::Source* known = admission_.sources().find(source);
    if (limits.per_source)
        steps.push_back({"per_source", outcome(admit::Refusal::per_source),
                         fmt::format("{} of {}", known != nullptr ? known->in_use : 0, *limits.per_source)});
    if (limits.per_source_rate)
        steps.push_back({"per_source_rate", outcome(admit::Refusal::per_source_rate),
                         next_client(admission_.source_opens_at(source), time)});
    if (!queue) overloaded();
}

void Intake::explain_entrance(const std::optional<sys::Address>& via, bool on_unix, std::vector<Step>& steps) const {
    if (header_.on() && !via)
        steps.push_back({"proxy_protocol", Outcome::served, "judged as the client that a header names"});
    if (header_.on() && via) {
        const bool trusted = HeaderStage::trusts(header_.rules(), *via, on_unix);
        std::string who = on_unix ? "a peer on a unix socket" : via->host();
        steps.push_back({"proxy_protocol", trusted ? Outcome::served : Outcome::refused,
                         who + (trusted ? " may name clients" : " is not in proxy_protocol.from")});
    }
    if (!has_entrance()) return;
    steps.push_back({"pending", entrance_.opens_at(host_.now()) ? Outcome::waits : Outcome::served,
                     fmt::format("{} of {} are not known yet", entrance_.size(), Entrance::kInAll)});
}

Explanation::Outcome Explanation::outcome() const {
    return decides(steps).outcome;
}

std::string Explanation::verdict() const {
    const Step& step = decides(steps);
    if (step.outcome == Outcome::served) return name_of(Outcome::served);
    return fmt::format("{}: {} ({})", name_of(step.outcome), step.what, step.text);
}

}  // namespace superd::intake
