// SPDX-License-Identifier: MIT
// A running service's listening sockets keep their settings, whatever their holders do to them and whatever happens to
// the interface or the path that they are bound to.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "core/service.h"

namespace superd::core {
void Service::socket_came_back(const Generation& generation) {
    for (Port* port : ports_) examine(*port);
    // An earlier definition's socket may belong to another service by now.
    if (&generation != current_.get()) engine_.look_at_sockets();
}

void Service::look_at_sockets(bool all) {
    for (Port* port : ports_)
        if (all || (port->listener() != nullptr && port->listener()->given())) examine(*port);
    renew_sockets();
    reconcile();
}

void Service::socket_hung_up(std::size_t index) {
    // Only a holder can have done this.
    ports_[index]->note_given();
    look_at_sockets();
}

void Service::examine(Port& port) {
    net::Listener* listener = port.listener();
    if (listener == nullptr || !current_) return;
    if (listener->given()) restore_blocking(*listener);
    const net::Health health = listener->examine();
    if (health.filter) set_gates();
    if (health.left) {
        if (port.amiss(health))
            tell(port, fmt::format("{}: {}; trying again until it can be corrected", health.wrong, health.left->text));
        return;
    }
    if (port.well() || !health.wrong.empty()) {
        ++traffic().stats.sockets_mended;
        tell(port, fmt::format("{}; corrected", health.wrong.empty() ? "as it should be again" : health.wrong));
    }
}

void Service::tell(Port& port, const std::string& what) {
    engine_.log.write(Level::warning, fmt::format("{}: the socket was not as it should be: {}", port.uri(), what),
                      {{"SERVICE", name_}, {"ADDRESS", port.uri()}});
    engine_.report();
}

void Service::restore_blocking(const net::Listener& listener) {
    const bool given = current_->definition().handoff == conf::Handoff::listen;
    listener.let_rights_in(given);
    if (!given) return listener.set_blocking(false);
    if ((fcntl(listener.fd(), F_GETFL) & O_NONBLOCK) == 0) return;
    // Programs set it by habit, and a blocking accept stops an event loop. So it is neither news nor a fault, and
    // present holders keep it; the next handler that starts without others finds the socket blocking.
    const auto has_holders = [](const auto& generation) { return !generation->holders().empty(); };
    if (!has_holders(current_) && std::ranges::none_of(former_, has_holders)) listener.set_blocking(true);
}

void Service::renew_sockets() {
    for (Port* port : std::vector<Port*>(ports_))
        if (port->listener() != nullptr && port->may_renew()) renew(*port);
}

/// Next to the old socket: no client is refused meanwhile. Both are served until the old one is handed on.
void Service::renew(Port& port) {
    net::Listener& old = *port.listener();
    // So that old and new are the first and the second in the group that shares the port.
    if (old.path().empty()) end_linger_at(old.address());
    auto next = old.renew(gate_.wanted(old));
    if (!next) {
        const conf::Transport transport = port.where().transport;
        const bool alone = old.path().empty() && transport != conf::Transport::tcp && transport != conf::Transport::udp;
        if (next.error().code == EADDRINUSE && alone) return let_go(port);
        if (port.cannot_renew(next.error()))
            tell(port, fmt::format("{}; trying again until it can be corrected", next.error().text));
        return;
    }
    const bool given = current_->definition().handoff == conf::Handoff::listen;
    next->set_blocking(given);
    const std::string why = *port.trouble();
    net::Listener before = *port.install(std::move(*next));
    port.renewed();
    ++traffic().stats.sockets_mended;
    tell(port, fmt::format("{}; a new one has taken its place", why));
    set_gates();
    const bool moves = before.lead_to(*port.listener());
    // The holders serve clients that wait there. A pool on its way out serves nobody any more.
    const bool lingers = given && !moves && !current_->drained() && current_->linger(port.index(), before);
    if (given)
        replace_holders();
    else
        traffic().intake.take_all(before, port.index());
    if (!lingers) before.hand_on_to(port.listener());
    engine_.port_came(port);
}

void Service::lingered(Generation& generation) {
    net::Listener before = generation.end_linger();
    if (current_.get() == &generation) replace_holders();  // there was no memory for this before
    generation.drain();
    generation.stop_holders();
    const auto next = std::ranges::find_if(ports_, [&](Port* port) {
        return port->listener() != nullptr && port->listener()->address() == before.address();
    });
    before.hand_on_to(next != ports_.end() ? (*next)->listener() : nullptr);
    if (current_) current_->resume();
    reconcile();
    tidy();
}

void Service::end_linger_at(const sys::Address& address) {
    const auto lingers = [&](const auto& generation) { return generation->lingers_at(address); };
    if (current_ && lingers(current_)) lingered(*current_);
    for (auto at = former_.begin(); (at = std::ranges::find_if(former_, lingers)) != former_.end();) lingered(**at);
}

/// The kernel does not let two sockets have such an address, so the old one goes first, from all holders.
void Service::let_go(Port& port) {
    tell(port, fmt::format("{}; it is closed, and its address is bound again", *port.trouble()));
    const bool given = current_->definition().handoff == conf::Handoff::listen;
    if (!given) traffic().intake.take_all(*port.listener(), port.index());
    port.close();
    if (given) replace_holders();
    port.wait({}, [where = port.where(), options = current_->definition().socket] {
        return net::Listener::open(where, options);
    });
    ++traffic().stats.sockets_mended;
    engine_.port_came(port);
}

void Service::add_remains(const conf::Listen& where, Remains& remains) const {
    const auto is_there = [&](const conf::Listen& other) {
        return other.transport == where.transport && other.port == where.port && other.path == where.path;
    };
    std::vector<int> answering;
    if (current_) current_->add_answering(answering);  // which it may have begun on another socket
    for (const auto& generation : former_) {
        generation->add_answering(answering);
        if (std::ranges::none_of(generation->definition().listen, is_there)) continue;
        for (const pid_t pid : generation->holders()) remains.holders.emplace_back(name_, pid);
    }
    // hand_on_to() has connected them; what is listened on has no peer.
    for (const int socket : answering)
        if (where.transport == conf::Transport::udp && sys::Address::of_socket(socket).port() == where.port &&
            sys::Address::of_peer(socket).family() != AF_UNSPEC)
            remains.deaf.push_back(socket);
}

/// Holders of the old socket leave once others have the new one.
void Service::replace_holders() {
    enforce(current_->definition(), std::vector<Port*>(ports_));
    for (const auto& generation : former_) generation->stop_holders();
}

}  // namespace superd::core
