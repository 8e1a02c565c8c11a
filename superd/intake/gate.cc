// SPDX-License-Identifier: MIT
#include "intake/gate.h"

#include <sys/socket.h>

#include <ctime>

#include "admit/times.h"

namespace superd::intake {

void Gate::configure(const conf::Service& definition) {
    const conf::Access& access = *definition.access;
    const bool given = definition.handoff == conf::Handoff::listen;
    const bool datagrams = definition.socket_type() == conf::SocketType::datagram;  // there is no connection to end
    const bool needed = given || datagrams || access.on_deny == conf::Denial::drop;
    rules_.reset();
    if (!needed || (access.times.empty() && !access.restricts_sources())) return;
    rules_ = std::make_unique<Rules>();
    rules_->times = access.times;
    if (access.restricts_sources())
        if (auto program = net::filter::compile(access)) rules_->lists = std::move(*program);
    rules_->open = admit::open_at(rules_->times, std::time(nullptr));
    if (rules_->times.empty()) return;
    if (auto timer = loop_.timer([this] { look_at_clock(); })) {
        rules_->minute = std::move(*timer);
        look_at_clock();
    }
}

std::optional<net::filter::Program> Gate::wanted(const net::Listener& listener) const {
    const int family = listener.address().family();
    if ((family != AF_INET && family != AF_INET6) || !rules_) return std::nullopt;
    return rules_->open ? rules_->lists : net::filter::deny_all();
}

Result<void> Gate::apply(net::Listener& listener) const {
    const int family = listener.address().family();
    if (family != AF_INET && family != AF_INET6) return {};
    return listener.set_filter(wanted(listener));
}

/// Once a minute, to notice a changed clock or a change to summer time.
void Gate::look_at_clock() {
    timespec real{};
    clock_gettime(CLOCK_REALTIME, &real);
    const Duration into_minute =
        std::chrono::seconds(real.tv_sec % 60) + std::chrono::microseconds(real.tv_nsec / 1000);
    (void)rules_->minute.arm(now() + std::chrono::minutes(1) - into_minute);
    const bool open = admit::open_at(rules_->times, real.tv_sec);
    if (open == rules_->open) return;
    rules_->open = open;
    changed_();
}

}  // namespace superd::intake
