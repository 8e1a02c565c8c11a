// SPDX-License-Identifier: MIT
#pragma once
// Ends workers that have to go, and of which nobody knows for sure whether they have a client. Each is looked at until
// it seems to have none, then stopped and looked at again: what is seen then is true, and it is ended or goes on.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/time.h"
#include "sys/alarm.h"

namespace superd::core {

/// What a look has shown.
struct Sight {
    enum class Verdict { idle, busy, unknown };
    Verdict verdict = Verdict::unknown;  ///< unknown: superd may not look
    bool stopped = false;                ///< all of it, whoever has stopped it
    const char* why = "";                ///< busy: what the log is to say of it
};

class Retirement {
  public:
    struct Owner {
        /// Is this child still to be ended?
        std::function<bool(pid_t, std::uint64_t serial)> wanted;
        std::function<Sight(pid_t)> look;
        /// Sends the signal that ends it. It is stopped, and goes on right after.
        std::function<void(pid_t, Sight::Verdict)> end;
        /// It has not been idle for so long that it is worth a word; told once.
        std::function<void(pid_t, const char* why)> stays;
        /// kill(2)
        std::function<int(pid_t, int)> signal;
        std::function<Instant()> now;
    };
    Retirement(sys::Loop& loop, Owner owner) : owner_(std::move(owner)), timer_(loop, [this] { step(); }) {}
    ~Retirement();

    /// Begins soon, not from here. One that is known already is looked at as before.
    void add(pid_t pid, std::uint64_t serial);
    /// Whoever is stopped goes on, to be stopped again later. Before an upgrade.
    void let_go();
    /// Whoever there is may have been stopped by the superd before: nobody is, for kAgain. After an upgrade.
    void rest();
    /// The timer's call: looks at one worker, the one that is due for longest.
    void step();
    /// When the next step is due.
    std::optional<Instant> due() const;

    /// Stopping interrupts epoll_wait(2), so it is not done again sooner.
    static constexpr Duration kAgain = std::chrono::seconds(10);
    /// From a look that found it busy to the next; then twice as long each time, up to kAgain.
    static constexpr Duration kNext = std::chrono::milliseconds(50);
    /// A thread that does not stop within so long waits for a disk or for its vfork(2).
    static constexpr Duration kStopTime = std::chrono::milliseconds(250);
    static constexpr Duration kStopPoll = std::chrono::milliseconds(1);

  private:
    struct Entry {
        pid_t pid = 0;
        std::uint64_t serial = 0;
        Instant when;
        Duration pause = kNext / 2;  ///< before this look
        bool stopped = false;        ///< by us
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
