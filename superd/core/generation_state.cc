// SPDX-License-Identifier: MIT
// Children over an upgrade: they remain children of the same process, which must recognise them.
#include <fmt/format.h>

#include <algorithm>

#include "core/generation_launch.h"
#include "core/generation_tls.h"
#include "core/generation_warm.h"
#include "core/hold.h"
#include "core/state.h"

namespace superd::core {

GenerationState Generation::write_down(sys::Descriptors& descriptors) {
    GenerationState state;
    if (ends_) {
        auto ends = ends_->ladder.write_down();
        state.lifetimes = std::move(ends.lifetimes);
        state.kills = std::move(ends.kills);
        state.retired = std::move(ends.retired);
    }
    state.definition = definition_;
    state.listeners = listeners_;
    state.drained = drained_;
    state.unread = unread_;
    state.serial = serial_;
    for (const auto& [pid, child] : children_) {
        ChildState& out = state.children.emplace_back();
        out.pid = pid;
        out.record = child;
        out.place = child.charge.source();
        out.pair = descriptors.keep(child.pair);
        out.connection = descriptors.keep(child.connection);
        if (child.warm) out.warm = child.warm->keep(descriptors);
        if (child.known) out.known = {child.known->local, child.known->variables.block(), child.known->introduction};
        if (child.session) out.session = child.session->write_down(descriptors);
        if (child.relay) out.relay = child.relay->write_down(descriptors);
    }
    state.wake_at = wake_.when();
    if (warmth_) state.warm = warmth_->warm.write_down(descriptors);
    if (hold_) state.hold = hold_->write_down(descriptors);
    if (secured_) state.tls = secured_->tls.write_down(descriptors);
    if (launches_) state.launcher = launches_->launcher.write_down(descriptors);
    sys::Archive memory;
    model_->pass(memory);
    state.model.text = std::move(memory).text();
    return state;
}

Result<void> Generation::take_in(const ChildState& state, sys::Descriptors& descriptors) {
    if (state.pid <= 0 || engine_.children.contains(state.pid))
        return fail(fmt::format("{}: process {} is unknown", definition_.name, state.pid));
    Child child;
    static_cast<ChildRecord&>(child) = state.record;
    if (state.place) child.charge = host_.admission().recharge(*state.place);
    child.pair = descriptors.claim(state.pair);
    child.connection = descriptors.claim(state.connection);
    if (state.warm)
        child.warm = std::make_unique<proc::WarmProcess>(proc::WarmProcess::go_on(*state.warm, descriptors));
    if (state.known)
        child.known = {state.known->local, proc::Environment::of(state.known->variables), state.known->introduction};
    if (state.session && host_.sessions() != nullptr) {
        auto session = Session::go_on(*host_.sessions(), state.pid, *state.session, descriptors);
        if (!session) return std::unexpected(session.error());
        child.session = std::move(*session);
    }
    if (state.relay) {
        auto relay = DatagramRelay::go_on(engine_, host_.replies(), *state.relay, descriptors);
        if (!relay) return std::unexpected(relay.error());
        child.relay = std::move(*relay);
    }
    // superd 0.1.0 did not write down what it had given; a look at the worker needs it to tell clients apart.
    const bool has_socket = child.kind == Kind::owner || child.kind == Kind::worker;
    const net::Listener* const socket = host_.socket(child.listener);
    if (has_socket && socket != nullptr && child.given.where.family() == AF_UNSPEC)
        child.given = {socket->address(), socket->type(), {}};
    if (child.kind == Kind::parked) ++parked_;
    engine_.children[state.pid] = this;
    Child& kept = children_.insert_or_assign(state.pid, std::move(child)).first->second;
    if ((kept.pair || (kept.warm && kept.warm->channel() >= 0)) && !watch_pair(state.pid, kept))
        return fail(fmt::format("{}: process {} cannot be heard", definition_.name, state.pid));
    return {};
}

Result<void> Generation::go_on(const GenerationState& state, sys::Descriptors& descriptors) {
    drained_ = state.drained;
    unread_ = state.unread;
    serial_ = state.serial;
    if (state.hold && hold_)
        if (auto done = hold_->go_on(*state.hold, descriptors); !done) return done;
    if (state.tls && secured_)
        if (auto done = secured_->tls.go_on(*state.tls, descriptors); !done) return done;
    if (state.launcher) {
        launches_ = std::make_unique<Launches>(*this);
        if (auto done = launches_->launcher.go_on(*state.launcher, descriptors); !done) return done;
    }
    for (const ChildState& child : state.children)
        if (auto taken = take_in(child, descriptors); !taken) return taken;
    if (state.warm) {
        warmth_ = std::make_unique<Warmth>(*this);
        if (auto done = warmth_->warm.go_on(*state.warm, descriptors); !done) return done;
    }
    sys::Archive memory(state.model.text);
    model_->pass(memory);
    if (!memory.fault().empty())
        return fail(fmt::format("{}: the memory of its model {} does not fit: {}", definition_.name,
                                conf::name_of(definition_.model), memory.fault()));
    if (children_.empty()) {
        if (state.wake_at) wake_at(*state.wake_at);
        return {};
    }
    ladder().go_on({state.lifetimes, state.kills, state.retired});
    for (const auto& [pid, child] : children_) ladder().go_on_with(pid, child);
    ladder().rest();
    if (state.wake_at) wake_at(*state.wake_at);
    return {};
}

}  // namespace superd::core
