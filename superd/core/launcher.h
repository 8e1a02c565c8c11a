// SPDX-License-Identifier: MIT
#pragma once
// A definition's launcher: a process of its service that lives in its sandbox, and starts handlers there, which are
// superd's children. To enter some sandboxes takes longer than to start a program, and here it is done once.

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "core/awaited.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "core/sandbox_state.h"
#include "model/host.h"
#include "proc/launch_channel.h"
#include "sys/alarm.h"
#include "sys/descriptors.h"

namespace superd::core {

class Launcher final : public ChildOwner, public Awaited {
  public:
    /// The generation, as far as it concerns this.
    class Host {
      public:
        virtual ~Host() = default;
        /// Starts superd-launch with the other end of `channel` as stdin. The Engine knows it as `owner`'s.
        virtual Result<pid_t> start(ChildOwner& owner, sys::Fd channel) = 0;
        /// A handler has begun to serve this client.
        virtual void serves(pid_t pid, model::Client client) = 0;
        /// One of these could not execute its program, and ends. False: it is not one of these.
        virtual bool not_executed(pid_t pid, int code, sys::GuardedFd connection) = 0;
        /// To be started without a launcher.
        virtual void serve_directly(model::Client client) = 0;
        /// The launcher has ended, or the last client of whom it had not told has gone: what is due then, after which
        /// there may be no `Launcher` any more.
        virtual void left() = 0;
    };
    Launcher(Engine& engine, Host& host, const conf::Service& definition);
    ~Launcher() override;
    Launcher(const Launcher&) = delete;

    /// Gives a client to it. False: it cannot take it at once, and `client` is as it was. Starts one where there is
    /// none.
    bool serve(model::Client& client);
    /// No longer in force: it goes after its last answer.
    void drain();
    void kill_all();
    bool empty() const { return pids_.empty() && asked_.empty() && cold_.empty(); }
    std::size_t processes() const { return pids_.size(); }
    /// 0: there is none that takes orders.
    pid_t pid() const { return ready_ ? pid_ : 0; }
    Instant since() const { return since_; }

    /// Reads what has been told, and leaves what follows from it for later.
    void listen();
    void hear_all(Duration most) override;
    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;
    void overdue(pid_t pid) override;

    LauncherState write_down(sys::Descriptors& descriptors) const;
    Result<void> go_on(const LauncherState& state, sys::Descriptors& descriptors);
    /// The last step of an upgrade: one that the superd before has started may not understand this one.
    void take_up();

    /// Orders that are not answered. superd-launch has twice as many places for processes before their exec.
    static constexpr std::size_t kMostUnanswered = 32;
    /// One that has not answered for so long does not keep up: others are started directly.
    static constexpr Duration kKeepsUp = std::chrono::milliseconds(50);
    /// One that has not answered for so long is ended, and those who wait for it are started directly.
    static constexpr Duration kPatience = std::chrono::seconds(2);

  private:
    struct Asked {
        std::uint32_t serial;
        Instant since;
        model::Client client;
    };

    void start();
    Result<void> watch();
    void take(proc::LaunchWord word);
    /// Ends it. Whoever has not been told of by then is not being served.
    void close();
    void set_alarm();
    void ring();
    /// Last of all whenever something has happened: it may be the end of this.
    void over();

    Engine& engine_;
    Host& host_;
    const conf::Service& definition_;
    pid_t pid_ = 0;            ///< of the one with the channel
    bool alive_ = false;       ///< it has not been reaped
    pid_t gone_ = 0;           ///< has closed its channel of its own accord; its end is to be told of
    std::vector<pid_t> pids_;  ///< of superd-launch that have not been reaped
    sys::GuardedFd channel_;
    sys::Source source_;
    bool ready_ = false;
    bool outdated_ = false;  ///< it is of another version than this superd
    Instant since_{};        ///< when it was started
    bool drained_ = false;
    std::deque<Asked> asked_;
    std::deque<model::Client> cold_;  ///< to be started directly, when what happens now is over
    std::uint32_t serial_ = 0;
    Backoff backoff_{std::chrono::seconds(1), std::chrono::minutes(1)};
    std::optional<Instant> again_at_;  ///< no other is started until then
    bool left_ = false;                ///< the host is to be told
    std::string told_;
    sys::Alarm alarm_;
};

}  // namespace superd::core
