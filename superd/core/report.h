// SPDX-License-Identifier: MIT
#pragma once
// What superd reports of itself, as plain values: for the status in the log, and for clients of the control
// socket.

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "admit/penalties.h"
#include "admit/refusal.h"
#include "base/names.h"
#include "conf/diagnostic.h"
#include "conf/plan.h"
#include "core/cgroup_counts.h"
#include "core/session_counts.h"
#include "core/stats.h"
#include "core/warm_counts.h"

namespace superd::core {

/// The state of a service, with the names of `superctl status`.
enum class Status {
    listening,
    full,      ///< limits.instances
    paused,    ///< by an operator, or by a rate or load
    draining,  ///< by an operator, or because its definition is gone
    waiting,   ///< for an address
    backoff,   ///< something is scarce, or its handlers do not start
    disabled,  ///< defined, but not run
};
constexpr auto names_of(Status) {
    return std::array{"listening", "full", "paused", "draining", "waiting", "backoff", "disabled"};
}
using superd::name_of;

struct ListenerReport {
    std::string uri;
    bool open = false;     ///< false: the address is waited for, or its socket cannot be corrected
    bool awaited = false;  ///< there has not been a socket yet
};

struct ServiceReport {
    std::string name, description;
    bool enabled = true;  ///< false: only defined, and only listeners and model are set
    Status status = Status::listening;
    std::string reason;  ///< the reason, if there is more to say
    std::string model, handoff;
    std::string preset;                   ///< of the sandbox
    std::vector<conf::LeftOut> left_out;  ///< of a preset or a default, on this machine
    std::vector<ListenerReport> listeners;
    std::size_t handlers = 0, spare = 0, held = 0, stalled = 0, pending = 0;
    int limit = 0;
    Stats stats;
    admit::Refusals refused{};
    bool penalises = false;
    std::size_t penalised = 0;  ///< sources that are refused for what they did here
    admit::Offences offences{};
    bool tells_usage = false;
    std::optional<WarmReport> warm;         ///< where its handlers are to be warm
    std::optional<SessionReport> sessions;  ///< where datagrams belong to some, or did
    std::optional<CgroupReport> cgroup;     ///< where they have a control group, and there has been one
};

/// A process of a service.
struct ProcessReport {
    std::string service;
    pid_t pid = 0;
    const char* kind = "";  ///< handler, session, owner, worker, parked, template
    std::string peer;       ///< empty if superd does not know it
    Duration age{};
    std::optional<bool> busy;  ///< as the worker reports it
    bool stopping = false;
    bool former = false;  ///< it began under an earlier definition
};

/// superd itself.
struct DaemonReport {
    pid_t pid = 0;
    std::time_t started = 0;
    Duration uptime{};
    std::size_t services = 0, handlers = 0, processes = 0;
    std::size_t penalised = 0;  ///< sources that every service refuses
    std::uint64_t reloads = 0, reloads_refused = 0;
    std::string reload_refused_because;  ///< the last one; empty: it succeeded
    const char* watching = "";           ///< it reloads by itself: inotify, or polling; empty: it does not
    std::uint64_t upgrades = 0, upgrades_refused = 0;
    bool upgrading = false;
    std::string upgrade_refused_because;  ///< the last time
    std::uint64_t log_lines_lost = 0;     ///< not taken by the log's reader in time
    std::optional<std::size_t> open_descriptors;
    std::uint64_t descriptor_limit = 0;
    bool draining = false;  ///< it still serves, and will stop
    bool stopping = false;
};

/// An error in the definitions, or with an address that they ask for.
struct Complaint {
    std::string service;  ///< empty if a file is at fault
    conf::Diagnostic diagnostic;
    /// For people; complete lines.
    std::string text() const;
};

/// What a reload did, or would do.
struct ReloadReport {
    bool refused = false;
    std::vector<Complaint> complaints;  ///< if refused
    std::vector<conf::PlanItem> items;
};

}  // namespace superd::core
