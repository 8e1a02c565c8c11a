// SPDX-License-Identifier: MIT
#pragma once
// A running service: its ports, its counts, the definition in force and earlier ones that still have children.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/generation.h"
#include "core/generation_host.h"
#include "core/port.h"
#include "core/report.h"
#include "core/sessions.h"
#include "core/traffic.h"
#include "core/warm_counts.h"
#include "intake/gate.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::core {

struct ServiceState;

class Service final : public intake::Host, public GenerationHost, public SessionHost {
  public:
    Service(Engine& engine, std::string name);
    ~Service() override;
    const std::string& name() const { return name_; }

    /// Puts a definition in force on these ports; the previous one drains. It stays in place while it is in force, and
    /// then passes to this service by keep().
    void enforce(const conf::Service& definition, std::vector<Port*> ports);
    using Definition = std::map<std::string, conf::Service>::node_type;
    /// A definition only for this service, while it is in force or children are left that began under it.
    const conf::Service& keep(Definition definition);
    static Definition own(conf::Service definition);
    /// The service is no longer defined: accepted clients are served, handlers finish.
    void withdraw();
    /// Takes every client that waits on a socket which is about to be closed. `rules`: those under which it was opened.
    void collect(const net::Listener& socket, const conf::ProxyProtocol& rules);
    /// Writes the service down for another process, and turns a new service into that one. Nothing starts, and nothing
    /// shared with the previous process changes, until take_up().
    ServiceState write_down(sys::Descriptors& descriptors);
    /// `defined`: the definition in force, if any.
    Result<void> go_on(const ServiceState& state, const conf::Service* defined, std::vector<Port*> ports,
                       sys::Descriptors& descriptors);
    void take_up();

    /// An operator's wish, kept across reloads. A held service takes no new clients: they wait in the backlog, and pool
    /// workers, which accept for themselves, leave.
    enum class Wish { open, paused, drained };
    void obey(Wish wish);
    /// superd stops: ends handlers by their stop ladder, the second time at once.
    void stop();
    void kill_all();

    /// The one place that decides whether the listeners are watched. Called after every change.
    void reconcile() override;

    void port_ready(std::size_t index);
    void port_came(std::size_t index);
    void back_off(const Error& why) override;
    void could_not_add(const Error& why) override;
    void started() override;
    void started_well() override;
    void started_badly(const std::optional<admit::SourceKey>& client) override;
    void could_not_start(Instant began, std::string why) override;
    void has_started(Instant began) override;
    void stall(model::Client client) override { traffic().intake.stall(std::move(client)); }
    std::optional<model::Client> take(std::size_t listener) override;
    void refuse(model::Client client) override {
        std::move(client.charge).undo();
        traffic().intake.refuse(std::move(client), admit::Refusal::exec_failed);
    }
    void offended(const sys::Address& peer, const admit::SourceKey& source, admit::Offence what) override;
    void socket_came_back(const Generation& generation) override;
    /// The same for all sockets, or only for those that others have had; and replaces those that need it by a new
    /// socket next to the old one.
    void look_at_sockets(bool all = true);
    /// A socket is shut down, or has an error.
    void socket_hung_up(std::size_t index);
    void child_left(const Generation& generation) override;

    net::Listener* socket(std::size_t index) override {
        return index < ports_.size() ? ports_[index]->listener() : nullptr;
    }
    void note_given(std::size_t index) override { ports_[index]->note_given(); }
    const std::vector<Port*>& ports() const { return ports_; }
    intake::Intake& intake() override { return traffic().intake; }
    intake::Stage* handshake() override { return current_ ? current_->handshake() : nullptr; }
    intake::Stage* stage(intake::Stage::Id id) override;
    admit::Admission& admission() override { return traffic().intake.admission(); }
    ServiceCgroup* cgroup() override;
    /// A group that an earlier superd has left.
    void adopt_cgroup();
    Stats& stats() override { return traffic().stats; }
    WarmCounts& warm_counts() override {
        if (!warm_counts_) warm_counts_ = std::make_unique<WarmCounts>();
        return *warm_counts_;
    }
    Result<sys::Fd> error_writer() override { return traffic().errors.writer(); }
    Replies& replies() override { return traffic().replies; }
    Sessions* sessions() override { return &peers().sessions; }
    void session_over(Session& session) override;

    Result<void> can_accept() override;
    void accepted() override { ++traffic().stats.accepted; }
    void changed() override;
    void scarce(const Error& why) override;
    bool continues(model::Client& client) override { return peers().sessions.receive(client); }
    bool begin_session(const model::Client& client) override;
    void cancel_session(const model::Client& client) override { peers().sessions.cancel(client); }
    void wake_at(Instant when) override { traffic().wake.set(when); }
    Instant now() const override { return superd::now(); }
    void wake_sessions_at(Instant when) override { peers().alarm.set(when); }
    void stop_handler(pid_t pid) override;
    void drop_waiting(const sys::Address& peer, const sys::Address& local) override {
        traffic().intake.drop_waiting(peer, local);
    }
    std::time_t time_of_day() const override { return std::time(nullptr); }
    double load_average() const override;

    const Generation* current() const { return current_.get(); }
    bool is_shut() const override { return shut_; }
    bool is_withdrawn() const { return withdrawn_; }
    bool others_running(const Generation& but) const override;
    bool has_room_for(const Generation& generation) override;
    void lingered(Generation& generation) override;
    void sandbox_changed(const Generation& generation) override;
    std::size_t running() const;
    /// Withdrawn and without a child: may be forgotten.
    bool finished() const { return !current_ && former_.empty() && is_deserted(); }
    void write_status() const;

    ServiceReport report() const;
    void report_processes(std::vector<ProcessReport>& out, std::size_t most) const;
    /// Every process, including the parked.
    std::size_t processes() const;
    /// Ends or signals all handlers. Returns those that were signalled.
    std::vector<pid_t> end_handlers(std::optional<int> number);
    /// An address, or with port 0 a vsock CID; or the uid of a unix peer.
    struct Who {
        sys::Address address;
        std::optional<uid_t> uid;
    };
    /// What handlers of former definitions still need of an address.
    struct Remains {
        std::vector<int> deaf;                               ///< sockets that only their answers leave from
        std::vector<std::pair<std::string, pid_t>> holders;  ///< with their service: those that have the socket itself
    };
    void add_remains(const conf::Listen& where, Remains& remains) const;
    /// What would happen to this client now. `via`: who names it, if that is asked.
    intake::Explanation explain(const Who& client, const std::optional<Who>& via) const;
    /// Of what is in force.
    const conf::ProxyProtocol& proxy_protocol() const;

  private:
    struct Standing {
        Status status;
        std::string reason;  ///< "" if the status says everything
    };
    Standing standing() const;
    /// Made when it is first needed.
    Traffic& traffic();
    /// Where one handler serves all datagrams of a peer.
    struct Peers {
        Peers(Engine& engine, const std::string& service, Service& host, Replies& replies)
            : sessions(engine, service, host, replies), alarm(engine.loop, [this, &host] {
                  sessions.woken();
                  host.changed();
              }) {}
        Sessions sessions;
        sys::Alarm alarm;
        bool scarce = false;  ///< no datagram can be received before the next try
    };
    Peers& peers();
    bool has_sessions() const { return current_ && current_->definition().has_sessions(); }
    intake::Explanation::Step session_step() const;
    std::optional<model::Client> take_of_sessions(std::size_t listener);
    /// Sessions that no definition in force continues, on no address that is still listened on, end.
    void end_sessions();
    /// What is in force, or was last; nullptr: nothing.
    const conf::Service* definition() const;
    void configure(const conf::Service& definition);
    /// Pool workers take clients by themselves, and leave while the service is not open.
    void retire_unless_open();
    /// Attaches the access filters. Where only they keep clients out, the service stays shut without them.
    void set_gates();
    void try_gates_again();
    /// Are clients turned away because their handlers do not start?
    bool throttled() const { return traffic_ && traffic_->throttled_until > now(); }
    /// Is something scarce, and the next try not due yet?
    bool backing_off() const { return traffic_ && traffic_->retry.is_set(); }
    void retry();
    void note_scarcity(const Error& why);
    void end_episode();
    /// Forgets definitions that have no children left.
    void tidy();
    ServiceCgroup& make_cgroup();
    /// Children that wait for clients, or that others come of, make room for new ones, as after a reload.
    void begin_anew();
    void end_less_checked(const conf::Service& next);
    /// Has everybody left its control group, or cannot be made to?
    bool is_deserted() const;
    void announce(Port& port);
    void examine(Port& port);
    void tell(Port& port, const std::string& what);
    /// As the handoff needs it, but not while another process with the socket may rely on its not blocking.
    void restore_blocking(const net::Listener& listener);
    void renew_sockets();
    void renew(Port& port);
    void let_go(Port& port);
    void replace_holders();
    /// The time of clients that wait on an old socket there is over.
    void end_linger_at(const sys::Address& address);

    Engine& engine_;
    const std::string name_;
    std::unique_ptr<Traffic> traffic_;
    std::unique_ptr<Peers> peers_;  ///< once there has been a session
    intake::Gate gate_;
    std::vector<Port*> ports_;
    std::vector<Definition> kept_;
    std::vector<std::unique_ptr<Generation>> former_;
    std::unique_ptr<Generation> current_;
    conf::Excess on_excess_ = conf::Excess::queue;
    Wish wish_ = Wish::open;
    bool withdrawn_ = false;
    bool reconciling_ = false;
    bool judges_itself_ = true;                ///< superd sees each client, so a filter only saves work
    bool shut_ = false;                        ///< an access filter is missing that nothing else replaces
    std::unique_ptr<sys::Alarm> gates_timer_;  ///< when one has been missing
    std::unique_ptr<ServiceCgroup> cgroup_;    ///< once there has been a child
    std::unique_ptr<WarmCounts> warm_counts_;  ///< once there is something to count
};

}  // namespace superd::core
