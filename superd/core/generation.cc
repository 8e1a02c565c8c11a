// SPDX-License-Identifier: MIT
#include "core/generation.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>

#include "base/signal.h"
#include "base/text.h"
#include "core/client_environment.h"
#include "core/service.h"
#include "net/queue.h"
#include "proc/parking.h"

namespace superd::core {
namespace {

/// A worker or parked process that leaves sooner than this without a request is not worth replacing at once.
constexpr Duration kEarly = std::chrono::seconds(1);
/// Rounds of reading what a worker that has ended said last: more messages than a socket's buffer holds.
constexpr int kLastWords = 64;
/// A retired worker that leaves without being signalled does so within this time once it has no client.
constexpr Duration kHint = std::chrono::seconds(1);
/// A handler that fails sooner than this has hardly looked at its client.
constexpr Duration kBadStart = std::chrono::milliseconds(100);

/// The whole session of a handler; before its setsid(2) just the process.
void signal_child(pid_t pid, int number) {
    if (kill(-pid, number) != 0 && errno == ESRCH) kill(pid, number);
}

}  // namespace

Generation::Generation(Engine& engine, Service& service, const conf::Service& definition, std::size_t listeners)
    : engine_(engine),
      service_(service),
      definition_(definition),
      listeners_(static_cast<std::uint32_t>(listeners)),
      wake_(engine.loop,
            [this] {
                model_->woken();
                service_.reconcile();
            }),
      linger_(engine.loop, [this] { linger_on(); }),
      model_(model::make_model(*this, definition_)) {}

Generation::~Generation() {
    for (const auto& [pid, child] : children_) engine_.children.erase(pid);
}

Generation::Ends& Generation::ends() {
    if (ends_) return *ends_;
    const auto alive = [this](pid_t pid, std::uint64_t serial) { return is_alive(pid, serial); };
    const auto too_old = [this](pid_t pid, std::uint64_t) {
        Child& child = children_.at(pid);
        engine_.log.write(Level::notice,
                          fmt::format("{} {} is older than max_lifetime and is ended", name_of(child.kind), pid),
                          {{"SERVICE", definition_.name}, {"CHILD_PID", pid}, {"PEER", child.peer.text()}});
        stop_child(pid, child);
    };
    const auto late = [this](pid_t pid, std::uint64_t) {
        Child& child = children_.at(pid);
        child.retired ? press(pid, child) : kill_late(pid);
    };
    const auto hinted = [this](pid_t pid, std::uint64_t) { press(pid, children_.at(pid)); };
    ends_.reset(new Ends{{engine_.loop, definition_.max_lifetime.value_or(Duration::zero()), alive, too_old},
                         {engine_.loop, definition_.stop_timeout, alive, late},
                         {engine_.loop, kHint, alive, hinted},
                         {engine_.loop, retirement()}});
    return *ends_;
}

const proc::ExecPlan& Generation::plan() {
    if (!plan_) plan_ = std::make_unique<proc::ExecPlan>(definition_.handler, engine_.started_nofile);
    return *plan_;
}

const proc::ExecPlan& Generation::parked_plan() {
    if (!parked_plan_) {
        auto made = std::make_unique<proc::ExecPlan>(definition_.handler, engine_.started_nofile);
        made->start_by(engine_.starter.get());
        parked_plan_ = std::move(made);
    }
    return *parked_plan_;
}

void Generation::drain() {
    if (drained_ || lingering_) return;
    drained_ = true;
    model_->drain();
    wake_.clear();
    idle_ = {};
}

bool Generation::is_alive(pid_t pid, std::uint64_t serial) const {
    const auto at = children_.find(pid);
    return at != children_.end() && at->second.serial == serial;
}

void Generation::stop() {
    if (lingering_) (void)end_linger();
    drain();
    for (auto& [pid, child] : children_) stop_child(pid, child);
}

void Generation::kill_all() {
    for (auto& [pid, child] : children_) {
        child.stopping = true;
        signal_child(pid, SIGKILL);
    }
}

std::vector<pid_t> Generation::holders() const {
    std::vector<pid_t> pids;
    for (const auto& [pid, child] : children_)
        if (child.kind == Kind::owner || child.kind == Kind::worker) pids.push_back(pid);
    return pids;
}

void Generation::stop_holders() {
    const bool datagrams = definition_.socket_type() == conf::SocketType::datagram;
    for (auto& [pid, child] : children_) {
        const bool owner = child.kind == Kind::owner;
        if (datagrams && (owner || child.kind == Kind::worker))
            stop_child(pid, child);
        else if (owner && !child.stopping)
            retire(pid);
    }
}

void Generation::stop_child(pid_t pid, Child& child) {
    if (child.stopping && child.kind == Kind::handler) return;
    child.stopping = true;
    child.retired = false;
    // A stopped process would never see its signal.
    signal_child(pid, SIGCONT);
    signal_child(pid, definition_.stop_signal);
    ends().kills.add(pid, child.serial);
}

const char* Generation::name_of(Kind kind) {
    static constexpr const char* kNames[] = {"handler", "handler", "worker", "parked process"};
    return kNames[static_cast<int>(kind)];
}

std::optional<model::Client> Generation::take(std::size_t listener) {
    return service_.take(listener);
}
bool Generation::others_running() const {
    return service_.others_running(*this);
}

bool Generation::left_unread(const Child& child) {
    net::Listener* const from = socket(child.listener);
    const bool same = from != nullptr && !child.first.empty() && net::peek(from->fd()) == child.first;
    unread_ = same ? unread_ + 1 : 0;
    return unread_ >= 3;
}

bool Generation::watch_pair(pid_t pid, Child& child) {
    auto source = engine_.loop.io(child.pair.get(), EPOLLIN, [this, pid](std::uint32_t) { heard(pid); });
    if (!source) return false;
    // A worker that speaks without end must not keep the loop from everybody else.
    if (!source->limit(std::chrono::milliseconds(100), 100)) return false;
    child.pair_source = std::move(*source);
    return true;
}

void Generation::heard(pid_t pid) {
    const auto at = children_.find(pid);
    if (at == children_.end()) return;
    Child& child = at->second;
    bool closed = true;
    if (child.kind == Kind::worker) {
        bool open = true;
        if (read_reports(child, open)) {
            model_->reported(pid, child.reports);
            if (child.retired && child.reports.idle()) ends().retired.add(pid, child.serial);
        }
        closed = !open;
        child.mute = closed && !child.retired;
    } else if (child.kind == Kind::handler) {
        // It was handed its client: silence means that the handler runs.
        child.exec_failure = proc::exec_failure(child.pair.get());
    }
    if (!closed) return;
    child.pair_source = {};
    child.pair.reset();
}

bool Generation::read_reports(Child& child, bool& open) {
    model::Records records;
    char message[model::Records::kMessage];
    ssize_t n;
    // Bounded, since one that never stops must hold nobody up.
    for (int i = 0; i < 16 && (n = sys::receive_without_rights(child.pair.get(), message, sizeof message)) > 0; ++i)
        records.read({message, static_cast<std::size_t>(n)});
    open = n > 0 || (n < 0 && errno == EAGAIN);
    if (records.none()) return false;
    child.reports.add(records.busy, records.idle, records.busy_first);
    service_.stats().accepted += static_cast<std::uint64_t>(records.busy);
    return true;
}

void Generation::kill_late(pid_t pid) {
    const Child& child = children_.at(pid);
    engine_.log.write(Level::notice, fmt::format("{} {} did not leave in time and is killed", name_of(child.kind), pid),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
    // A retired worker that says nothing alone: what it has started may have a client.
    if (child.retired && child.silent())
        kill(pid, SIGKILL);
    else
        signal_child(pid, SIGKILL);
}

bool Generation::has_socket(std::size_t listener) const {
    return socket(listener) != nullptr;
}

std::size_t Generation::waiting(std::size_t listener) const {
    const net::Listener* const from = socket(listener);
    return from != nullptr ? net::waiting(*from) : 0;
}

void Generation::wake_at(Instant when) {
    if (auto set = wake_.set(when); !set) service_.back_off(set.error());
}

void Generation::when_idle() {
    if (!idle_) {
        auto source = engine_.loop.idle([this] { model_->refill(); });
        if (!source) return service_.back_off(source.error());
        idle_ = std::move(*source);
    }
    (void)idle_.enable_once();
}

void Generation::exited(pid_t pid, int status) {
    const auto at = children_.find(pid);
    if (at == children_.end()) return;
    bool open = true;
    // What it has said is there. Whoever has its end as well may go on saying things for ever.
    for (int i = 0; i < kLastWords && at->second.kind == Kind::worker && at->second.pair; ++i)
        if (!read_reports(at->second, open)) break;
    Child child = std::move(at->second);
    children_.erase(at);
    auto failure = engine_.spawner.reaped(pid);
    if (child.kind == Kind::handler && child.pair) child.exec_failure = proc::exec_failure(child.pair.get());
    if (child.exec_failure) failure = std::move(child.exec_failure);
    if (child.kind == Kind::parked) --parked_;
    const bool scarce = failure && failure->connection && proc::is_scarcity(failure->code);
    if (!failure && child.kind != Kind::parked) service_.has_started(child.started);
    if (!scarce) log_exit(pid, child, status, failure);
    if (failure && failure->connection && child.kind == Kind::handler) {
        model::Client client;
        client.local = sys::Address::of_socket(failure->connection.get());
        client.connection = std::move(failure->connection);
        client.peer = child.peer;
        client.charge = std::move(child.charge);
        if (scarce) {  // not the handler's fault, and not its client's: it goes on waiting
            service_.back_off(fail_errno(fmt::format("start {}", definition_.handler.path), failure->code).error());
            service_.stall(std::move(client));
        } else {
            service_.refuse(std::move(client));
        }
    }
    if (child.kind == Kind::handler && !scarce) {
        const bool failed = status != 0 && !child.stopping && now() - child.started < kBadStart;
        service_.start_went(!failure && !failed, failure.has_value());
    }
    // A worker or parked process has no business to leave at once; whoever serves may, unless it fails.
    const bool stays = child.kind == Kind::worker || child.kind == Kind::parked;
    const Duration lived = now() - child.started;
    const bool useless =
        (stays || status != 0) && child.reports.clients == 0 && lived < (status == 0 ? kBadStart : kEarly);
    const bool unread = child.kind == Kind::owner && left_unread(child);
    if (child.kind == Kind::owner || child.kind == Kind::worker) service_.socket_came_back(*this);
    child.charge = {};  // its place is for whom the model starts now
    const bool told = child.stopping;
    // One that says nothing and has served its max_requests within a moment looks like one that left at once.
    const bool hasty = child.kind == Kind::worker && status == 0 && !failure && !child.reports.any() &&
                       definition_.prefork.max_requests.has_value();
    const bool badly = (failure || useless || unread) && !told;
    model_->exited(pid, !badly ? model::End::well : hasty ? model::End::hasty : model::End::badly);
    if (lingering_ && waiting(lingering_->listener) > 0) model_->ready(lingering_->listener);
}

void Generation::after_exit() {
    service_.child_left(*this);
}

void Generation::log_exit(pid_t pid, const Child& child, int status, const std::optional<proc::SpawnFailure>& failure) {
    const std::string peer = child.peer.family() == AF_UNSPEC ? "" : child.peer.text() + ": ";
    if (failure) {
        ++service_.stats().spawn_failures;
        service_.could_not_start(child.started,
                                 fmt::format("no handler can be started: {} {}: {}", proc::name_of(failure->step),
                                             definition_.handler.path, errno_text(failure->code)));
        engine_.log.write(Level::error,
                          fmt::format("{}cannot start {}: {}: {}", peer, definition_.handler.path,
                                      proc::name_of(failure->step), errno_text(failure->code)),
                          {{"SERVICE", definition_.name},
                           {"STEP", proc::name_of(failure->step)},
                           {"ERRNO", failure->code},
                           {"PEER", child.peer.text()},
                           {"CHILD_PID", pid}});
        return;
    }
    const bool signalled = WIFSIGNALED(status);
    const bool abnormal = status != 0 && !as_told(child, status);
    count_exit(child, status);
    const bool all = definition_.log_connections == conf::LogConnections::all && child.kind != Kind::parked;
    if (definition_.log_connections == conf::LogConnections::none || (!abnormal && !all)) return;
    const auto how = signalled ? fmt::format("killed by {}", signal_name(WTERMSIG(status)))
                               : fmt::format("exit status {}", WEXITSTATUS(status));
    const auto age = std::chrono::floor<std::chrono::milliseconds>(now() - child.started);
    engine_.log.write(
        abnormal ? Level::notice : Level::info,
        fmt::format("{}{} {} ended after {}: {}", peer, name_of(child.kind), pid, format_roughly(age), how),
        {{"SERVICE", definition_.name},
         {"PEER", child.peer.text()},
         {"CHILD_PID", pid},
         {"STATUS", signalled ? WTERMSIG(status) : WEXITSTATUS(status)},
         {"ENDED", signalled ? "signal" : "exit"},
         {"DURATION_USEC", (now() - child.started).count()}});
}

bool Generation::as_told(const Child& child, int status) {
    return child.stopping || (child.sent != 0 && WIFSIGNALED(status) && WTERMSIG(status) == child.sent);
}

void Generation::count_exit(const Child& child, int status) {
    Stats& stats = service_.stats();
    if (status != 0 && !as_told(child, status)) ++stats.failures;
    if (child.kind == Kind::parked) return;
    if (child.kind != Kind::worker) stats.handler_time.add(now() - child.started);
    if (status == 0) {
        ++stats.exits.ok;
    } else if (as_told(child, status)) {
        ++stats.exits.stopped;
    } else {
        ++(WIFSIGNALED(status) ? stats.exits.killed : stats.exits.failed);
    }
}

void Generation::report(std::vector<ProcessReport>& out, std::size_t most, bool former) const {
    static constexpr const char* kKinds[] = {"handler", "owner", "worker", "parked"};
    const Instant time = now();
    for (const auto& [pid, child] : children_) {
        if (out.size() >= most) return;
        ProcessReport report;
        report.service = definition_.name;
        report.pid = pid;
        report.kind = kKinds[static_cast<int>(child.kind)];
        if (child.peer.family() != AF_UNSPEC) report.peer = child.peer.text();
        report.age = time - child.started;
        if (child.reports.any()) report.busy = !child.reports.idle();
        report.stopping = child.stopping;
        report.former = former;
        out.push_back(std::move(report));
    }
}

void Generation::end_children(std::optional<int> number, std::vector<pid_t>& signalled) {
    std::vector<pid_t> pids;
    for (const auto& [pid, child] : children_)
        if (child.kind != Kind::parked) pids.push_back(pid);
    for (const pid_t pid : pids) end_child(pid, number);
    signalled.insert(signalled.end(), pids.begin(), pids.end());
}

bool Generation::end_child(pid_t pid, std::optional<int> number) {
    const auto at = children_.find(pid);
    if (at == children_.end()) return false;
    if (!number) return stop_child(pid, at->second), true;
    at->second.sent = *number;
    signal_child(pid, *number);
    return true;
}

void Generation::overdue(pid_t pid) {
    engine_.log.write(Level::error,
                      fmt::format("{} did not start within {}; process {} is killed", definition_.handler.path,
                                  format_duration(proc::Spawner::kExecDeadline), pid),
                      {{"SERVICE", definition_.name}, {"STEP", "exec"}, {"CHILD_PID", pid}});
}

}  // namespace superd::core
