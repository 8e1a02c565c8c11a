// SPDX-License-Identifier: MIT
#pragma once
// A definition's warm handlers: those on their way to their first touch of a client, the template that copies are made
// of, and what to do where there can be none. What waits for a client, or has one, is its generation's.

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/awaited.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "core/warm_counts.h"
#include "core/warm_files.h"
#include "core/warm_level.h"
#include "core/warm_state.h"
#include "model/model.h"
#include "proc/warm_process.h"
#include "sys/alarm.h"

namespace superd::core {

class Warm final : public ChildOwner, public Awaited {
  public:
    /// The generation, as far as it concerns these.
    class Host {
      public:
        virtual ~Host() = default;
        /// Starts the handler by superd-warm, with the other end of `channel` as proc::warm::kChannel. The Engine knows
        /// it as `owner`'s.
        virtual Result<pid_t> start(ChildOwner& owner, sys::Fd channel) = 0;
        /// Are all addresses there? begin() follows when they are.
        virtual bool is_ready() const = 0;
        /// It waits for a client, and is the host's from now on, who tells the model. False: it is not wanted, and is
        /// killed.
        virtual bool waits(std::unique_ptr<proc::WarmProcess> process, pid_t copy_of) = 0;
        /// Nobody is to be given to those that wait.
        virtual void stale() = 0;
        /// A copy has begun to serve this client.
        virtual void serves(pid_t pid, pid_t copy_of, model::Client client) = 0;
        /// To be served by fork.
        virtual void serve_cold(model::Client client) = 0;
        virtual model::Model& model() = 0;
        virtual void could_not_add(const Error& why) = 0;
        /// One of these has gone, or a client of theirs: what is due then, after which there may be no `Warm` any more.
        virtual void left() = 0;
        virtual WarmCounts& counts() = 0;
    };
    Warm(Engine& engine, Host& host, const conf::Service& definition);
    ~Warm() override;
    Warm(const Warm&) = delete;

    /// In force from now on, and whenever something could be tried again.
    void begin();
    /// nullopt: superd-exec is to wait instead.
    std::optional<model::Parking> park();
    /// Gives a client to a copy. False: nobody could take it at once, and `client` is as it was.
    bool serve(model::Client& client);
    /// For whom nobody waits; nullopt: as for superd-exec.
    std::optional<Duration> pause_for_parking() const;
    /// Asked before a client is handed to one that waits: what has changed meanwhile is no longer served. False: all
    /// that waited are let go just now.
    bool look();
    /// A copy that waited has been handed its client.
    void serves(pid_t copy_of);
    /// A copy ended in a way that tells of its addresses, or of a try to find them.
    void crashed(pid_t copy_of);

    /// No longer in force: all go, the template after its last answer.
    void drain();
    void kill_all();
    bool empty() const { return processes_.empty() && cold_.empty(); }
    std::size_t processes() const { return processes_.size(); }
    std::size_t coming() const;
    /// False: a copy may have begun of which nothing is known yet.
    bool settled() const;
    /// Reads what they have told, or tell within this time.
    void hear_all(Duration most) override;

    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;
    void overdue(pid_t pid) override;
    bool end_child(pid_t pid, std::optional<int> number) override;

    WarmReport report() const;
    /// Each process of these with its kind, "template" or "parked", and when it began.
    template <class Tell>
    void each(Tell tell) const {
        for (const auto& [pid, process] : processes_)
            tell(pid, process->trial ? "template" : "parked", process->started);
    }
    WarmState write_down(sys::Descriptors& descriptors);
    Result<void> go_on(const WarmState& state, sys::Descriptors& descriptors);
    void take_up();

    /// For answers; a process that is later is taken to be stopped.
    static constexpr Duration kPatience = std::chrono::seconds(2);
    /// One that has not answered for so long does not keep up: others are served otherwise.
    static constexpr Duration kKeepsUp = std::chrono::milliseconds(50);
    /// An editor may write more than once.
    static constexpr Duration kSaving = std::chrono::milliseconds(100);

  private:
    using Value = conf::Warm;
    struct Asked {
        std::uint32_t serial;
        Instant since;
        model::Client client;
    };
    /// A copy that is to wait, and has not told that it does.
    struct Coming {
        std::uint32_t serial;
        Instant since;
        proc::WarmProcess warm;
        sys::Source source;
    };
    /// On its way to park, or the template.
    struct Process : WarmProcessRecord {
        explicit Process(proc::WarmProcess process) : warm(std::move(process)) {}
        proc::WarmProcess warm;
        sys::Source source;
        bool alive = true;        ///< it has not been reaped
        std::string not_started;  ///< why it did not get to its program
        std::deque<Asked> asked;
    };
    using Processes = std::map<pid_t, std::unique_ptr<Process>>;

    Result<Process*> start(bool trial);
    bool watch(Process& process);
    bool watch(Coming& coming);
    void try_template();
    model::Parking start_one();
    model::Parking copy_one();

    void hear(Process& process);
    void hear(Coming& coming);
    Coming* coming(std::uint32_t serial);
    void cannot_copy(Process& process, int code);
    void parked(Process& process);
    void take_going(Process& process, const proc::WarmProcess::Event& event);
    void take_failure(Process& process, const proc::WarmProcess::Event& event);
    void closed(Process& process);
    /// It has been reaped, and has told all.
    void conclude(Process& process);
    std::unique_ptr<proc::WarmProcess> release(Process& process);

    void renew(WarmRenewal why, Duration pause = {});
    void let_go();
    void leave(Process& process);
    void put_to_death(Process& process);
    /// Takes what it has told, and has its processes told nothing more; then closed().
    void close(Process& process);
    /// nullopt: nothing is expected of it.
    std::optional<Instant> late_at(const Process& process) const;
    void give_up(Process& process);
    /// It has been killed and cannot be reaped, as when what traces it is stopped: others are tried without it.
    void forget(Process& process);
    bool drop_late_copies(Instant time);
    void fall(Value value, WarmFallback why, std::string reason);
    void tell_level();
    void note_facts(const Process& process);
    /// Last of all whenever something has happened: it may be the end of this.
    void over();

    void ring();
    void set_alarm();
    void note_unanswered();

    Engine& engine_;
    Host& host_;
    const conf::Service& definition_;
    WarmLevel level_;
    WarmFiles files_;
    Processes processes_;
    Process* template_ = nullptr;  ///< has parked, and can be copied
    std::list<Coming> coming_;
    std::deque<model::Client> cold_;  ///< to be served by fork, when what happens now is over
    WarmRecord record_;
    std::vector<proc::WarmFile> waiting_files_;                      ///< of an upgrade: not watched yet
    std::vector<std::pair<std::string, std::string>> waiting_ways_;  ///< and not compared
    bool left_ = false;                                              ///< the host is to be told
    sys::Alarm alarm_;
};

}  // namespace superd::core
