// SPDX-License-Identifier: MIT
#include "intake/gate.h"

#include <sys/socket.h>

#include <ctime>

#include "admit/times.h"

namespace superd::intake {

void Gate::configure(const conf::Service& definition) {
    const bool given = definition.handoff == conf::Handoff::listen;
    const bool datagrams = definition.socket_type() == conf::SocketType::datagram;  // there is no connection to end
    needed_ = given || datagrams || definition.access.on_deny == conf::Denial::drop;
    times_ = needed_ ? definition.access.times : std::vector<conf::TimeWindow>{};
    lists_.reset();
    if (needed_ && definition.access.restricts_sources())
        if (auto program = net::filter::compile(definition.access)) lists_ = std::move(*program);
    minute_ = {};
    open_ = admit::open_at(times_, std::time(nullptr));
    if (times_.empty()) return;
    if (auto timer = loop_.timer([this] { look_at_clock(); })) {
        minute_ = std::move(*timer);
        look_at_clock();
    }
}

std::optional<net::filter::Program> Gate::wanted(const net::Listener& listener) const {
    const int family = listener.address().family();
    if (family != AF_INET && family != AF_INET6) return std::nullopt;
    return open_ ? lists_ : net::filter::deny_all();
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
    (void)minute_.arm(now() + std::chrono::minutes(1) - into_minute);
    const bool open = admit::open_at(times_, real.tv_sec);
    if (open == open_) return;
    open_ = open;
    changed_();
}

}  // namespace superd::intake
