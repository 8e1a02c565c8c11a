// SPDX-License-Identifier: MIT
#pragma once
// The way of a client from the kernel to the model: accepted, judged, charged; or held, or let go.

#include <deque>
#include <functional>
#include <optional>

#include "admit/access.h"
#include "admit/admission.h"
#include "intake/explanation.h"
#include "intake/farewell.h"
#include "intake/held.h"
#include "intake/refusal_log.h"
#include "net/listener.h"

namespace superd::core {
class Descriptors;
struct IntakeState;
}  // namespace superd::core

namespace superd::intake {

class Intake {
  public:
    /// `accepted` counts clients taken from the kernel. `changed`: clients may be taken that could not be before.
    /// `scarce`: the kernel has none of what it takes.
    Intake(sys::Loop& loop, Log& log, const std::string& service, std::uint64_t& accepted,
           std::function<void()> changed, std::function<void(const Error&)> scarce);
    Intake(const Intake&) = delete;

    void configure(const conf::Service& definition);

    /// May the next client be taken now, to be served or to be told? If only time stands against it, `changed`
    /// follows.
    bool is_open();
    /// Is there a client here already that may go now? It is what take() returns next.
    bool has_next();
    /// The next client with its place charged. `socket` may be nullptr: then only those here already.
    std::optional<model::Client> take(const net::Listener* socket, std::size_t listener);
    /// Any client that is here already, held ones as well, limits or not: the last chance to serve it.
    std::optional<model::Client> take_here();
    /// Takes over all who wait on a socket that is about to be closed; of a flood, as many as its queue holds.
    void take_all(const net::Listener& socket, std::size_t listener);
    /// A client that could not be served yet; it is first in line.
    void stall(model::Client client);
    /// A handler ended: a held client may go.
    void released() { look_at_held_ = true; }
    /// No client is wanted any more.
    void clear();

    core::IntakeState write_down(core::Descriptors& descriptors) const;
    /// After configure(). Places that children have are for their owner to take again.
    Result<void> go_on(const core::IntakeState& state, core::Descriptors& descriptors);

    /// Lets a client go that cannot be served, as on_excess says.
    void refuse(model::Client client, admit::Refusal why);
    /// Counts what no client was lost by.
    void count(admit::Refusal why) { refusals_.note(why, {}, false); }

    admit::Admission& admission() { return admission_; }
    const RefusalLog& refusals() const { return refusals_; }
    std::size_t stalled() const { return stalled_.size(); }
    std::size_t held() const { return held_.size(); }
    /// What would be decided about this client now, step by step. `seen`: superd accepts it; else the kernel's filter
    /// or its handler does. `uid`: of a client on a unix socket.
    void explain(const sys::Address& client, std::optional<uid_t> uid, bool seen, bool connection,
                 std::vector<Explanation::Step>& steps);
    /// "full", "paused" (rate, load), or nullptr.
    const char* closed_by();
    /// What closes it: "instances", "rate", "max_load".
    const char* closed_reason();

  private:
    std::optional<model::Client> accept(const net::Listener& socket, std::size_t listener);
    std::optional<model::Client> receive(const net::Listener& socket, std::size_t listener);
    /// Why this client is not served now, if so.
    struct Judgement {
        admit::Refusal why;
        bool denied;  ///< by [access]
    };
    /// Has a client against whom this speaks a claim to be held?
    bool may_wait(const Judgement& judgement, bool connection) const {
        return !judgement.denied && connection && admission_.limits().on_excess == conf::Excess::queue;
    }
    std::optional<Judgement> judgement(const sys::Address& peer, const admit::SourceKey& source, Instant time) const;
    /// True: the client goes on. False: it was held or let go.
    bool judge(model::Client& client);
    void let_go(model::Client client, admit::Refusal why, bool denied);
    admit::SourceKey source_of(const model::Client& client) const;
    admit::SourceKey source_of(const sys::Address& peer, std::optional<uid_t> uid) const;
    /// What keeps any client from being served: instances or max_load.
    std::optional<admit::Refusal> overload();
    bool rate_allows();
    bool load_allows();
    void pace(Instant when);

    sys::Loop& loop_;
    std::uint64_t& accepted_;
    std::function<void()> changed_;
    std::function<void(const Error&)> scarce_;
    admit::Admission admission_;
    admit::AccessRules access_;
    std::vector<conf::TimeWindow> times_;
    conf::Denial on_deny_ = conf::Denial::close;
    bool logged_ = true;
    RefusalLog refusals_;
    Farewell farewell_;
    Held held_;
    std::deque<model::Client> stalled_;
    bool look_at_held_ = false;
    bool rate_tripped_ = false;
    sys::Source pace_;
    std::optional<Instant> pace_at_;
    Instant load_read_{};
    bool load_high_ = false;
};

}  // namespace superd::intake
