// SPDX-License-Identifier: MIT
// Clients that are here and have no handler yet, over an upgrade.
#include "intake/intake.h"
#include "intake/state.h"
#include "sys/descriptors.h"

namespace superd::intake {

ClientState state_of(const model::Client& client, sys::Descriptors& descriptors) {
    return {client.listener,
            descriptors.keep(client.connection),
            client.datagram,
            client.peer,
            client.local,
            client.accepted,
            client.variables.block(),
            client.introduction};
}

model::Client client_of(const ClientState& state, sys::Descriptors& descriptors) {
    using Kind = model::Client::Kind;
    model::Client client;
    client.kind = state.connection < 0 ? Kind::datagram : Kind::connection;
    client.listener = state.listener;
    client.connection = descriptors.claim(state.connection);
    client.datagram = state.datagram;
    client.peer = state.peer;
    client.local = state.local;
    client.accepted = state.accepted;
    client.variables = proc::Environment::of(state.variables);
    client.introduction = state.introduction;
    return client;
}

std::vector<HeldState> Held::write_down(sys::Descriptors& descriptors) const {
    std::vector<HeldState> all;
    for (const Entry& entry : clients_) all.push_back({state_of(entry.client, descriptors), entry.source, entry.until});
    return all;
}

Result<void> Held::go_on(const std::vector<HeldState>& state, sys::Descriptors& descriptors) {
    for (const HeldState& held : state) {
        model::Client client = client_of(held.client, descriptors);
        if (!client.connection) return fail("the connection of a held client is missing");
        if (!add(client, held.source, held.until)) return fail("there is no place for a held client");
    }
    return {};
}

IntakeState Intake::write_down(sys::Descriptors& descriptors) const {
    IntakeState state;
    state.admission = admission_.memory();
    state.refused = refusals_.memory();
    state.held = held_.write_down(descriptors);
    for (const model::Client& client : stalled_) state.stalled.push_back(state_of(client, descriptors));
    state.rate_tripped = rate_tripped_;
    state.offences = offences_;
    state.entrants = entrance_.write_down(descriptors);
    state.next_ticket = entrance_.next();
    for (const model::Client& client : introduced_) state.introduced.push_back(state_of(client, descriptors));
    return state;
}

Result<void> Intake::go_on(const IntakeState& state, sys::Descriptors& descriptors) {
    admission_.remember(state.admission);
    rate_tripped_ = state.rate_tripped;
    offences_ = state.offences;
    for (const ClientState& client : state.stalled) stalled_.push_back(client_of(client, descriptors));
    if (auto done = held_.go_on(state.held, descriptors); !done) return done;
    for (const ClientState& client : state.introduced) introduced_.push_back(client_of(client, descriptors));
    if (auto done = entrance_.go_on(state.entrants, state.next_ticket, descriptors); !done) return done;
    refusals_.go_on(state.refused);
    wake_for_all();
    return {};
}

}  // namespace superd::intake
