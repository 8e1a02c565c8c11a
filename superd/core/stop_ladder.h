// SPDX-License-Identifier: MIT
#pragma once
// How children are made to leave: by stop_signal and, after a while, KILL; or, if one may have a client, between two
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
    /// The owner of the children.
    class Host {
      public:
        virtual ~Host() = default;
        /// nullptr: it has left.
        virtual Child* known(pid_t pid) = 0;
        /// Reads a worker's new reports.
        virtual void hear(Child& child) = 0;
        /// What it is doing now; then hear().
        virtual Sight look(pid_t pid, Child& child) = 0;
        /// kill(2): to the process alone, or to its whole session.
        enum class Reach { process, session };
        virtual int signal(pid_t pid, int number, Reach reach) = 0;
        virtual Instant now() const = 0;
    };
    /// They all outlive this object.
    StopLadder(sys::Loop& loop, Log& log, Host& host, const conf::Service& definition);

    /// Stops it after max_lifetime, which must be set.
    void limit(pid_t pid, const Child& child);
    /// By stop_signal, and by KILL after stop_timeout.
    void stop(pid_t pid, Child& child);
    /// It leaves once it has no client. First its pair is closed for writing: a worker that reports notices this, and
    /// leaves between two clients. superd looks at one that does not report, and ends it while it has no client.
    void retire(pid_t pid, Child& child);
    /// A worker has reported.
    void heard(pid_t pid, const Child& child);

    /// For an upgrade.
    struct Memory {
        std::vector<Deadlines::Entry> lifetimes, kills, retired;
    };
    /// Lets workers that are stopped for a look continue first.
    Memory write_down();
    /// Call it once the host knows the children again; go_on_with() for each of them, and rest() follow.
    void go_on(const Memory& memory);
    void go_on_with(pid_t pid, const Child& child);
    void rest() { retirement_.rest(); }

    /// Does what is due now, as the timers do; and when the next is due.
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

/// Does a worker have a client? Judged by a look at it, and by its own reports, read after the look.
Sight sight_of(const Result<sys::ProcessView>& view, const Child& child);

}  // namespace superd::core
