// SPDX-License-Identifier: MIT
#pragma once
// What a client goes through before it is admitted, while it is not known yet who it is or whether it may speak: the
// header of a proxy, a handshake. intake::Entrance holds such clients, bounds them, and ends them when their time is
// over; a stage only says what has become of one.
//
// A stage is asked to `go_on` with a client when it comes, and each time that its connection is readable if it said
// `readable`. A stage that gives the connection to another process says `elsewhere`, and calls Intake::passed() or
// Intake::failed() later, with the client's ticket. It has heard forget() where that is too late.
//
// Of a client in a handshake everything is known but whether it passes: peer, local and introduction are set, and
// whoever would be refused at once is not there.

#include <cstdint>
#include <string>

#include "admit/refusal.h"
#include "model/client.h"

namespace superd::intake {

/// A client in the entrance. Never used twice by a service, also not after an upgrade.
using Ticket = std::uint64_t;

struct Entrant {
    Ticket ticket = 0;
    /// The stage may change anything in it, take its connection, and must have put one back before it passes.
    model::Client client;
    /// The stage's own: bytes that it has read so far. At most a few KiB; goes over an upgrade.
    std::string memory;
};

struct Progress {
    enum class Kind {
        readable,   ///< again when its connection is readable, or has ended
        elsewhere,  ///< the stage will tell by itself
        passed,
        failed,
    } kind = Kind::readable;
    admit::Refusal why = admit::Refusal::gone;  ///< failed
    std::string more = {};  ///< failed: what else there is to say, to follow the reason; safe to show
};

class Stage {
  public:
    /// Says which stage an entrant is in, over reloads and upgrades.
    using Id = std::uint64_t;
    static constexpr Id kHeader = 0;  ///< of the intake itself; other stages have other numbers

    virtual ~Stage() = default;

    virtual Id id() const = 0;
    /// For how long a client that begins now may take.
    virtual Duration timeout() const = 0;
    /// The reason for this one, which took longer.
    virtual admit::Refusal overdue(const Entrant& entrant) const = 0;
    /// Waits for nothing. Errors of the system that are not the client's fault are `failed` as well.
    virtual Progress go_on(Entrant& entrant) = 0;
    /// It will not pass: its time is over, another needs its place, or the service ends. Its connection is closed after
    /// this where it still has one.
    virtual void forget(const Entrant&) {}
};

}  // namespace superd::intake
