// SPDX-License-Identifier: MIT
#pragma once
// A process that superd has started for a service.

#include <sys/types.h>

#include <memory>
#include <optional>

#include "admit/admission.h"
#include "base/counted.h"
#include "core/child_record.h"
#include "core/datagram_relay.h"
#include "core/session.h"
#include "model/client.h"
#include "proc/spawner.h"
#include "proc/warm_process.h"
#include "sys/loop.h"
#include "sys/passed_rights.h"

namespace superd::core {

/// What a client's connection does not tell, should it come back because its handler could not be started.
struct Known {
    sys::Address local;
    proc::Environment variables;
    model::Introduction introduction;
};

struct Child : ChildRecord {
    admit::Charge charge;
    sys::GuardedFd connection;                ///< handler: a copy, for what goes over it ([log] usage)
    sys::GuardedFd pair;                      ///< parked: to hand over; worker: reports
    std::unique_ptr<proc::WarmProcess> warm;  ///< parked: a handler that waits for the connection alone
    sys::Source pair_source;                  ///< of either
    std::unique_ptr<DatagramRelay> relay;
    std::unique_ptr<Session> session;  ///< handler: of the peer that it serves
    std::optional<proc::SpawnFailure> exec_failure;
    std::optional<Known> known;  ///< of its client, which was introduced
    bool moving = false;         ///< parked: it is not in its leaf yet, and the model does not know of it
    Counted unsettled;           ///< while that can be told of only by its end

    /// Adds a worker's new reports to `reports`, and returns them. `open`: more may come.
    model::Records read_reports(bool& open);
};

/// For the log.
const char* name_of(ChildRecord::Kind kind);
/// kill(2) for the whole session of a child, or for the process alone while it has none.
int signal_session(pid_t pid, int number);

}  // namespace superd::core
