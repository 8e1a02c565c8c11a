// SPDX-License-Identifier: MIT
// Children over an upgrade: they stay children of the same process, and it must know them again.
#include <fmt/format.h>

#include <algorithm>

#include "core/generation.h"
#include "core/service.h"
#include "core/state.h"

namespace superd::core {

bool Generation::settled() const {
    return !lingering_ &&
           std::ranges::none_of(children_, [](const auto& entry) { return entry.second.exec_failure.has_value(); });
}

GenerationState Generation::write_down(Descriptors& descriptors) {
    retirement_.let_go();  // a worker that stands still must not do so for longer than its look takes
    GenerationState state;
    state.definition = definition_;
    state.listeners = listeners_;
    state.drained = drained_;
    state.unread = unread_;
    state.serial = serial_;
    for (const auto& [pid, child] : children_) {
        ChildState& out = state.children.emplace_back();
        out.pid = pid;
        out.kind = static_cast<int>(child.kind);
        out.serial = child.serial;
        out.started = child.started;
        out.peer = child.peer;
        out.place = child.charge.source();
        out.pair = descriptors.keep(child.pair);
        if (child.relay) out.relay = child.relay->write_down(descriptors);
        out.stopping = child.stopping;
        out.sent = child.sent;
        out.mute = child.mute;
        out.retired = child.retired;
        out.signalled = child.signalled;
        out.reports = child.reports;
        out.listener = child.listener;
        out.given = child.given;
        out.first = child.first;
    }
    state.lifetimes = lifetimes_.entries();
    state.kills = kills_.entries();
    state.retired = retired_.entries();
    state.wake_at = wake_.when();
    model::Memory memory;
    model_->pass(memory);
    state.model = memory.words();
    return state;
}

Result<void> Generation::take_in(const ChildState& state, Descriptors& descriptors) {
    if (state.kind < 0 || state.kind > static_cast<int>(Kind::parked) || state.pid <= 0 ||
        engine_.children.contains(state.pid))
        return fail(fmt::format("{}: process {} is not known", definition_.name, state.pid));
    Child child;
    child.kind = static_cast<Kind>(state.kind);
    child.serial = state.serial;
    child.started = state.started;
    child.peer = state.peer;
    if (state.place) child.charge = service_.admission().recharge(*state.place);
    child.pair = descriptors.claim(state.pair);
    if (state.relay) {
        auto relay = DatagramRelay::go_on(engine_, service_.replies(), *state.relay, descriptors);
        if (!relay) return std::unexpected(relay.error());
        child.relay = std::move(*relay);
    }
    child.stopping = state.stopping;
    child.sent = state.sent;
    child.mute = state.mute;
    child.retired = state.retired;
    child.signalled = state.signalled;
    child.reports = state.reports;
    child.listener = state.listener;
    child.given = state.given;
    child.first = state.first;
    if (child.kind == Kind::parked) ++parked_;
    engine_.children[state.pid] = this;
    Child& kept = children_.insert_or_assign(state.pid, std::move(child)).first->second;
    if (kept.pair && !watch_pair(state.pid, kept))
        return fail(fmt::format("{}: process {} cannot be heard", definition_.name, state.pid));
    return {};
}

Result<void> Generation::go_on(const GenerationState& state, Descriptors& descriptors) {
    drained_ = state.drained;
    unread_ = state.unread;
    serial_ = state.serial;
    for (const ChildState& child : state.children)
        if (auto taken = take_in(child, descriptors); !taken) return taken;
    model::Memory memory(state.model);
    model_->pass(memory);
    if (!memory.done())
        return fail(fmt::format("{}: what its model {} remembers does not fit", definition_.name,
                                conf::name_of(definition_.model)));
    if (auto set = lifetimes_.go_on(state.lifetimes); !set) return set;
    if (auto set = kills_.go_on(state.kills); !set) return set;
    if (auto set = retired_.go_on(state.retired); !set) return set;
    const auto is_awaited = [&](std::uint64_t serial) {
        const auto has = [&](const std::vector<Deadlines::Entry>& all) {
            return std::ranges::find(all, serial, &Deadlines::Entry::serial) != all.end();
        };
        return has(state.kills) || has(state.retired);
    };
    for (auto& [pid, child] : children_)
        if (child.retired && !is_awaited(child.serial)) press(pid, child);
    retirement_.rest();
    if (state.wake_at) wake_at(*state.wake_at);
    return {};
}

}  // namespace superd::core
