// SPDX-License-Identifier: MIT
#pragma once
// One definition of a service, now or formerly in force, with the children that began under it.

#include <memory>
#include <unordered_map>

#include "core/child.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "core/exit.h"
#include "core/generation_host.h"
#include "core/report.h"
#include "core/stop_ladder.h"
#include "model/model.h"
#include "net/listener.h"
#include "proc/exec_plan.h"
#include "proc/warm_process.h"
#include "sys/alarm.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::intake {
class Stage;
}  // namespace superd::intake

namespace superd::core {

struct ChildState;
struct GenerationState;
class Hold;
struct WarmReport;

class Generation final : public model::Host, public ChildOwner {
  public:
    /// `listeners`: how many the service has under this definition, which outlives the generation.
    Generation(Engine& engine, GenerationHost& host, const conf::Service& definition, std::size_t listeners);
    ~Generation() override;

    const conf::Service& definition() const { return definition_; }
    model::Model& model() { return *model_; }

    /// In force from now on; and whenever children can be started after a time when they could not.
    void resume();
    /// The last step of an upgrade: what may be done to what is shared with the superd before.
    void take_up();
    /// nullopt: its handlers are not to be warm.
    std::optional<WarmReport> warm_report() const;
    /// Are the namespaces of its sandbox there, if it has any? If not, no child can be started.
    bool has_sandbox() const;
    /// Why not; "" if they have not been tried yet.
    const std::string& sandbox_trouble() const;
    /// Is its superd-tls there, if it has one? If not, no client can be taken.
    bool takes_clients() const;
    /// Why not; "" if it has not been tried yet.
    const std::string& tls_trouble() const;
    /// nullptr: clients need no handshake.
    intake::Stage* handshake();
    /// No longer in force: children that wait for clients leave; those that have one continue.
    void drain();
    bool drained() const { return drained_; }
    /// Ends every child by stop_signal, then KILL.
    void stop();
    void kill_all();

    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;
    /// Adds the report of each child, until `out` holds `most`.
    void report(std::vector<ProcessReport>& out, std::size_t most, bool former) const;
    /// Sends a signal to one child, or to all but the parked; without a signal, ends them by the stop ladder.
    bool end_child(pid_t pid, std::optional<int> number) override;
    void end_children(std::optional<int> number, std::vector<pid_t>& signalled);
    void overdue(pid_t pid) override;

    GenerationState write_down(sys::Descriptors& descriptors);
    /// For a new generation: takes over another's children. Starts none.
    Result<void> go_on(const GenerationState& state, sys::Descriptors& descriptors);

    /// The children with a listening socket.
    std::vector<pid_t> holders() const;
    /// The sockets that answers of handlers leave from.
    void add_answering(std::vector<int>& sockets) const;
    /// Ends those that would continue with a socket that no longer belongs to the service. One that serves a stream may
    /// have a client in hand and gets no other: it leaves after that one.
    void stop_holders();

    /// Continues as if it were in force, on a replaced socket, until no client waits there, or stop_timeout is over;
    /// then calls GenerationHost::lingered(). drain() does nothing until then. False: no memory for it, and `socket` is
    /// unchanged.
    bool linger(std::size_t listener, net::Listener& socket);
    bool lingers() const { return lingering_ != nullptr; }
    bool lingers_at(const sys::Address& address) const { return lingering_ && lingering_->socket.address() == address; }
    net::Listener end_linger();

    bool empty() const;
    /// Processes, the parked as well.
    std::size_t size() const;
    /// Children with a client or a socket; not the parked.
    std::size_t running() const { return children_.size() - parked_; }

    std::optional<model::Client> take(std::size_t listener) override;
    std::optional<pid_t> serve(model::Client client) override;
    std::optional<pid_t> start_owner(std::size_t listener) override;
    std::optional<pid_t> start_worker(std::size_t listener) override;
    model::Parking park() override;
    void serve_past_parked(model::Client client) override;
    Duration pause_for_parking() const override;
    bool hand_over(pid_t parked, model::Client& client) override;
    void retire(pid_t pid) override;
    bool has_socket(std::size_t listener) const override;
    std::size_t waiting(std::size_t listener) const override;
    void wake_at(Instant when) override;
    void when_idle() override;
    Instant now() const override { return host_.now(); }
    std::size_t listeners() const override { return listeners_; }
    bool others_running() const override;

  private:
    using Kind = ChildRecord::Kind;
    /// A replaced socket, while there are clients in its queue.
    struct Lingering {
        std::size_t listener = 0;
        net::Listener socket;
        Instant from, until;  ///< the earliest and the latest end
        Counted unsettled;
    };

    /// Its warm handlers, and what they ask of it.
    struct Warmth;
    /// The process that serves TLS, and what that asks of it.
    struct Secured;
    /// The process that starts handlers in its sandbox, and what that asks of it.
    struct Launches;

    /// The same, and has them made where they are not.
    bool ask_for_sandbox();
    /// Has the child enter them.
    void enter_sandbox(proc::Launch& launch) const;

    /// nullptr: the address has no socket, or not yet.
    net::Listener* socket(std::size_t listener) const;
    void linger_on();
    /// How children are made to leave.
    struct Ends final : StopLadder::Host {
        explicit Ends(Generation& of)
            : generation(of), ladder(of.engine_.loop, of.engine_.log, *this, of.definition_) {}
        Child* known(pid_t pid) override { return generation.known(pid); }
        void hear(Child& child) override;
        Sight look(pid_t pid, Child& child) override;
        int signal(pid_t pid, int number, Reach reach) override;
        Instant now() const override { return generation.now(); }

        Generation& generation;
        StopLadder ladder;
    };
    StopLadder& ladder();
    const proc::ExecPlan& plan();
    const proc::ExecPlan& parked_plan();

    Result<void> take_in(const ChildState& state, sys::Descriptors& descriptors);
    /// On failure `launch` and `child` are unchanged.
    Result<pid_t> start(proc::Launch& launch, Child&& child);
    /// In the service's control group. `leaf`: in one of its own there, if children have some; it is set to that.
    Result<pid_t> spawn(proc::Launch& launch, std::uint64_t* leaf);
    Result<void> add_errors(proc::Launch& launch);
    Result<pid_t> try_serve(model::Client& client);
    /// The user that answers are sent for, if not superd's own.
    std::optional<net::Sender> sender() const;
    Result<void> add_relay(proc::Launch& launch, Child& child, const model::Client& client, const net::Listener& from);
    Result<void> add_session(proc::Launch& launch, Child& child, model::Client& client, const net::Listener& from);
    Result<pid_t> start_with_socket(std::size_t listener, Kind kind);
    Result<pid_t> try_park();
    /// nullptr: it has left.
    Child* known(pid_t pid);
    /// A copy of a template has been given the client. False: `client` is as it was.
    bool copy_serves(model::Client& client);
    bool hand_over_warm(pid_t pid, Child& child, const model::Client& client);
    /// A child that was there before it has its client.
    void refill_by_alarm();
    void began(pid_t pid, Child& child, model::Client& client);
    void hear_warm(Child& child);
    /// Enters a child that began by itself. nullptr: no memory for it, and it has been killed.
    Child* add(pid_t pid, Child&& child);
    /// The launcher starts a handler for the client. False: `client` is as it was.
    bool launch(model::Client& client);
    /// A handler that is started before its client learns where that will come to.
    bool has_all_sockets() const;
    /// A copy of this template was ended by this signal.
    void copy_ended(pid_t copy_of, int number);
    void report_warm(std::vector<ProcessReport>& out, std::size_t most, bool former) const;
    /// Sets its lifetime and listens to its reports. False: not enough memory.
    bool attend(pid_t pid, Child& child);
    void log_start(pid_t pid, const Child& child);
    /// Did an owner leave without reading what it was started for?
    bool left_unread(const Child& child);
    bool watch_pair(pid_t pid, Child& child);
    void heard(pid_t pid);
    /// Reads at once what a worker has reported. True: it has reported. `open`: more may come.
    bool read_reports(Child& child, bool& open);
    /// Why it did not reach its program, if it did not.
    /// Reports to the log and the service what its end means, and returns what the model must know.
    model::End conclude(pid_t pid, Child& child, int status, const rusage& used);
    std::optional<proc::SpawnFailure> failure_of(pid_t pid, Child& child);
    /// The client of a handler that could not be started is back.
    void take_back(Child& child, Exit& end);
    void log_failure(pid_t pid, const Child& child, const proc::SpawnFailure& failure);
    void log_exit(pid_t pid, const Child& child, const Exit& end, const rusage& used);
    std::optional<HandlerUsage> usage_of(const Child& child, const rusage& used) const;
    /// A copy of its connection, if that is to be told of. None where descriptors become scarce: clients need them
    /// more.
    sys::GuardedFd copy_for_usage(const model::Client& client) const;

    Engine& engine_;
    GenerationHost& host_;
    const conf::Service& definition_;
    const std::uint32_t listeners_;
    std::uint32_t parked_ = 0;
    std::unique_ptr<proc::ExecPlan> plan_, parked_plan_;  ///< once they are needed
    std::unordered_map<pid_t, Child> children_;
    std::uint64_t serial_ = 0;
    bool drained_ = false, refills_by_alarm_ = false;
    int unread_ = 0;                      ///< owners in a row that read nothing
    std::unique_ptr<Ends> ends_;          ///< once there are children
    std::unique_ptr<Hold> hold_;          ///< if its sandbox has namespaces
    std::unique_ptr<Secured> secured_;    ///< if it has a [tls]
    std::unique_ptr<Launches> launches_;  ///< once a launcher pays
    std::unique_ptr<Warmth> warmth_;      ///< if its handlers are to be warm
    sys::Alarm wake_;
    sys::Source idle_;
    std::unique_ptr<Lingering> lingering_;
    sys::Alarm linger_;
    std::unique_ptr<model::Model> model_;
};

}  // namespace superd::core
