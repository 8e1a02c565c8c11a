// SPDX-License-Identifier: MIT
#pragma once
// How children are made to leave: by stop_signal and, after a while, KILL; or, where one may have a client, between two
// clients.

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "conf/service.h"
#include "core/child.h"
#include "core/deadlines.h"
#include "core/retirement.h"
#include "sys/process.h"

namespace superd::core {

class StopLadder {
  public:
    /// Whose children they are.
    class Host {
      public:
        virtual ~Host() = default;
        /// nullptr: it has left.
        virtual Child* known(pid_t pid) = 0;
        /// Reads what a worker has said since.
        virtual void hear(Child& child) = 0;
        /// What it does now, and after that, hear().
        virtual Sight look(pid_t pid, Child& child) = 0;
        /// kill(2): to the process alone, or to all of its session.
        enum class Reach { process, session };
        virtual int signal(pid_t pid, int number, Reach reach) = 0;
        virtual Instant now() const = 0;
    };
    /// All of them outlive it.
    StopLadder(sys::Loop& loop, Log& log, Host& host, const conf::Service& definition);

    /// It is stopped after max_lifetime, which there is.
    void limit(pid_t pid, const Child& child);
    /// By stop_signal, and by KILL after stop_timeout.
    void stop(pid_t pid, Child& child);
    /// It leaves once it has no client. First its pair is closed for writing, which a worker that reports is to notice:
    /// it then leaves between two clients. One that does not report is looked at, and ended while it has no client.
    void retire(pid_t pid, Child& child);
    /// A worker has spoken.
    void heard(pid_t pid, const Child& child);

    /// Over an upgrade.
    struct Memory {
        std::vector<Deadlines::Entry> lifetimes, kills, retired;
    };
    /// Whoever is stopped for a look goes on before.
    Memory write_down();
    /// Once its host knows the children again; go_on_with() each of them, and rest() follow.
    Result<void> go_on(const Memory& memory);
    void go_on_with(pid_t pid, const Child& child);
    void rest() { retirement_.rest(); }

    /// What is due by now, as the timers do it; and when the next is.
    void step();
    std::optional<Instant> due() const;

    /// A retired worker that leaves by itself does so within this time once it has no client.
    static constexpr Duration kHint = std::chrono::seconds(1);

  private:
    bool is_there(pid_t pid, std::uint64_t serial);
    /// A retired worker is still there.
    void press(pid_t pid, const Child& child);
    Retirement::Owner retirement();
    void end_retired(pid_t pid, Sight::Verdict verdict);
    void kill_late(pid_t pid, const Child& child);
    void tell(Level level, pid_t pid, const Child& child, const std::string& what);

    Log& log_;
    Host& host_;
    const conf::Service& definition_;
    Deadlines lifetimes_, kills_, retired_;
    Retirement retirement_;
};

/// Has a worker a client? By what was seen of it, and by its own word, which has been read after that.
Sight sight_of(const Result<sys::ProcessView>& view, const Child& child);

}  // namespace superd::core
