// SPDX-License-Identifier: MIT
// What would happen to a client of a running service, explained by what decides it.
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/service.h"

namespace superd::core {
namespace {

using Outcome = intake::Explanation::Outcome;

bool is_loopback(const sys::IpBytes& ip) {
    static const auto v4 = sys::parse_prefix("127.0.0.0/8");
    static const auto v6 = sys::parse_prefix("::1");
    return v4->contains(ip) || v6->contains(ip);
}

bool is_of_this_machine(const sys::IpBytes& ip) {
    if (is_loopback(ip)) return true;
    ifaddrs* all = nullptr;
    if (getifaddrs(&all) != 0) return true;  // unknown
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

/// The host of an intake that takes nobody: it answers, and does nothing.
class Onlooker final : public intake::Host {
  public:
    explicit Onlooker(const intake::Host& service) : service_(service) {}
    Result<void> can_accept() override { return {}; }
    void accepted() override {}
    void changed() override {}
    void scarce(const Error&) override {}
    void wake_at(Instant) override {}
    Instant now() const override { return service_.now(); }
    std::time_t time_of_day() const override { return service_.time_of_day(); }
    double load_average() const override { return service_.load_average(); }

  private:
    const intake::Host& service_;
};

}  // namespace

intake::Explanation::Step Service::session_step() const {
    const std::size_t singles = peers_ ? peers_->sessions.singles() : 0;
    const std::size_t size = peers_ ? peers_->sessions.size() : 0;
    const auto limit = static_cast<std::size_t>(current_->definition().limits->instances);
    std::string text = fmt::format("{} of {} peers have one; they go on, whatever is said here", size, limit);
    if (size < limit) return {"session", Outcome::served, std::move(text)};
    const bool gives_way = size == limit && singles > 0;
    text += gives_way ? fmt::format("; the oldest of the {} that have sent one datagram only gives way", singles)
                      : "; none gives way";
    return {"session", gives_way ? Outcome::waits : Outcome::refused, std::move(text)};
}

intake::Explanation Service::explain(const Who& client, const std::optional<Who>& via) const {
    intake::Explanation out;
    const Standing at = standing();
    Outcome outcome = Outcome::served;
    if (throttled() && on_excess_ != conf::Excess::queue)
        outcome = Outcome::refused;
    else if (withdrawn_ || shut_)
        outcome = Outcome::refused;
    else if (wish_ != Wish::open || backing_off() || throttled())
        outcome = Outcome::waits;
    std::string text = name_of(at.status);
    if (!at.reason.empty()) text += fmt::format(", {}", at.reason);
    out.steps.push_back({"state", outcome, std::move(text)});

    // A client that is named may be anywhere; it is its proxy that comes.
    const auto comes_to = [&](const net::Listener& listener) {
        if (via) return takes(listener, via->address, via->uid);
        return (proxy_protocol().on && sys::ip_bytes(client.address)) || takes(listener, client.address, client.uid);
    };
    std::string by;
    for (Port* port : ports_)
        if (net::Listener* listener = port->listener(); listener != nullptr && !port->trouble() && comes_to(*listener))
            by += (by.empty() ? "" : " or ") + port->uri();
    const bool there = !by.empty();
    std::string missing;
    for (Port* port : ports_)
        if (port->listener() == nullptr || port->trouble()) missing += (missing.empty() ? "" : " and ") + port->uri();
    if (!there)
        by =
            missing.empty() ? "no address of this service takes such a client" : missing + " unavailable at the moment";
    out.steps.push_back({"listener", there ? Outcome::served : Outcome::refused, by});
    if (traffic_ && !traffic_->cannot_start.empty())
        out.steps.push_back({"handler", Outcome::refused, traffic_->cannot_start});
    const bool seen = current_ && current_->definition().handoff == conf::Handoff::connection;
    using Kind = model::Client::Kind;
    const bool datagrams = !current_ || current_->definition().socket_type() == conf::SocketType::datagram;
    const Kind kind = datagrams ? Kind::datagram : Kind::connection;
    const auto ask = [&](const intake::Intake& intake) {
        if (seen) intake.explain_entrance(via ? std::optional(via->address) : std::nullopt, via && via->uid, out.steps);
        intake.explain(client.address, client.uid, seen, kind, out.steps);
    };
    if (traffic_) {
        ask(traffic_->intake);
    } else if (const conf::Service* definition = this->definition()) {
        Onlooker onlooker(*this);
        intake::Intake as_it_would_be(engine_.loop, engine_.log, name_, onlooker, engine_.everywhere);
        as_it_would_be.configure(*definition);
        ask(as_it_would_be);
    }
    if (has_sessions()) out.steps.push_back(session_step());
    if (!seen && there)
        out.steps.push_back(
            {"handoff", Outcome::served, "the handlers accept clients themselves; limits on clients do not apply"});
    return out;
}

}  // namespace superd::core
