// SPDX-License-Identifier: MIT
#include "core/launcher.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/signal.h"
#include "core/client_environment.h"

namespace superd::core {

using proc::launch::Word;

namespace {

constexpr Duration kLasts = std::chrono::minutes(1);

}  // namespace

Launcher::Launcher(Engine& engine, Host& host, const conf::Service& definition)
    : engine_(engine), host_(host), definition_(definition), alarm_(engine.loop, [this] { ring(); }) {}

Launcher::~Launcher() {
    for (const pid_t pid : pids_) engine_.children.erase(pid);
    engine_.unanswered.erase(this);
}

bool Launcher::serve(model::Client& client) try {
    if (drained_) return false;
    if (!channel_) start();
    const Instant time = now();
    if (!ready_ || asked_.size() >= kMostUnanswered || (!asked_.empty() && time - asked_.front().since > kKeepsUp))
        return false;
    const bool to_client = definition_.handler.error_output == conf::Stderr::socket;
    const auto variables = client_environment(client);
    engine_.unanswered.insert(this);
    asked_.push_back({++serial_, time, {}});
    set_alarm();  // once it has been sent, nothing may fail
    if (!proc::order_launch(channel_.get(), serial_, client.connection.get(), variables, to_client)) {
        asked_.pop_back();
        if (asked_.empty()) engine_.unanswered.erase(this);
        return false;
    }
    asked_.back().client = std::move(client);
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

void Launcher::start() try {
    if (!engine_.launcher || (again_at_ && now() < *again_at_)) return;
    again_at_ = now() + backoff_.next();
    auto pair = proc::make_launch_channel();
    if (!pair) return;
    pids_.reserve(pids_.size() + 1);
    channel_ = std::move(pair->ours);
    Result<void> watched = watch();
    if (watched)
        if (const auto pid = host_.start(*this, std::move(pair->theirs))) {
            pid_ = *pid;
            alive_ = true;
            pids_.push_back(pid_);
            since_ = now();
            return set_alarm();
        }
    source_ = {};
    channel_.reset();
} catch (const std::bad_alloc&) {  // before there is one
    source_ = {};
    channel_.reset();
}

Result<void> Launcher::watch() {
    auto source = engine_.loop.io(channel_.get(), EPOLLIN, [this](std::uint32_t) {
        listen();
        over();
    });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    return {};
}

void Launcher::listen() {
    bool open = true;
    // What it may tell is bounded by what it has been asked.
    while (channel_ && open)
        if (auto word = proc::launch_word(channel_.get(), open))
            take(std::move(*word));
        else if (open)
            return;
    if (channel_ && !open) {
        gone_ = pid_;
        close();
    }
    if (!cold_.empty()) alarm_.set_by(now());
}

void Launcher::take(proc::LaunchWord word) {
    const auto& [kind, serial, code] = word.answer;
    if (kind == Word::ready && word.sender == pid_) {
        ready_ = true;
        return;
    }
    const auto asked = std::ranges::find(asked_, serial, &Asked::serial);
    if (kind == Word::going && asked != asked_.end() && !engine_.children.contains(word.sender) &&
        proc::is_own_child(word.sender)) {
        model::Client client = std::move(asked->client);
        asked_.erase(asked);
        return host_.serves(word.sender, std::move(client));
    }
    if (kind == Word::failed && word.sender == pid_ && asked != asked_.end()) {
        cold_.push_back(std::move(asked->client));
        asked_.erase(asked);
        return;
    }
    if (kind == Word::failed && host_.not_executed(word.sender, code, std::move(word.connection))) return;
    close();  // it does not say such things
}

void Launcher::close() {
    if (!channel_) return;
    // One that handlers of its user stop or kill again and again is not worth starting.
    if (now() - since_ >= kLasts) backoff_.reset();
    if (alive_) kill(pid_, SIGKILL);  // a stopped one would not find its channel closed
    // From here on a process that has not told of itself hears that nobody listens, and ends.
    shutdown(channel_.get(), SHUT_RD);
    source_ = {};
    sys::GuardedFd channel = std::move(channel_);
    bool open = true;
    for (std::size_t i = 0; i <= 2 * kMostUnanswered && open; ++i) {
        auto word = proc::launch_word(channel.get(), open);
        if (!word) break;
        take(std::move(*word));
    }
    for (Asked& asked : asked_) cold_.push_back(std::move(asked.client));
    asked_.clear();
    ready_ = false;
    pid_ = 0;
    left_ = true;
}

void Launcher::drain() {
    drained_ = true;
    if (asked_.empty()) close();
}

void Launcher::kill_all() {
    if (alive_) kill(pid_, SIGKILL);
}

void Launcher::hear_all(Duration most) {
    const Instant until = now() + most;
    while (channel_) {
        pollfd one{channel_.get(), POLLIN, 0};
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now()).count();
        if (poll(&one, 1, std::max(0, static_cast<int>(left))) <= 0) break;
        listen();
        if (asked_.empty() || now() >= until) break;
    }
    over();
}

void Launcher::exited(pid_t pid, int status, const rusage&) {
    std::erase(pids_, pid);
    left_ = true;
    const auto failure = engine_.spawner.reaped(pid);
    const bool current = pid == pid_;
    if (current) alive_ = false;
    if (!current && pid != gone_) return;
    gone_ = 0;
    if (drained_) return;
    std::string why = WIFSIGNALED(status) ? fmt::format("killed by {}", signal_name(WTERMSIG(status)))
                                          : fmt::format("exit status {}", WEXITSTATUS(status));
    if (failure) why = fmt::format("{}: {}", proc::name_of(failure->step), errno_text(failure->code));
    if (std::exchange(told_, why) != why)
        engine_.log.write(
            Level::notice,
            fmt::format("superd-launch, process {}, ended: {}; handlers are started without it meanwhile", pid, why),
            {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
    if (!current) return;
    listen();
    gone_ = 0;
    close();
}

void Launcher::after_exit() {
    over();
}

void Launcher::overdue(pid_t pid) {
    engine_.log.write(Level::error, fmt::format("superd-launch did not start; process {} is killed", pid),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
}

void Launcher::set_alarm() {
    if (asked_.empty()) return alarm_.clear();
    alarm_.set_by(asked_.front().since + kPatience);
}

void Launcher::ring() {
    if (!asked_.empty() && asked_.front().since + kPatience <= now()) {
        engine_.log.write(
            Level::notice,
            fmt::format("superd-launch, process {}, does not answer and is killed; its clients are served without it",
                        pid_),
            {{"SERVICE", definition_.name}, {"CHILD_PID", pid_}});
        close();
    }
    over();
}

void Launcher::over() {
    if (drained_ && asked_.empty()) close();
    while (!cold_.empty()) {
        model::Client client = std::move(cold_.front());
        cold_.pop_front();
        host_.serve_directly(std::move(client));
    }
    set_alarm();
    if (asked_.empty()) engine_.unanswered.erase(this);
    if (std::exchange(left_, false)) host_.left();
}

LauncherState Launcher::write_down(sys::Descriptors& descriptors) const {
    if (!channel_ || !ready_) return {};
    return {pid_, descriptors.keep(channel_), proc::launch::kVersion};
}

Result<void> Launcher::go_on(const LauncherState& state, sys::Descriptors& descriptors) {
    if (state.pid <= 0) return {};
    if (engine_.children.contains(state.pid))
        return fail(fmt::format("{}: process {} is unknown", definition_.name, state.pid));
    channel_ = descriptors.claim(state.channel);
    engine_.children[state.pid] = this;
    pid_ = state.pid;
    alive_ = true;
    pids_.push_back(pid_);
    ready_ = true;
    outdated_ = state.version != proc::launch::kVersion;
    since_ = now();
    return watch();
}

void Launcher::take_up() {
    if (!std::exchange(outdated_, false)) return;
    engine_.log.write(Level::info,
                      fmt::format("superd-launch, process {}, is of another version and is replaced", pid_),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid_}});
    close();
    over();
}

}  // namespace superd::core
