// SPDX-License-Identifier: MIT
#pragma once
// Everything that a model may ask of the world. Tests use a fake host and no network.

#include <sys/types.h>

#include <cstddef>
#include <optional>

#include "model/client.h"

namespace superd::model {

/// What became of a wish for a process that waits for its client.
struct Parking {
    enum class Outcome {
        ready,    ///< `pid` waits
        coming,   ///< Model::parked() or Model::park_failed() will tell
        not_now,  ///< who asked tries again
        later,    ///< Model::resume() will follow
    } outcome = Outcome::not_now;
    pid_t pid = 0;
};

class Host {
  public:
    virtual ~Host() = default;

    /// The next client of a listener. nullopt: none waits, or none may be taken now.
    virtual std::optional<Client> take(std::size_t listener) = 0;

    /// Starts a handler. nullopt: the host keeps the client and offers it again through take(), or has ended it.
    virtual std::optional<pid_t> serve(Client client) = 0;

    /// Starts a handler that gets the listening socket itself. An owner serves until it leaves; nullopt: not now,
    /// ready() follows. A worker stays and belongs to a pool; nullopt: not now, the caller tries again.
    virtual std::optional<pid_t> start_owner(std::size_t listener) = 0;
    virtual std::optional<pid_t> start_worker(std::size_t listener) = 0;

    /// Has a process wait for its client.
    virtual Parking park() = 0;
    /// Serves a client for whom nobody waits, as serve() does, or by whatever else is quick.
    virtual void serve_past_parked(Client client) = 0;
    /// How long no client has to come until parking costs those that come nothing.
    virtual Duration pause_for_parking() const = 0;
    /// False: the parked process is gone and `client` is unchanged.
    virtual bool hand_over(pid_t parked, Client& client) = 0;

    /// Asks a worker or a parked process to leave once it has no client.
    virtual void retire(pid_t pid) = 0;
    /// False: the listener's address is not available yet. Model::resume() follows when it is.
    virtual bool has_socket(std::size_t listener) const = 0;
    /// The clients in a listener's queue; at least 1 if it is readable and the kernel gives no number.
    virtual std::size_t waiting(std::size_t listener) const = 0;

    /// Calls Model::woken() at that time; a later call replaces an earlier one.
    virtual void wake_at(Instant when) = 0;
    /// Calls Model::refill() when there is nothing else to do.
    virtual void when_idle() = 0;

    virtual Instant now() const = 0;
    virtual std::size_t listeners() const = 0;
    /// Do handlers of an earlier definition of this service still run?
    virtual bool others_running() const = 0;
};

}  // namespace superd::model
