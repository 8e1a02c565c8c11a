// SPDX-License-Identifier: MIT
// A superd-tls over an upgrade: it goes on with its clients, and Service::take_up() has one of this release started for
// those that come.
#include <fmt/format.h>

#include "core/tls.h"
#include "intake/intake.h"

namespace superd::core {

TlsState Tls::write_down(sys::Descriptors& descriptors) const {
    TlsState state;
    state.id = id_;
    state.drained = drained_;
    state.given.assign(given_.begin(), given_.end());
    state.waiting.assign(waiting_.begin(), waiting_.end());
    if (!ready_) return state;
    state.pid = pid_;
    state.channel = descriptors.keep(channel_);
    state.version = proc::kTlsVersion;
    return state;
}

Result<void> Tls::go_on(const TlsState& state, sys::Descriptors& descriptors) {
    id_ = state.id;
    drained_ = state.drained;
    given_.insert(state.given.begin(), state.given.end());
    waiting_.assign(state.waiting.begin(), state.waiting.end());
    if (state.pid <= 0) {
        if (drained_) lose_waiting_soon();
        return {};
    }
    if (engine_.children.contains(state.pid))
        return fail(fmt::format("{}: process {} is unknown", definition_.name, state.pid));
    channel_ = descriptors.claim(state.channel);
    engine_.children[state.pid] = this;
    pid_ = state.pid;
    alive_ = true;
    pids_.push_back(pid_);
    since_ = now();
    if (state.version != proc::kTlsVersion) {
        // It serves those that it has to their ends; who is in a handshake is told, and take_up() has another started.
        channel_.reset();
        pid_ = 0;
        alive_ = false;
        lose_waiting_soon();
        return {};
    }
    ready_ = true;
    if (auto watched = watch(); !watched) return watched;
    want_room(!waiting_.empty());
    return {};
}

}  // namespace superd::core
