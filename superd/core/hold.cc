// SPDX-License-Identifier: MIT
#include "core/hold.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>

#include "base/place.h"
#include "base/signal.h"
#include "base/text.h"
#include "proc/hold_message.h"
#include "proc/hold_plan.h"
#include "proc/parking.h"
#include "proc/warm_process.h"

namespace superd::core {
namespace {

/// One that has been there for so long does not make its renewal wait.
constexpr Duration kLasted = std::chrono::seconds(10);

std::string how_it_ended(int status) {
    if (WIFSIGNALED(status)) return fmt::format("killed by {}", signal_name(WTERMSIG(status)));
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace

Hold::Hold(Engine& engine, const conf::Service& definition, std::function<void()> changed)
    : engine_(engine), definition_(definition), changed_(std::move(changed)), alarm_(engine.loop, [this] { ring(); }) {}

Hold::~Hold() {
    // It hears that its channel closes, and goes once nobody lives in it.
    for (const pid_t pid : pids_) engine_.children.erase(pid);
}

void Hold::begin() {
    if (is_ready() || is_coming() || alarm_.is_set()) return;  // a try that has failed is repeated by the alarm
    if (hangs()) return alarm_.set(now() + backoff_.next());
    if (auto started = start(); !started) fail_by(started.error().text);
}

Result<void> Hold::start() try {
    if (!engine_.holder) return fail("superd-hold is not installed");
    if (!plan_) {
        conf::Handler handler;
        handler.path = definition_.name;
        handler.argv = proc::hold_words(definition_, proc::is_administrator());
        plan_ = std::make_unique<proc::ExecPlan>(handler, conf::sandbox_of(conf::Preset::none), engine_.started_nofile);
        plan_->start_by(engine_.holder.get(), "superd-hold", proc::Start::direct);
    }
    auto pair = proc::make_channel(std::nullopt);
    if (!pair) return std::unexpected(pair.error());
    proc::Launch launch;
    launch.plan = plan_.get();
    launch.descriptors.push_back(engine_.null.duplicate());
    if (!launch.descriptors[0]) return fail_errno("descriptor of superd-hold", errno);
    launch.descriptors.push_back(std::move(pair->theirs));
    launch.number = {0, 0, 0, 1};
    static_assert(proc::kHoldChannel == 3);
    channel_ = std::move(pair->ours);
    auto source = engine_.loop.io(channel_.get(), EPOLLIN, [this](std::uint32_t) {
        listen();
        changed_();
    });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    pids_.reserve(pids_.size() + 2);
    Place whose(engine_.children);
    const auto pid = engine_.spawner.spawn(launch);
    if (!pid) return std::unexpected(pid.error());
    whose.take(*pid, this);
    starter_ = *pid;
    pids_.push_back(starter_);
    unsettled_ = Counted(engine_.unsettled);
    alarm_.set(now() + kPatience);
    return {};
} catch (const std::bad_alloc&) {
    return no_memory();
}

bool Hold::know(pid_t pid) try {
    if (!proc::is_own_child(pid)) return false;
    pids_.reserve(pids_.size() + 1);
    if (engine_.children.insert_or_assign(pid, this).second) pids_.push_back(pid);
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

void Hold::listen() {
    proc::HoldMessage message{};
    pid_t sender = 0;
    ssize_t n;
    do {
        n = proc::receive_from(channel_.get(), reinterpret_cast<char*>(&message), sizeof message, sender);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    } while (n == sizeof message && message.word == proc::HoldMessage::Word::begun && know(sender));
    if (n != sizeof message) return fail_by("superd-hold ended before it was ready");
    if (message.word == proc::HoldMessage::Word::begun) return fail_by("superd-hold is not a child of superd");
    if (message.word != proc::HoldMessage::Word::ready) {
        const std::string what(message.what, strnlen(message.what, sizeof message.what));
        return fail_by(fmt::format("{}: {}", what, errno_text(message.code)));
    }
    source_ = {};
    if (!proc::is_own_child(sender)) return fail_by("superd-hold is not a child of superd");
    if (auto taken = adopt(sender); !taken) return fail_by(taken.error().text);
    if (!std::exchange(told_, {}).empty())
        engine_.log.write(Level::notice, "the sandbox is there again", {{"SERVICE", definition_.name}});
}

Result<void> Hold::adopt(pid_t holder) try {
    process_ = sys::Fd(static_cast<int>(syscall(SYS_pidfd_open, holder, 0))).lifted();
    if (!process_) return fail_errno("pidfd of superd-hold", errno);
    holder_ = holder;
    pids_.reserve(pids_.size() + 1);
    if (engine_.children.insert_or_assign(holder, this).second) pids_.push_back(holder);
    alarm_.clear();
    unsettled_ = {};
    since_ = now();
    trouble_.clear();
    return {};
} catch (const std::bad_alloc&) {
    return no_memory();
}

/// Told once, until it is there or something else is the matter.
void Hold::fail_by(const std::string& why) {
    source_ = {};
    channel_.reset();
    process_.reset();
    unsettled_ = {};
    for (const pid_t pid : pids_) kill(pid, SIGKILL);
    holder_ = 0;
    trouble_ = fmt::format("its sandbox cannot be made: {}", escape(why));
    if (std::exchange(told_, trouble_) != trouble_)
        engine_.log.write(Level::error, fmt::format("{}; clients wait", trouble_), {{"SERVICE", definition_.name}});
    alarm_.set(now() + backoff_.next());
}

void Hold::ring() {
    if (is_ready()) return;
    if (!is_coming()) return begin();
    fail_by(fmt::format("superd-hold is not ready after {}", format_duration(kPatience)));
    changed_();
}

void Hold::exited(pid_t pid, int status, const rusage&) {
    std::erase(pids_, pid);
    const auto failure = engine_.spawner.reaped(pid);
    if (pid == holder_) return lost(pid, status);
    if (pid != starter_ || !is_coming()) return;
    listen();  // it may have said why
    if (!is_coming()) return;
    if (failure)
        fail_by(fmt::format("superd-hold: {}: {}", proc::name_of(failure->step), errno_text(failure->code)));
    else if (status != 0)
        fail_by(fmt::format("superd-hold ended: {}", how_it_ended(status)));
}

void Hold::lost(pid_t pid, int status) {
    holder_ = 0;
    channel_.reset();
    process_.reset();
    trouble_ = fmt::format("its sandbox is made again: superd-hold ended ({})", how_it_ended(status));
    engine_.log.write(Level::warning,
                      fmt::format("superd-hold, process {}, which keeps the sandbox, ended: {}; it is made again", pid,
                                  how_it_ended(status)),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
    if (now() - since_ >= kLasted) backoff_.reset();
    alarm_.set(now() + backoff_.next());
}

void Hold::after_exit() {
    changed_();
}

void Hold::overdue(pid_t pid) {
    engine_.log.write(Level::error, fmt::format("superd-hold did not start; process {} is killed", pid),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
}

HoldState Hold::write_down(sys::Descriptors& descriptors) const {
    HoldState state;
    if (is_ready()) state = {holder_, descriptors.keep(channel_), {}};
    std::ranges::copy_if(pids_, std::back_inserter(state.dying), [this](pid_t pid) { return pid != holder_; });
    return state;
}

Result<void> Hold::go_on(const HoldState& state, sys::Descriptors& descriptors) {
    for (const pid_t pid : state.dying) {
        if (!engine_.children.try_emplace(pid, this).second)
            return fail(fmt::format("{}: process {} is unknown", definition_.name, pid));
        pids_.push_back(pid);
    }
    if (state.pid <= 0) return {};
    if (engine_.children.contains(state.pid))
        return fail(fmt::format("{}: process {} is unknown", definition_.name, state.pid));
    channel_ = descriptors.claim(state.channel);
    return adopt(state.pid);
}

}  // namespace superd::core
