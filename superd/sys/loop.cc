// SPDX-License-Identifier: MIT
#include "sys/loop.h"

#include <sys/epoll.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <exception>
#include <utility>

#include "sys/alarm.h"

namespace superd::sys {

struct Loop::Exceptions {
    std::function<void(const char*)> told;
    Instant last{};

    bool attempt(const auto& act) noexcept {
        try {
            act();
            return true;
        } catch (const std::exception& error) {
            note(error.what());
        } catch (...) {
            note("an exception of unknown type");
        }
        return false;
    }

  private:
    void note(const char* what) noexcept {
        try {
            if (told) told(what);
        } catch (...) {  // no memory to report it
        }
        // What is ready stays ready. If one exception follows another, give the processor to those that may free
        // memory.
        const Instant time = now();
        if (time - std::exchange(last, time) < Loop::kTryAgain) usleep(10'000);
    }
};

struct Source::State {
    sd_event_source* source = nullptr;
    std::function<void(std::uint32_t)> handler;
    bool* gone = nullptr;  ///< set while the handler runs: it may destroy this
    bool once = false;     ///< one call for each request
    bool timed = false;
    Loop::Exceptions* exceptions = nullptr;

    ~State() {
        sd_event_source_disable_unref(source);
        if (gone != nullptr) *gone = true;
    }

    void call(std::uint32_t events) noexcept {
        // The handler is moved out during the call, since it may destroy the state it lives in.
        bool destroyed = false;
        gone = &destroyed;
        auto running = std::move(handler);
        const bool done = exceptions->attempt([&] { running(events); });
        if (destroyed) return;
        handler = std::move(running);
        gone = nullptr;
        if (!done && once) again();
    }

    /// The single call did not succeed: ask for it again.
    void again() const noexcept {
        if (timed) {
            const auto when = (now() + Loop::kTryAgain).time_since_epoch().count();
            sd_event_source_set_time(source, static_cast<std::uint64_t>(when));
        }
        sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    }
};

namespace {

Result<void> check(const char* what, int r) {
    if (r < 0) return fail_errno(what, -r);
    return {};
}

int on_io(sd_event_source*, int, std::uint32_t events, void* state) {
    static_cast<Source::State*>(state)->call(events);
    return 0;
}
int on_time(sd_event_source*, std::uint64_t, void* state) {
    static_cast<Source::State*>(state)->call(0);
    return 0;
}
int on_signal(sd_event_source*, const signalfd_siginfo*, void* state) {
    static_cast<Source::State*>(state)->call(0);
    return 0;
}
int on_idle(sd_event_source*, void* state) {
    static_cast<Source::State*>(state)->call(0);
    return 0;
}

}  // namespace

Source::Source() = default;
Source::Source(std::unique_ptr<State> state) : state_(std::move(state)) {}
Source::Source(Source&&) noexcept = default;
Source& Source::operator=(Source&&) noexcept = default;
Source::~Source() = default;

Result<void> Source::enable(bool on) {
    return check("epoll", sd_event_source_set_enabled(state_->source, on ? SD_EVENT_ON : SD_EVENT_OFF));
}

Result<void> Source::enable_once() {
    return check("event loop", sd_event_source_set_enabled(state_->source, SD_EVENT_ONESHOT));
}

Result<void> Source::watch(std::uint32_t events) {
    return check("epoll", sd_event_source_set_io_events(state_->source, events));
}

Result<void> Source::come_first() {
    return check("event loop", sd_event_source_set_priority(state_->source, SD_EVENT_PRIORITY_IMPORTANT));
}

Result<void> Source::limit(Duration interval, unsigned most) {
    const auto microseconds = static_cast<std::uint64_t>(interval.count());
    return check("event loop", sd_event_source_set_ratelimit(state_->source, microseconds, most));
}

Result<void> Source::arm(Instant when) {
    const auto at = static_cast<std::uint64_t>(when.time_since_epoch().count());
    if (auto set = check("timer", sd_event_source_set_time(state_->source, at)); !set) return set;
    return check("timer", sd_event_source_set_enabled(state_->source, SD_EVENT_ONESHOT));
}

Result<Loop> Loop::create() {
    sd_event* event = nullptr;
    if (int r = sd_event_new(&event); r < 0) return fail_errno("event loop", -r);
    Loop loop(event);
    auto timer = loop.timer([&shared = *loop.shared_] { Alarm::ring_shared(shared); });
    if (!timer) return std::unexpected(timer.error());
    loop.shared_->timer = std::move(*timer);
    return loop;
}

Loop::Loop(sd_event* event)
    : event_(event), exceptions_(std::make_unique<Exceptions>()), shared_(std::make_unique<Shared>()) {}
Loop::Loop(Loop&& other) noexcept
    : event_(std::exchange(other.event_, nullptr)),
      exceptions_(std::move(other.exceptions_)),
      shared_(std::move(other.shared_)) {}
Loop::~Loop() {
    sd_event_unref(event_);
}

Result<Source> Loop::io(int fd, std::uint32_t events, IoHandler handler) {
    auto state = std::make_unique<Source::State>();
    state->exceptions = exceptions_.get();
    state->handler = std::move(handler);
    if (int r = sd_event_add_io(event_, &state->source, fd, events, on_io, state.get()); r < 0)
        return fail_errno("epoll", -r);
    return Source(std::move(state));
}

Result<Source> Loop::timer(Handler handler) {
    auto state = std::make_unique<Source::State>();
    state->exceptions = exceptions_.get();
    state->handler = [handler = std::move(handler)](std::uint32_t) { handler(); };
    state->once = state->timed = true;
    // One millisecond of slack lets the kernel fire neighbours together.
    if (int r = sd_event_add_time(event_, &state->source, CLOCK_MONOTONIC, 0, 1000, on_time, state.get()); r < 0)
        return fail_errno("timer", -r);
    if (int r = sd_event_source_set_enabled(state->source, SD_EVENT_OFF); r < 0) return fail_errno("timer", -r);
    return Source(std::move(state));
}

Result<Source> Loop::signal(int number, Handler handler) {
    auto state = std::make_unique<Source::State>();
    state->exceptions = exceptions_.get();
    state->handler = [handler = std::move(handler)](std::uint32_t) { handler(); };
    if (int r = sd_event_add_signal(event_, &state->source, number, on_signal, state.get()); r < 0)
        return fail_errno("signalfd", -r);
    // Children that end free what clients wait for.
    sd_event_source_set_priority(state->source, SD_EVENT_PRIORITY_IMPORTANT);
    return Source(std::move(state));
}

Result<Source> Loop::idle(Handler handler) {
    auto state = std::make_unique<Source::State>();
    state->exceptions = exceptions_.get();
    state->handler = [handler = std::move(handler)](std::uint32_t) { handler(); };
    state->once = true;
    if (int r = sd_event_add_defer(event_, &state->source, on_idle, state.get()); r < 0)
        return fail_errno("event loop", -r);
    sd_event_source_set_priority(state->source, SD_EVENT_PRIORITY_IDLE);
    if (int r = sd_event_source_set_enabled(state->source, SD_EVENT_OFF); r < 0) return fail_errno("event loop", -r);
    return Source(std::move(state));
}

void Loop::on_exception(std::function<void(const char* what)> told) {
    exceptions_->told = std::move(told);
}

bool Loop::attempt(const Handler& act) noexcept {
    return exceptions_->attempt(act);
}

Result<int> Loop::run() {
    const int r = sd_event_loop(event_);
    if (r < 0) return fail_errno("event loop", -r);
    return r;
}

Result<void> Loop::settle() {
    int r = 1;
    while (r > 0) r = sd_event_run(event_, 0);
    if (r < 0) return fail_errno("event loop", -r);
    return {};
}

void Loop::exit(int code) {
    sd_event_exit(event_, code);
}

}  // namespace superd::sys
