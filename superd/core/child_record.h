// SPDX-License-Identifier: MIT
#pragma once
// What is known of a child and goes over an upgrade as it is. A field is named here and in handover/fields.h.

#include <cstdint>
#include <string>

#include "core/given.h"
#include "model/reports.h"
#include "sys/address.h"

namespace superd::core {

struct ChildRecord {
    enum class Kind { handler, owner, worker, parked };
    Kind kind = Kind::handler;
    std::uint64_t serial = 0;
    Instant started{};
    sys::Address peer;
    bool stopping = false;
    int sent = 0;            ///< the last signal that an operator sent it
    model::Reports reports;  ///< a worker's own reports
    bool mute = false;       ///< it closed its end without being told to leave
    bool retired = false;    ///< to leave between two clients
    bool signalled = false;  ///< and got stop_signal
    std::size_t listener = 0;
    GivenSockets given;
    std::string first;       ///< owner: the datagram that it was started for
    pid_t copy_of = 0;       ///< the template that it is a copy of
    std::uint64_t leaf = 0;  ///< of its service's control group, for it and its descendants; 0: none

    bool silent() const { return !reports.any() || mute; }
};

}  // namespace superd::core
