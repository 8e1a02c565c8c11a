// SPDX-License-Identifier: MIT
#pragma once
// An intake's state for the process that continues in its place, as plain values. Descriptors are numbers.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "admit/admission.h"
#include "intake/refusal_log.h"
#include "model/client.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::intake {

/// A client that is here, or what is known of one.
struct ClientState {
    std::size_t listener = 0;
    int connection = -1;
    std::string datagram;
    sys::Address peer, local;
    Instant accepted{};
    std::string variables;
    std::optional<model::Introduction> introduction;
};
ClientState state_of(const model::Client& client, sys::Descriptors& descriptors);
model::Client client_of(const ClientState& state, sys::Descriptors& descriptors);

struct HeldState {
    ClientState client;
    admit::SourceKey source;
    Instant until{};
};

/// One in the entrance.
struct EntrantState {
    ClientState client;
    admit::SourceKey source;
    std::uint64_t ticket = 0, stage = 0;
    std::string memory;
    bool wants_bytes = false;
    Instant since{}, until{};
};

struct IntakeState {
    admit::Admission::Memory admission;
    RefusalLog::Memory refused;
    std::vector<HeldState> held;
    std::vector<ClientState> stalled;
    bool rate_tripped = false;
    admit::Offences offences{};
    std::vector<EntrantState> entrants;
    std::uint64_t next_ticket = 1;
    std::vector<ClientState> introduced;
};

}  // namespace superd::intake
