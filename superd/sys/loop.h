// SPDX-License-Identifier: MIT
#pragma once
// The event loop: sd-event(3) with owners for its sources. One thread; callbacks may destroy any source,
// their own included.

#include <functional>
#include <memory>

#include "base/error.h"
#include "base/time.h"

struct sd_event;
struct sd_event_source;

namespace superd::sys {

/// A registration that ends with its owner. Initially empty.
class Source {
  public:
    Source();
    Source(Source&&) noexcept;
    Source& operator=(Source&&) noexcept;
    ~Source();
    explicit operator bool() const { return state_ != nullptr; }

    /// Disabled sources cost the kernel nothing and stay registered here. Errors: epoll_ctl(2).
    Result<void> enable(bool on);
    /// Idle sources: for one call.
    Result<void> enable_once();
    /// I/O sources: sets EPOLLIN, EPOLLOUT.
    Result<void> watch(std::uint32_t events);
    /// Called before the others that are ready, and not after a round of them all. sd_event_source_set_priority(3)
    Result<void> come_first();
    /// At most `most` calls in each `interval`; later ones wait for its end. sd_event_source_set_ratelimit(3)
    Result<void> limit(Duration interval, unsigned most);
    /// Timers: fires once at `when`; enables it.
    Result<void> arm(Instant when);

    struct State;

  private:
    friend class Loop;
    explicit Source(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

class Alarm;

/// No exception escapes a handler into sd-event(3), which is C: they go to on_exception().
class Loop {
  public:
    using Handler = std::function<void()>;
    using IoHandler = std::function<void(std::uint32_t events)>;
    /// After an exception, or where there is no memory.
    static constexpr Duration kTryAgain = std::chrono::milliseconds(100);

    static Result<Loop> create();
    Loop(Loop&&) noexcept;
    Loop& operator=(Loop&&) = delete;
    ~Loop();

    /// Does not own the descriptor, which must stay open while the source lives.
    Result<Source> io(int fd, std::uint32_t events, IoHandler handler);
    /// Disabled until armed.
    Result<Source> timer(Handler handler);
    /// The signal must be blocked in every thread.
    Result<Source> signal(int number, Handler handler);
    /// Runs once for each enable, after everything that is ready has been handled and before the loop waits.
    Result<Source> idle(Handler handler);

    /// Called with the message of an exception that escapes a handler; the loop goes on and calls the handler again
    /// later. When memory is scarce, this allocates nothing that it can do without.
    void on_exception(std::function<void(const char* what)> told);
    /// Calls `act` as a handler is called: no exception escapes. False: it threw. Pass by std::ref what std::function
    /// would have to allocate for.
    bool attempt(const Handler& act) noexcept;

    /// Runs until exit(). Returns its code, or the error that broke the loop.
    Result<int> run();
    /// Handles what is ready by now, waits for nothing, and can be called again: for tests that step the time.
    Result<void> settle();
    void exit(int code);

  private:
    struct Exceptions;
    /// Alarms without a timer of their own share this one.
    struct Shared {
        Source timer;
        Alarm* first = nullptr;
        Alarm* rings = nullptr;  ///< now; nullptr: it has been destroyed
    };

    explicit Loop(sd_event* event);
    sd_event* event_;
    std::unique_ptr<Exceptions> exceptions_;
    std::unique_ptr<Shared> shared_;
    friend struct Source::State;
    friend class Alarm;
};

}  // namespace superd::sys
