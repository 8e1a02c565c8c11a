// SPDX-License-Identifier: MIT
#pragma once
// The way of a client from the kernel to the model: accepted, judged, charged; or held, or let go.
//
// A client comes from a listener (fetch), is judged once it is known who it is (arrive), joins the line of clients to
// be served, and goes to the model when the model asks (take). A held one joins when its turn comes (advance). Where a
// client has to be introduced by a header or a handshake first, it is in the entrance meanwhile (come, introduced).

#include <list>
#include <optional>
#include <string>
#include <vector>

#include "admit/access.h"
#include "admit/admission.h"
#include "admit/everywhere.h"
#include "intake/entrance.h"
#include "intake/explanation.h"
#include "intake/farewell.h"
#include "intake/header_stage.h"
#include "intake/held.h"
#include "intake/host.h"
#include "intake/refusal_log.h"
#include "net/listener.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::intake {

struct IntakeState;

class Intake final : EntranceHost {
  public:
    /// `loop` tells when clients leave that are held or let go. `everywhere`: of all services.
    Intake(sys::Loop& loop, Log& log, const std::string& service, Host& host, admit::Everywhere& everywhere);
    Intake(const Intake&) = delete;

    void configure(const conf::Service& definition);

    /// What keeps all clients from being served now: instances, rate or max_load.
    std::optional<admit::Refusal> closed() const;
    /// May the next client be taken from the kernel now, to be served or to be refused?
    bool is_open() const;
    /// If the line is empty, lets the first held client join it whose turn has come. True: take() has a client that is
    /// here already.
    bool advance();
    /// The next client with its place charged. `socket` may be nullptr: then only clients in line.
    std::optional<model::Client> take(const net::Listener* socket, std::size_t listener);
    /// The same where datagrams belong to sessions: these are received whatever limits say. `may_start`: now.
    std::optional<model::Client> take_of_sessions(const net::Listener* socket, std::size_t listener, bool may_start);
    /// The client is known: it joins the line, is held, or is let go.
    void arrive(model::Client client);
    /// The first datagram of this peer need not be served any more.
    void drop_waiting(const sys::Address& peer, const sys::Address& local);
    /// Any client that is here already, including held ones, despite limits: the last chance to serve it.
    std::optional<model::Client> take_here();
    /// Takes all clients that wait on a socket that is about to be closed; of a flood, as many as its queue holds.
    /// `rules`: those under which it was opened, if others are in force now.
    void take_all(const net::Listener& socket, std::size_t listener, const conf::ProxyProtocol& rules);
    void take_all(const net::Listener& socket, std::size_t listener) { take_all(socket, listener, header_.rules()); }
    /// A client that could not be served yet; it is first in line.
    void stall(model::Client client);
    /// Takes no more clients for now. The host hears `changed` when obstacles that only need time may be gone.
    void rest();
    /// A handler ended: a held client may go on.
    void released() { look_at_held_ = true; }
    /// No more clients are wanted.
    void clear();
    /// Those that are not known yet are let go, since nobody will serve them.
    /// `stage`: only those in it. `more` follows the reason in the log.
    void dismiss(std::optional<Stage::Id> stage, std::string_view more) {
        entrance_.dismiss(stage, admit::Refusal::pending, more);
    }
    /// For stages (intake/stage.h). nullptr: it is too late.
    Entrant* entrant(Ticket ticket) { return entrance_.find(ticket); }
    void begins_now(Ticket ticket) { entrance_.begins_now(ticket, host_.now()); }
    void passed(Ticket ticket) { entrance_.passed(ticket); }
    void failed(Ticket ticket, admit::Refusal why, std::string_view more) { entrance_.failed(ticket, why, more); }
    /// Those that have passed a handshake and wait for a handler are let go with this reason: all of them, or whose
    /// connection has been cut, as it is where superd-tls has gone. How many there were.
    enum class Secured { all, cut };
    std::size_t end_secured(Secured which, std::string_view more);
    /// The time that the host was asked for has come.
    void woken();

    IntakeState write_down(sys::Descriptors& descriptors) const;
    /// After configure(). Children's owners take their places again themselves.
    Result<void> go_on(const IntakeState& state, sys::Descriptors& descriptors);

    /// Lets a client go that cannot be served, as on_excess says.
    void refuse(model::Client client, admit::Refusal why);
    /// A client has earned its source a penalty. `source`: as its charge says.
    void penalise(const sys::Address& peer, const admit::SourceKey& source, admit::Offence what);
    /// What sources have earned here, and how many are refused here now for what they earned here.
    const admit::Offences& offences() const { return offences_; }
    std::size_t penalised() const;
    /// Counts a refusal that lost no client.
    void count(admit::Refusal why) { refusals_.count(why); }

    admit::Admission& admission() { return admission_; }
    const RefusalLog& refusals() const { return refusals_; }
    /// In line: nothing kept them out when they were judged.
    std::size_t stalled() const { return stalled_.size() + introduced_.size(); }
    /// In the entrance.
    std::size_t pending() const { return entrance_.size(); }
    std::size_t held() const { return held_.size(); }
    /// What would happen to this client now, step by step. `seen`: superd accepts it; otherwise the kernel's filter or
    /// its handler does. `uid`: of a client on a unix socket.
    void explain(const sys::Address& client, std::optional<uid_t> uid, bool seen, model::Client::Kind kind,
                 std::vector<Explanation::Step>& steps) const;
    /// The same for its way through the entrance. `via`: who speaks for it, if that is asked; on_unix: a peer there.
    void explain_entrance(const std::optional<sys::Address>& via, bool on_unix,
                          std::vector<Explanation::Step>& steps) const;

  private:
    bool has_entrance() const { return header_.on() || host_.handshake() != nullptr; }
    /// nullopt: none waits.
    std::optional<model::Client> fetch(const net::Listener& socket, std::size_t listener);
    std::optional<model::Client> accept(const net::Listener& socket, std::size_t listener);
    std::optional<model::Client> receive(const net::Listener& socket, std::size_t listener);
    /// From the kernel: it arrives, or begins in the entrance.
    void come(model::Client client, const conf::ProxyProtocol& rules, bool despite_all);
    /// It is known who it is; a handshake follows, if the service has one.
    void know(model::Client client, bool despite_all);
    /// Through the entrance: it is judged when it could be served, since others of its source may be before it.
    void introduced(model::Client client);
    Stage* stage(Stage::Id id) override { return id == Stage::kHeader ? &header_ : host_.stage(id); }
    void has_passed(model::Client client, Stage::Id from) override;
    void has_failed(model::Client client, const admit::SourceKey& source, admit::Refusal why, bool its_fault,
                    std::string_view more) override;
    void moved() override { host_.changed(); }
    void cannot_watch(const Error& why) override { host_.scarce(why); }
    model::Client leave_line();
    /// Is there a first one in line that is still let in? Those that are not go.
    bool first_is_let_in();
    /// Why this client is not served now, if so.
    struct Judgement {
        admit::Refusal why;
        bool denied;  ///< by [access]
    };
    /// May a client with this judgement be held?
    bool may_wait(const Judgement& judgement, model::Client::Kind kind) const {
        return !judgement.denied && kind == model::Client::Kind::connection && queues();
    }
    bool queues() const { return admission_.limits().on_excess == conf::Excess::queue; }
    /// `owes`: what its source has earned; nullptr: nothing.
    /// `free`: from [access] and limits for each source.
    std::optional<Judgement> judgement(const sys::Address& peer, const admit::SourceKey& source,
                                       const admit::Debt* owes, bool free) const;
    /// The worse of what it has earned here and what counts everywhere. nullptr: nothing, or it is exempt.
    const admit::Debt* debt_of(const sys::Address& peer, const admit::SourceKey& source) const;
    bool is_exempt(const sys::Address& peer) const;
    /// True: the client goes on. False: it was held or let go.
    bool judge(model::Client& client);
    /// Before the handshake: false if it would not even be held, and was let go.
    bool may_begin(model::Client& client);
    /// [penalty] touched, once for each client.
    void touch(model::Client& client, const admit::SourceKey& source);
    void turn_away(model::Client client, const admit::SourceKey& source, const Judgement& against,
                   const admit::Debt* owes, bool silent = false);
    void enter(model::Client client, const Entrance::Entry& entry);
    bool hold(model::Client& client, const admit::SourceKey& source);
    /// `silent`: without limits.reject_text.
    void let_go(model::Client client, admit::Refusal why, bool denied, std::string_view more = {}, bool silent = false);
    void refuse_for_penalty(model::Client client, const admit::Debt& owes);
    admit::SourceKey source_of(const model::Client& client) const;
    admit::SourceKey source_of(const sys::Address& peer, std::optional<uid_t> uid) const;
    /// What keeps all clients out, and refuses those that do not queue: instances or max_load.
    std::optional<admit::Refusal> overload() const;
    bool load_allows() const;
    /// The host hears `changed` by then.
    void pace(Instant when);
    void wake_by(Instant when);
    bool has_place();
    void line_up(model::Client client, std::list<model::Client>::iterator before);
    /// Asks for the next wake-up that anything here waits for.
    void wake_for_all();

    Host& host_;
    admit::Admission admission_;
    admit::AccessRules access_;
    std::vector<conf::TimeWindow> times_;
    conf::Denial on_deny_ = conf::Denial::close;
    Boxed<conf::Penalty> penalty_;
    admit::Everywhere& everywhere_;
    admit::Offences offences_{};
    bool logged_ = true;
    bool sessions_ = false;
    RefusalLog refusals_;
    Farewell farewell_;
    Held held_;
    HeaderStage header_;
    Entrance entrance_;
    std::list<model::Client> introduced_;
    std::list<model::Client> stalled_;
    std::list<model::Client> place_;  ///< at most one, for who waits again where there is no memory
    bool look_at_held_ = false;
    bool rate_tripped_ = false;
    std::optional<Instant> pace_at_, wake_at_;
};

}  // namespace superd::intake
