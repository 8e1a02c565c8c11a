// SPDX-License-Identifier: MIT
#pragma once
// Everything that a generation may ask of its service. Tests use a fake host.

#include <optional>
#include <string>

#include "admit/admission.h"
#include "core/replies.h"
#include "core/stats.h"
#include "core/warm_counts.h"
#include "model/host.h"
#include "net/listener.h"
#include "sys/fd.h"

namespace superd::intake {
class Intake;
}  // namespace superd::intake

namespace superd::core {

class Generation;
class ServiceCgroup;
class Session;
class Sessions;

class GenerationHost {
  public:
    virtual ~GenerationHost() = default;

    virtual Instant now() const = 0;
    /// nullptr: the address has no socket, or not yet.
    virtual net::Listener* socket(std::size_t index) = 0;
    /// A child is about to get that socket.
    virtual void note_given(std::size_t index) = 0;
    virtual admit::Admission& admission() = 0;
    /// Where clients are before they are the generation's.
    virtual intake::Intake& intake() = 0;
    virtual Stats& stats() = 0;
    virtual WarmCounts& warm_counts() = 0;
    virtual Replies& replies() = 0;
    /// nullptr: datagrams do not belong to sessions.
    virtual Sessions* sessions() { return nullptr; }
    /// Its handler has ended, and has given its place back.
    virtual void session_over(Session&) {}
    /// nullptr: children have no control group.
    virtual ServiceCgroup* cgroup() { return nullptr; }
    /// A descriptor for a handler's stderr.
    virtual Result<sys::Fd> error_writer() = 0;

    virtual std::optional<model::Client> take(std::size_t listener) = 0;
    /// The client could not be served now, and waits in the service.
    virtual void stall(model::Client client) = 0;
    /// Ends a client whose handler could not be started, as on_excess says.
    virtual void refuse(model::Client client) = 0;
    /// Decides again whether the listeners are watched.
    virtual void reconcile() = 0;
    /// An access filter is missing, so no client may be accepted.
    virtual bool is_shut() const = 0;
    /// May it start another handler? The last place is for clients of a replaced socket, while nobody serves them.
    virtual bool has_room_for(const Generation& generation) = 0;
    virtual bool others_running(const Generation& but) const = 0;

    /// The kernel has no room for another handler or connection: wait, then try again. Nothing is lost.
    virtual void back_off(const Error& why) = 0;
    /// A pool could not grow. The present workers continue to serve.
    virtual void could_not_add(const Error& why) = 0;
    /// A handler was started: the shortage is over.
    virtual void started() = 0;
    /// A handler started well: those that failed before it do not count any more.
    virtual void started_well() = 0;
    /// A handler failed as it started. `client`: who may be to blame for it; nullopt: nobody, it did not reach its
    /// program. Not for a datagram's, whose sender may be forged. A service whose handlers fail whoever comes is slowed
    /// down, never closed.
    virtual void started_badly(const std::optional<admit::SourceKey>& client) = 0;
    /// A handler that was started then did not reach its program; or it did.
    virtual void could_not_start(Instant began, std::string why) = 0;
    virtual void has_started(Instant began) = 0;

    /// A handler's end that its client has to answer for, unless the service itself is in trouble. `source`: as the
    /// handler's charge says.
    virtual void offended(const sys::Address& peer, const admit::SourceKey& source, admit::Offence what) = 0;

    /// A child of `generation` with a listening socket left: what can be corrected on the socket, is corrected at once.
    virtual void socket_came_back(const Generation& generation) = 0;
    /// A child of `generation` left. If it was the last, the generation may end here.
    virtual void child_left(const Generation& generation) = 0;
    /// The sandbox of `generation`, or its superd-tls, has come to be there, or is there no longer. The generation may
    /// end here.
    virtual void sandbox_changed(const Generation& generation) = 0;
    /// No client waits any more on the old socket that it has kept, or their time is over.
    virtual void lingered(Generation& generation) = 0;
};

}  // namespace superd::core
