// SPDX-License-Identifier: MIT
#include "core/state.h"

#include <fmt/format.h>

#include "core/state_json.h"

namespace superd {

SUPERD_STATE(Backoff::Place, step, tries)

}  // namespace superd

namespace superd::core {

SUPERD_STATE(Descriptors::Entry, number, device, inode, claimed)
SUPERD_STATE(Deadlines::Entry, when, pid, serial)
SUPERD_STATE(Exits, ok, failed, stopped, killed)
SUPERD_STATE(Stats, accepted, started, failures, spawn_failures, replies, reply_failures, stderr_dropped,
             sockets_mended, exits, handler_time, accept_to_exec)
SUPERD_STATE(ClientState, listener, connection, datagram, peer, local, accepted)
SUPERD_STATE(HeldState, client, source, until)
SUPERD_STATE(RelayState, answers, socket, peer, local, as)
SUPERD_STATE(GivenSockets, where, type, inodes)
SUPERD_STATE(ChildState, pid, kind, serial, started, peer, place, pair, relay, stopping, sent, mute, retired, signalled,
             reports, listener, given, first)
SUPERD_STATE(GenerationState, definition, listeners, drained, unread, serial, children, lifetimes, kills, retired,
             wake_at, model)
SUPERD_STATE(IntakeState, admission, refused, held, stalled, rate_tripped)
SUPERD_STATE(Episode::Memory, count, begun, last)
SUPERD_STATE(ErrorStreamState, read, write, partial, full_at, dropped)
SUPERD_STATE(ServiceState, name, withdrawn, shut, backing_off, in_episode, hold, bad_starts, cannot_start,
             cannot_start_at, episode_tries, last_scarce, throttled_until, retry_at, backoff, throttle, stats, errors,
             reply_failures, intake, current, former)
SUPERD_STATE(Port::Waiting, next, backoff)
SUPERD_STATE(Port::Condition, trouble, told, deaf, renewable, renewals, renewed_at, renew_at)
SUPERD_STATE(PortState, key, where, socket, waiting, condition, owner, index)
SUPERD_STATE(PassedState, name, fd)
SUPERD_STATE(ControlState, socket, made_folder)
SUPERD_STATE(State, proof, binary, folder, nofile_soft, nofile_hard, begun, begun_at, reloads, reloads_refused,
             upgrades, upgrades_refused, descriptors, catalog, passed, ports, services, control, pid_file, names,
             log_lost, log_untold, stored)

std::string write_state(const State& state) {
    return nlohmann::json{{"superd", kStateVersion}, {"state", state}}.dump();
}

Result<State> read_state(std::string_view text) {
    bool whole = true;  // numbers
    const auto look = [&](int, nlohmann::json::parse_event_t, const nlohmann::json& value) {
        whole = whole && !value.is_number_float();
        return true;
    };
    const nlohmann::json all = nlohmann::json::parse(text, look, false);
    const auto version = all.is_object() ? all.find("superd") : all.end();
    if (!all.is_object() || version == all.end() || !version->is_number_integer())
        return fail("this is not the state of a superd");
    if (*version != kStateVersion)
        return fail(fmt::format("the running superd writes state of version {}, superd {} reads version {}",
                                version->dump(), SUPERD_VERSION, kStateVersion));
    if (!whole) return fail("the state cannot be read: a number with a fraction");
    try {
        return all.at("state").get<State>();
    } catch (const std::exception& error) {
        return fail(fmt::format("the state cannot be read: {}", error.what()));
    }
}

}  // namespace superd::core
