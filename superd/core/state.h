// SPDX-License-Identifier: MIT
#pragma once
// Everything that a superd knows and its successor must know to continue, as plain values: the upgrade's state.
// Descriptors are numbers here; `descriptors` says what each refers to.

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "conf/catalog.h"
#include "core/cgroup_counts.h"
#include "core/child_record.h"
#include "core/deadlines.h"
#include "core/episode.h"
#include "core/port.h"
#include "core/sandbox_state.h"
#include "core/session_state.h"
#include "core/stats.h"
#include "core/tls_state.h"
#include "core/warm_counts.h"
#include "core/warm_state.h"
#include "core/watch_state.h"
#include "intake/state.h"
#include "model/model.h"
#include "net/listener.h"
#include "sys/archive.h"
#include "sys/descriptors.h"

namespace superd::core {

struct RelayState {
    int answers = -1;  ///< -1: its handler has closed its end
    int socket = -1;
    sys::Address peer, local;
    std::optional<std::pair<uid_t, gid_t>> as;
};

struct KnownState {
    sys::Address local;
    std::string variables;
    model::Introduction introduction;
};

struct ChildState {
    pid_t pid = 0;
    ChildRecord record;
    std::optional<admit::SourceKey> place;  ///< its place in the counts
    int pair = -1;
    int connection = -1;  ///< for what goes over it: [log] usage
    std::optional<RelayState> relay;
    std::optional<SessionState> session;
    std::optional<proc::WarmProcess::Kept> warm;
    std::optional<KnownState> known;
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
    sys::Record model;  ///< the model's memory
    std::optional<WarmState> warm;
    std::optional<HoldState> hold;
    std::optional<LauncherState> launcher;
    std::optional<TlsState> tls;
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
    bool untouched = false;  ///< nothing below came about yet but the definitions in force
    int wish = 0;            ///< an operator's: Service::Wish
    std::vector<admit::SourceKey> failing;
    std::string cannot_start;
    Instant cannot_start_at{};
    unsigned episode_tries = 0;
    Instant last_scarce{}, throttled_until{}, retry_at{};
    Backoff::Place backoff, throttle;
    Stats stats;
    std::optional<WarmCounts> warm_counts;
    std::optional<CgroupState> cgroup;
    ErrorStreamState errors;
    Episode::Memory reply_failures;
    std::optional<SessionsState> sessions;
    intake::IntakeState intake;
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
    std::string proof;                               ///< only a reader of this state can repeat it
    std::string binary;                              ///< the program for an upgrade
    std::string folder;                              ///< paths in the arguments are relative to it
    std::uint64_t nofile_soft = 0, nofile_hard = 0;  ///< superd's own at its start
    Instant begun{};
    std::int64_t begun_at = 0;
    std::uint64_t reloads = 0, reloads_refused = 0, upgrades = 0, upgrades_refused = 0;
    std::string reload_refused_because;  ///< the last one
    std::vector<sys::Descriptors::Entry> descriptors;
    conf::Catalog catalog;
    std::vector<PassedState> passed;
    std::vector<PortState> ports;
    std::vector<ServiceState> services;
    std::optional<ControlState> control;
    int pid_file = -1;
    std::vector<sys::Names::Answer> names;       ///< looked up for the definitions
    std::uint64_t log_lost = 0, log_untold = 0;  ///< records of the log
    std::string cgroup;                          ///< the folder that services have theirs in, or ""
    std::vector<admit::Owed> everywhere;         ///< penalties that count at every service
    std::vector<std::string> stored;             ///< names in the manager's store, including those to be removed
    std::optional<WatchState> watch;             ///< it reloads by itself
};

}  // namespace superd::core
