// SPDX-License-Identifier: MIT
// What would become of a client, told by the functions that decide it.
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "admit/times.h"
#include "core/intake.h"
#include "core/service.h"

namespace superd::core {
namespace {

using Step = Explanation::Step;
using Outcome = Explanation::Outcome;

/// Of equals the first.
const Step& decides(const std::vector<Step>& steps) {
    return *std::ranges::max_element(steps, {}, &Step::outcome);
}

bool is_loopback(const sys::IpBytes& ip) {
    static const auto v4 = sys::parse_prefix("127.0.0.0/8");
    static const auto v6 = sys::parse_prefix("::1");
    return v4->contains(ip) || v6->contains(ip);
}

bool is_of_this_machine(const sys::IpBytes& ip) {
    if (is_loopback(ip)) return true;
    ifaddrs* all = nullptr;
    if (getifaddrs(&all) != 0) return true;  // nobody knows
    bool found = false;
    for (const ifaddrs* one = all; one != nullptr && !found; one = one->ifa_next) {
        const sockaddr* address = one->ifa_addr;
        if (address == nullptr || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) continue;
        const socklen_t size = address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        found = sys::ip_bytes(sys::Address(address, size)) == ip;
    }
    freeifaddrs(all);
    return found;
}

std::string text_of(const admit::Verdict& verdict) {
    if (verdict.rule)
        return fmt::format("{} {} decides", verdict.rule->deny ? "deny" : "allow", verdict.rule->prefix.text());
    return verdict.allowed ? "no list names it" : "no list names it, and there is an allow list";
}

std::string next_client(Instant opens) {
    const Duration in = opens - now();
    return in <= Duration::zero() ? "a client may come now"
                                  : fmt::format("the next client may come in {}", format_roughly(in));
}

bool takes(const net::Listener& listener, const sys::Address& client, std::optional<uid_t> uid) {
    const int family = listener.address().family();
    if (uid) return family == AF_UNIX;
    const auto ip = sys::ip_bytes(client);
    if (!ip) return family == client.family();
    // Only this machine reaches a loopback address.
    if (const auto own = sys::ip_bytes(listener.address()); own && is_loopback(*own) && !is_of_this_machine(*ip))
        return false;
    if (family == AF_INET) return !ip->v6;
    if (family != AF_INET6) return false;
    if (ip->v6) return true;
    int v6only = 1;
    socklen_t size = sizeof v6only;
    getsockopt(listener.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &size);
    return v6only == 0 && listener.address().is_wildcard();
}

}  // namespace

void Intake::explain(const sys::Address& client, std::optional<uid_t> uid, bool seen, bool connection,
                     std::vector<Step>& steps) {
    const conf::Limits& limits = admission_.limits();
    const bool queue = limits.on_excess == conf::Excess::queue;
    const auto source = source_of(client, uid);
    const Instant time = now();
    const auto overloaded = [&] {
        const Outcome otherwise = queue ? Outcome::waits : Outcome::refused;
        steps.push_back({"instances", admission_.has_room() ? Outcome::served : otherwise,
                         fmt::format("{} of {}", admission_.in_use(), admission_.instances())});
        if (limits.max_load)
            steps.push_back(
                {"max_load", load_allows() ? Outcome::served : otherwise,
                 fmt::format("the load average is {} {}", load_high_ ? "above" : "not above", *limits.max_load)});
    };
    // In the order of take(): what keeps a listener from being watched, then what is asked of each client.
    if (seen && queue) overloaded();
    if (seen && limits.rate)
        steps.push_back({"rate", admission_.rate_opens_at() <= time ? Outcome::served : Outcome::waits,
                         next_client(admission_.rate_opens_at())});
    const auto against = judgement(client, source, time);
    const auto outcome = [&](admit::Refusal why) {
        if (!against || against->why != why) return Outcome::served;
        return may_wait(*against, connection) && held_.has_place(source) ? Outcome::held : Outcome::refused;
    };
    if (const auto ip = sys::ip_bytes(client))
        steps.push_back({"access", outcome(admit::Refusal::denied), text_of(access_.decide(*ip))});
    if (!times_.empty())
        steps.push_back({"times", outcome(admit::Refusal::time),
                         admit::open_at(times_, std::time(nullptr)) ? "within" : "at this time nobody is let in"});
    if (!seen) return;
    const admit::Source* known = admission_.sources().find(source);
    if (limits.per_source)
        steps.push_back({"per_source", outcome(admit::Refusal::per_source),
                         fmt::format("{} of {}", known != nullptr ? known->in_use : 0, *limits.per_source)});
    if (limits.per_source_rate)
        steps.push_back({"per_source_rate", outcome(admit::Refusal::per_source_rate),
                         next_client(admission_.source_opens_at(source))});
    if (!queue) overloaded();
}

Explanation Service::explain(const sys::Address& client, std::optional<uid_t> uid) {
    Explanation out;
    const State at = state();
    Outcome outcome = Outcome::served;
    if (throttled() && on_excess_ != conf::Excess::queue)
        outcome = Outcome::refused;
    else if (withdrawn_ || shut_)
        outcome = Outcome::refused;
    else if (hold_ != Hold::open || backing_off_ || throttled())
        outcome = Outcome::waits;
    std::string text = at.name;
    if (!at.reason.empty()) text += fmt::format(", {}", at.reason);
    out.steps.push_back({"state", outcome, std::move(text)});

    std::string by;
    for (Port* port : ports_)
        if (net::Listener* listener = port->listener();
            listener != nullptr && !port->trouble() && takes(*listener, client, uid))
            by += (by.empty() ? "" : " or ") + port->uri();
    const bool there = !by.empty();
    std::string missing;
    for (Port* port : ports_)
        if (port->listener() == nullptr || port->trouble()) missing += (missing.empty() ? "" : " and ") + port->uri();
    if (!there)
        by = missing.empty() ? "no address of this service takes such a client" : missing + " cannot be had now";
    out.steps.push_back({"listener", there ? Outcome::served : Outcome::refused, by});
    if (!cannot_start_.empty()) out.steps.push_back({"handler", Outcome::refused, cannot_start_});
    const bool seen = current_ && current_->definition().handoff == conf::Handoff::connection;
    const bool connection = current_ && current_->definition().socket_type() != conf::SocketType::datagram;
    intake_.explain(client, uid, seen, connection, out.steps);
    if (!seen && there)
        out.steps.push_back(
            {"handoff", Outcome::served, "the handlers take clients by themselves; limits on clients do not apply"});
    return out;
}

const char* name_of(Explanation::Outcome outcome) {
    static constexpr const char* kNames[] = {"served", "held", "waits", "refused"};
    return kNames[static_cast<int>(outcome)];
}

Explanation::Outcome Explanation::outcome() const {
    return decides(steps).outcome;
}

std::string Explanation::verdict() const {
    const Step& step = decides(steps);
    if (step.outcome == Outcome::served) return name_of(Outcome::served);
    return fmt::format("{}: {} ({})", name_of(step.outcome), step.what, step.text);
}

}  // namespace superd::core
