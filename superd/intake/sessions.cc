// SPDX-License-Identifier: MIT
// Clients where one handler serves all datagrams of a peer: what is of a session passes by the limits, and who waits
// for a place waits in line, not in the kernel.
#include <algorithm>

#include "intake/intake.h"

namespace superd::intake {
namespace {

/// Datagrams received in one go, so that a flood of them does not keep the loop from others.
constexpr int kMostReceived = 64;

}  // namespace

std::optional<model::Client> Intake::take_of_sessions(const net::Listener* socket, std::size_t listener,
                                                      bool may_start) {
    for (int i = 0; i < kMostReceived; ++i) {
        if (may_start && !closed() && first_is_let_in()) {
            rate_tripped_ = false;
            return leave_line();
        }
        if (socket == nullptr) return std::nullopt;
        auto client = fetch(*socket, listener);
        if (!client) return std::nullopt;
        if (!host_.continues(*client)) arrive(std::move(*client));
    }
    return std::nullopt;
}

/// Several of one source may have been let into the line before the first of them took its place.
bool Intake::first_is_let_in() {
    while (!stalled_.empty()) {
        const model::Client& first = stalled_.front();
        const auto source = source_of(first);
        const auto against = judgement(first.peer, source, debt_of(first.peer, source), false);
        if (!against) return true;
        model::Client client = std::move(stalled_.front());
        stalled_.pop_front();
        host_.cancel_session(client);
        let_go(std::move(client), against->why, against->denied);
    }
    return false;
}

void Intake::drop_waiting(const sys::Address& peer, const sys::Address& local) {
    // Who gives way is the oldest, and so near the front.
    const auto at = std::ranges::find_if(
        stalled_, [&](const model::Client& client) { return client.peer == peer && client.local == local; });
    if (at != stalled_.end()) stalled_.erase(at);
}

}  // namespace superd::intake
