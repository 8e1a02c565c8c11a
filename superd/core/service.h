// SPDX-License-Identifier: MIT
#pragma once
// A running service: its ports, its counts, the definition in force and earlier ones that still have children.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error_stream.h"
#include "core/generation.h"
#include "core/generation_host.h"
#include "core/port.h"
#include "core/replies.h"
#include "core/report.h"
#include "core/stats.h"
#include "core/warm_counts.h"
#include "intake/gate.h"
#include "intake/intake.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::core {

struct ServiceState;

class Service final : public intake::Host, public GenerationHost {
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
    /// Takes every client that waits on a socket which is about to be closed.
    void collect(const net::Listener& socket);
    /// Writes the service down for another process, and turns a new service into that one. Nothing starts, and nothing
    /// shared with the previous process changes, until take_up().
    ServiceState write_down(sys::Descriptors& descriptors);
    /// `defined`: the definition in force, if any.
    Result<void> go_on(const ServiceState& state, const conf::Service* defined, std::vector<Port*> ports,
                       sys::Descriptors& descriptors);
    void take_up();
    /// Can it be written down without a loss?
    bool settled() const;

    /// An operator's wish, kept across reloads. Whoever is not open takes no new clients: they wait in the backlog,
    /// and pool workers, who take them by themselves, leave.
    enum class Hold { open, paused, drained };
    void hold(Hold wish);
    /// superd stops: handlers are ended by their stop ladder, at once the second time.
    void stop();
    void kill_all();

    /// The one place that decides whether the listeners are watched. Called after every change.
    void reconcile() override;

    void port_ready(std::size_t index);
    void port_came(std::size_t index);
    void back_off(const Error& why) override;
    void could_not_add(const Error& why) override;
    void started() override;
    void start_went(bool well, bool certain) override;
    void could_not_start(Instant began, std::string why) override;
    void has_started(Instant began) override;
    void stall(model::Client client) override { intake_.stall(std::move(client)); }
    std::optional<model::Client> take(std::size_t listener) override;
    void refuse(model::Client client) override {
        std::move(client.charge).undo();
        intake_.refuse(std::move(client), admit::Refusal::exec_failed);
    }
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
    admit::Admission& admission() override { return intake_.admission(); }
    Stats& stats() override { return stats_; }
    WarmCounts& warm_counts() override {
        if (!warm_counts_) warm_counts_ = std::make_unique<WarmCounts>();
        return *warm_counts_;
    }
    Result<sys::Fd> error_writer() override { return errors_.writer(); }
    Replies& replies() override { return replies_; }

    void accepted() override { ++stats_.accepted; }
    void changed() override;
    void scarce(const Error& why) override { back_off(why); }
    Result<void> wake_at(Instant when) override { return wake_.set(when); }
    Instant now() const override { return superd::now(); }
    std::time_t time_of_day() const override { return std::time(nullptr); }
    double load_average() const override;

    const Generation* current() const { return current_.get(); }
    bool is_shut() const override { return shut_; }
    bool is_withdrawn() const { return withdrawn_; }
    bool others_running(const Generation& but) const override;
    bool has_room_for(const Generation& generation) override;
    void lingered(Generation& generation) override;
    std::size_t running() const;
    /// Withdrawn and without a child: may be forgotten.
    bool finished() const { return !current_ && former_.empty(); }
    void write_status();

    ServiceReport report();
    void report_processes(std::vector<ProcessReport>& out, std::size_t most) const;
    /// Every process, including the parked.
    std::size_t processes() const;
    /// Ends or signals all handlers. Returns those that were signalled.
    std::vector<pid_t> end_handlers(std::optional<int> number);
    /// What would become of this client now. `client` is an address, or with port 0 a vsock CID; `uid`: of a unix peer.
    intake::Explanation explain(const sys::Address& client, std::optional<uid_t> uid);

  private:
    struct Standing {
        Status status;
        std::string reason;  ///< "" if the status says everything
    };
    Standing standing();
    void configure(const conf::Service& definition);
    /// Pool workers take clients by themselves, and leave while the service is held.
    void retire_if_held();
    /// Attaches the access filters. Where they are all that keeps anybody out, the service stays shut without them.
    void set_gates();
    void try_gates_again();
    /// Are clients turned away because their handlers do not start?
    bool throttled() const { return throttled_until_ > now(); }
    /// Is something scarce, and the next try not due yet?
    bool backing_off() const { return retry_.is_set(); }
    void retry();
    void note_scarcity(const Error& why);
    void end_episode();
    /// Forgets definitions that have no children left.
    void tidy();
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
    Stats stats_;
    ErrorStream errors_;
    Replies replies_;
    intake::Intake intake_;
    sys::Alarm wake_;  ///< for it
    intake::Gate gate_;
    std::vector<Port*> ports_;
    std::vector<Definition> kept_;
    std::vector<std::unique_ptr<Generation>> former_;
    std::unique_ptr<Generation> current_;
    Backoff backoff_{std::chrono::milliseconds(10), std::chrono::seconds(1)};
    Instant last_scarce_{};
    unsigned episode_tries_ = 0;
    sys::Alarm episode_;  ///< of scarcity: logged once, and once when it is over
    Backoff throttle_{std::chrono::milliseconds(10), std::chrono::milliseconds(900)};
    Instant throttled_until_{};
    std::string cannot_start_;   ///< why no handler reaches its program; empty: one has, or none was needed
    Instant cannot_start_at_{};  ///< when the last one that did not was started
    int bad_starts_ = 0;         ///< one after the other
    conf::Excess on_excess_ = conf::Excess::queue;
    sys::Alarm retry_, throttle_timer_;
    Hold hold_ = Hold::open;
    bool withdrawn_ = false;
    bool reconciling_ = false;
    bool judges_itself_ = true;  ///< superd sees each client, so a filter only spares it work
    bool shut_ = false;          ///< an access filter is missing that nothing else stands in for
    sys::Alarm gates_timer_;
    std::unique_ptr<WarmCounts> warm_counts_;  ///< once there is something to count
};

}  // namespace superd::core
