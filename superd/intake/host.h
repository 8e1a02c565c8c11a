// SPDX-License-Identifier: MIT
#pragma once
// Everything that the intake may ask of its service. Tests use a fake host, whose clock steps.

#include <ctime>

#include "base/error.h"
#include "base/time.h"
#include "intake/stage.h"
#include "model/host.h"

namespace superd::intake {

class Host {
  public:
    virtual ~Host() = default;

    /// Before one is taken: is there what the start of a handler needs while clients hold all else? Otherwise those
    /// who are here could neither be served nor leave.
    virtual Result<void> can_accept() = 0;
    /// A client was taken from the kernel.
    virtual void accepted() = 0;
    /// More clients may be taken than before, or fewer are here.
    virtual void changed() = 0;
    /// The kernel lacks what it needs to accept a client or to wait for one.
    virtual void scarce(const Error& why) = 0;

    /// The handshake that clients go through once it is known who they are; nullptr: the service has none, and whoever
    /// comes is served without. So it is there even while whoever is to do it is not.
    virtual Stage* handshake() { return nullptr; }
    /// The one with this id, also of an earlier definition; nullptr: it is gone.
    virtual Stage* stage(Stage::Id) { return nullptr; }

    /// Calls Intake::woken() at that time; a later call replaces an earlier one.
    virtual void wake_at(Instant when) = 0;
    virtual Instant now() const = 0;
    /// The time for [access] times.
    virtual std::time_t time_of_day() const = 0;
    /// Of the last minute; 0 if the kernel does not tell.
    virtual double load_average() const = 0;

    // Where one handler serves all datagrams of a peer, the first is the client that is judged.
    /// True: the datagram is of a session, or of nobody, and has been taken care of.
    virtual bool continues(model::Client&) { return false; }
    /// Makes a place for the session of a new peer. False: there is none.
    virtual bool begin_session(const model::Client&) { return false; }
    /// Such a client is not served after all.
    virtual void cancel_session(const model::Client&) {}
};

}  // namespace superd::intake
