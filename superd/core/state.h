// SPDX-License-Identifier: MIT
#pragma once
// All that a superd knows which another has to know to go on in its place, as plain values: the upgrade's state.
// Descriptors are numbers here; `descriptors` says what each leads to.

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admit/admission.h"
#include "base/backoff.h"
#include "conf/catalog.h"
#include "core/deadlines.h"
#include "core/descriptors.h"
#include "core/episode.h"
#include "core/given.h"
#include "core/port.h"
#include "core/stats.h"
#include "intake/refusal_log.h"
#include "model/model.h"
#include "net/listener.h"

namespace superd::core {

/// Of a client that is here and has no handler.
struct ClientState {
    std::size_t listener = 0;
    int connection = -1;
    std::string datagram;
    sys::Address peer, local;
    Instant accepted{};
};

struct HeldState {
    ClientState client;
    admit::SourceKey source;
    Instant until{};
};

struct RelayState {
    int answers = -1, socket = -1;
    sys::Address peer, local;
    std::optional<std::pair<uid_t, gid_t>> as;
};

struct ChildState {
    pid_t pid = 0;
    int kind = 0;
    std::uint64_t serial = 0;
    Instant started{};
    sys::Address peer;
    std::optional<admit::SourceKey> place;  ///< that it takes in the counts
    int pair = -1;
    std::optional<RelayState> relay;
    bool stopping = false;
    int sent = 0;
    bool mute = false, retired = false, signalled = false;
    model::Reports reports;
    std::size_t listener = 0;
    GivenSockets given;
    std::string first;
};

struct GenerationState {
    conf::Service definition;
    std::size_t listeners = 0;
    bool drained = false;
    int unread = 0;
    std::uint64_t serial = 0;
    std::vector<ChildState> children;
    std::vector<Deadlines::Entry> lifetimes, kills, retired;
    std::optional<Instant> wake_at;
    std::vector<std::int64_t> model;
};

struct IntakeState {
    admit::Admission::Memory admission;
    intake::RefusalLog::Memory refused;
    std::vector<HeldState> held;
    std::vector<ClientState> stalled;
    bool rate_tripped = false;
};

struct ErrorStreamState {
    int read = -1, write = -1;
    std::string partial;
    Instant full_at{};
    Episode::Memory dropped;
};

struct ServiceState {
    std::string name;
    bool withdrawn = false, shut = false, backing_off = false, in_episode = false;
    int hold = 0;
    int bad_starts = 0;
    std::string cannot_start;
    Instant cannot_start_at{};
    unsigned episode_tries = 0;
    Instant last_scarce{}, throttled_until{}, retry_at{};
    Backoff::Place backoff, throttle;
    Stats stats;
    ErrorStreamState errors;
    Episode::Memory reply_failures;
    IntakeState intake;
    std::optional<GenerationState> current;
    std::vector<GenerationState> former;
};

struct PortState {
    std::string key;
    conf::Listen where;
    std::optional<net::Listener::Kept> socket;  ///< nullopt: waited for
    Port::Waiting waiting;
    Port::Condition condition;
    std::string owner;
    std::size_t index = 0;  ///< among its owner's
};

struct PassedState {
    std::string name;
    int fd = -1;
};

struct ControlState {
    net::Listener::Kept socket;
    std::string made_folder;
};

struct State {
    std::string proof;                               ///< what only a reader of this state can repeat
    std::string binary;                              ///< to be executed at an upgrade
    std::string folder;                              ///< that paths in the arguments are relative to
    std::uint64_t nofile_soft = 0, nofile_hard = 0;  ///< that superd was started with
    Instant begun{};
    std::int64_t begun_at = 0;
    std::uint64_t reloads = 0, reloads_refused = 0, upgrades = 0, upgrades_refused = 0;
    std::vector<Descriptors::Entry> descriptors;
    conf::Catalog catalog;
    std::vector<PassedState> passed;
    std::vector<PortState> ports;
    std::vector<ServiceState> services;
    std::optional<ControlState> control;
    int pid_file = -1;
    std::vector<sys::Names::Answer> names;       ///< that were looked up for the definitions
    std::uint64_t log_lost = 0, log_untold = 0;  ///< records of the log
    std::vector<std::string> stored;  ///< names in the manager's store, those included that it is to take out
};

/// Goes up with every change to what is written: no superd reads another's version, newer or older.
constexpr int kStateVersion = 4;

std::string write_state(const State& state);
/// Any bytes may be in `text`. Errors: another version, not a state at all.
Result<State> read_state(std::string_view text);

}  // namespace superd::core
