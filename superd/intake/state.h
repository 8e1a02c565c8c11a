// SPDX-License-Identifier: MIT
#pragma once
// An intake's state for the process that continues in its place, as plain values. Descriptors are numbers.

#include <string>
#include <vector>

#include "admit/admission.h"
#include "intake/refusal_log.h"

namespace superd::intake {

/// A client that is here and has no handler.
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

struct IntakeState {
    admit::Admission::Memory admission;
    RefusalLog::Memory refused;
    std::vector<HeldState> held;
    std::vector<ClientState> stalled;
    bool rate_tripped = false;
    admit::Offences offences{};
};

}  // namespace superd::intake
