// SPDX-License-Identifier: MIT
#pragma once
// Ends workers that have to go and may have a client. superd looks at each until it seems to have none, then stops it
// and looks again: this look is reliable, and the worker ends or continues.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/time.h"
#include "sys/alarm.h"

namespace superd::core {

/// The result of a look.
struct Sight {
    enum class Verdict { idle, busy, unknown };
    Verdict verdict = Verdict::unknown;  ///< unknown: superd may not look
    bool stopped = false;                ///< all of it, whoever stopped it
    const char* why = "";                ///< busy: the reason for the log
};

class Retirement {
  public:
    struct Owner {
        /// Must this child still be ended?
        std::function<bool(pid_t, std::uint64_t serial)> wanted;
        std::function<Sight(pid_t)> look;
        /// Sends the signal that ends it. It is stopped, and continues right after.
        std::function<void(pid_t, Sight::Verdict)> end;
        /// It has been busy for long enough to be worth a line in the log; called once.
        std::function<void(pid_t, const char* why)> stays;
        /// kill(2)
        std::function<int(pid_t, int)> signal;
        std::function<Instant()> now;
    };
    Retirement(sys::Loop& loop, Owner owner) : owner_(std::move(owner)), timer_(loop, [this] { step(); }) {}
    ~Retirement();

    /// Begins soon, not at once. A worker that is already known is looked at as before.
    void add(pid_t pid, std::uint64_t serial);
    /// Lets stopped workers continue, to be stopped again later. Before an upgrade.
    void let_go();
    /// Stops no worker for kAgain, since the previous superd may just have stopped it. After an upgrade.
    void rest();
    /// The timer's call: looks at the one worker that has been due for longest.
    void step();
    /// When the next step is due.
    std::optional<Instant> due() const;

    /// Stopping interrupts epoll_wait(2), so it is not repeated sooner.
    static constexpr Duration kAgain = std::chrono::seconds(10);
    /// The time from a look that found it busy to the next; then it doubles each time, up to kAgain.
    static constexpr Duration kNext = std::chrono::milliseconds(50);
    /// A thread that does not stop within this time waits for a disk or for its vfork(2).
    static constexpr Duration kStopTime = std::chrono::milliseconds(250);
    static constexpr Duration kStopPoll = std::chrono::milliseconds(1);

  private:
    struct Entry {
        pid_t pid = 0;
        std::uint64_t serial = 0;
        Instant when;
        Duration pause = kNext / 2;  ///< before this look
        bool stopped = false;        ///< by superd
        Instant stopped_at;
        bool told = false;
    };
    using Position = std::vector<Entry>::iterator;

    void look(Position at);
    void finish(Position at, Sight::Verdict verdict);
    void go_on(Entry& entry);
    void arm();

    Owner owner_;
    std::vector<Entry> entries_;
    sys::Alarm timer_;
};

}  // namespace superd::core
