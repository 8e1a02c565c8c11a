// SPDX-License-Identifier: MIT
// A running service whose datagrams belong to sessions.
#include <algorithm>

#include "core/service.h"

namespace superd::core {

Service::Peers& Service::peers() {
    if (peers_) return *peers_;
    peers_ = std::make_unique<Peers>(engine_, name_, *this, traffic().replies);
    if (const conf::Service* definition = this->definition()) peers_->sessions.configure(*definition);
    return *peers_;
}

std::optional<model::Client> Service::take_of_sessions(std::size_t listener) {
    const bool may_start = wish_ == Wish::open && !backing_off() && !throttled() && current_->has_sandbox();
    return traffic().intake.take_of_sessions(socket(listener), listener, may_start);
}

bool Service::begin_session(const model::Client& client) {
    const net::Listener* const at = socket(client.listener);
    return at != nullptr && peers().sessions.begin(client, at->address());
}

void Service::scarce(const Error& why) {
    if (has_sessions()) {
        peers().scarce = true;
        if (backing_off()) reconcile();
    }
    back_off(why);
}

void Service::stop_handler(pid_t pid) {
    if (const auto at = engine_.children.find(pid); at != engine_.children.end())
        (void)at->second->end_child(pid, std::nullopt);
}

void Service::end_sessions() {
    if (!peers_) return;
    const bool go_on = has_sessions() && !withdrawn_;
    const auto socket_of = [&](const SessionRecord& session) {
        const auto at = std::ranges::find_if(ports_, [&](Port* port) {
            return port->listener() != nullptr && port->listener()->address() == session.bound;
        });
        return at == ports_.end() ? -1 : (*at)->listener()->fd();
    };
    peers_->sessions.end_where([&](const SessionRecord& session) { return !go_on || socket_of(session) < 0; });
    // After a reload that exchanged the socket, the last descriptor of the old one keeps it bound, and nobody reads it.
    if (go_on) peers_->sessions.answer_from(socket_of);
}

/// What it has not read begins another session, as if it had come after the end; unless it read nothing at all, or was
/// to leave.
void Service::session_over(Session& session) {
    const SessionRecord& record = session.record();
    const bool listed = record.listed;
    Sessions& sessions = peers().sessions;
    sessions.forget(session);
    std::vector<std::string> left = session.finish();
    const auto at = std::ranges::find_if(
        ports_, [&](Port* port) { return port->listener() != nullptr && port->listener()->address() == record.bound; });
    if (!listed || !session.was_read() || at == ports_.end() || !has_sessions())
        return sessions.lost(left.size(), record.peer);
    for (std::string& data : left) {
        model::Client client;
        client.kind = model::Client::Kind::datagram;
        client.listener = (*at)->index();
        client.peer = record.peer;
        client.local = record.local;
        client.datagram = std::move(data);
        client.accepted = now();
        if (!sessions.receive(client)) traffic().intake.arrive(std::move(client));
    }
}

}  // namespace superd::core
