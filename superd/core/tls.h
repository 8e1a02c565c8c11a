// SPDX-License-Identifier: MIT
#pragma once
// A definition's superd-tls: the process that has its key and serves TLS for all its clients. superd gives it a
// connection together with one end of a unix stream pair, keeps the other for the handler, and hears when the handshake
// is over. superd itself sees neither the key nor what is said.

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/backoff.h"
#include "base/counted.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "core/generation_host.h"
#include "core/tls_state.h"
#include "intake/stage.h"
#include "proc/exec_plan.h"
#include "proc/tls_channel.h"
#include "sys/alarm.h"
#include "sys/descriptors.h"

namespace superd::core {

class Tls final : public ChildOwner, public intake::Stage {
  public:
    /// The generation, as far as it concerns this.
    class Host {
      public:
        virtual ~Host() = default;
        /// Where its clients are.
        virtual intake::Intake& intake() = 0;
        /// Its clients that have passed and wait for handlers: those who are lost with it are let go. How many.
        virtual std::size_t end_cut_off(const std::string& more) = 0;
        /// It has become ready, or is no longer.
        virtual void changed() = 0;
        /// A process of it has left; this may end in there.
        virtual void left() = 0;
        /// Handlers that are lost with it.
        virtual std::size_t running() const = 0;
        /// A client waits for a descriptor or memory.
        virtual void scarce(const Error& why) = 0;
    };
    Tls(Engine& engine, Host& host, const conf::Service& definition);
    ~Tls() override;
    Tls(const Tls&) = delete;

    /// Has it started, unless it is there, on its way, or waits for its next try.
    void begin();
    bool is_ready() const { return ready_; }
    bool is_coming() const { return channel_ && !ready_; }
    /// Why it is not ready; "" if it has not been tried yet.
    const std::string& trouble() const { return trouble_; }
    /// No more clients come: it goes with its last one.
    void drain();
    /// The same, but after stop_timeout it is killed.
    void stop();
    void kill_all();
    bool empty() const { return pids_.empty() && !losing_; }
    std::size_t processes() const { return pids_.size(); }
    /// 0: there is none.
    pid_t pid() const { return pid_; }
    Instant since() const { return since_; }

    Id id() const override { return id_; }
    Duration timeout() const override { return definition_.tls->handshake_timeout; }
    admit::Refusal overdue(const intake::Entrant& entrant) const override;
    intake::Progress go_on(intake::Entrant& entrant) override;
    void forget(const intake::Entrant& entrant) override;

    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;
    void overdue(pid_t pid) override;

    TlsState write_down(sys::Descriptors& descriptors) const;
    Result<void> go_on(const TlsState& state, sys::Descriptors& descriptors);

    /// To read its files and be ready.
    static constexpr Duration kPatience = std::chrono::seconds(10);

  private:
    Result<void> start();
    Result<proc::Launch> launch();
    Result<void> watch();
    void listen(std::uint32_t events);
    /// Reads what it has said; nothing more may be read after that if it says what it should not.
    void hear();
    void take(const proc::TlsWord& word);
    void done(intake::Ticket ticket, std::string_view facts);
    void refused(intake::Ticket ticket, const proc::TlsWord& word);
    /// False: there is no room, and it waits for its turn.
    bool give(intake::Entrant& entrant);
    void try_again(const Error& why);
    void give_waiting();
    void want_room(bool on);
    void fail_by(const std::string& why);
    void lose_waiting_soon();
    void lose_clients(const std::string& why);
    /// Connections that are lost if it ends now, but for those that wait for a handler.
    std::size_t lost_now() const { return host_.running() + given_.size(); }
    void tell_end(pid_t pid, const std::string& how);
    void kill_late();
    void close();
    void ring();

    Engine& engine_;
    Host& host_;
    const conf::Service& definition_;
    Id id_;
    std::unique_ptr<proc::ExecPlan> plan_;
    std::vector<pid_t> pids_;  ///< whose end has not been dealt with
    pid_t pid_ = 0;            ///< of the one with the channel
    bool alive_ = false;       ///< it has not been reaped
    pid_t left_ = 0;           ///< has just been reaped
    bool losing_ = false;      ///< drained without a process; those who wait are still to be told
    sys::GuardedFd channel_;
    sys::Source source_;
    bool ready_ = false, drained_ = false, wants_room_ = false;
    std::set<intake::Ticket> given_;      ///< it has these
    std::deque<intake::Ticket> waiting_;  ///< until it is ready, or has room
    Counted unsettled_;
    std::string trouble_, told_;
    Backoff backoff_{std::chrono::milliseconds(50), std::chrono::seconds(10)};
    Instant since_{};
    sys::Alarm alarm_, late_;
};

}  // namespace superd::core
