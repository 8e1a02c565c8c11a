// SPDX-License-Identifier: MIT
#include "core/generation.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>

#include "base/signal.h"
#include "base/text.h"
#include "core/client_environment.h"
#include "core/generation_launch.h"
#include "core/generation_tls.h"
#include "core/generation_warm.h"
#include "core/hold.h"
#include "core/service_cgroup.h"
#include "net/queue.h"
#include "proc/hold_plan.h"
#include "proc/parking.h"

namespace superd::core {
namespace {

/// Rounds of reading an ended worker's last reports: more messages than a socket's buffer holds.
constexpr int kLastWords = 32;

/// For a line about a child: its client, if it has one.
std::string prefix(const Child& child) {
    return child.peer.family() == AF_UNSPEC ? "" : child.peer.text() + ": ";
}

}  // namespace

Generation::Generation(Engine& engine, GenerationHost& host, const conf::Service& definition, std::size_t listeners)
    : engine_(engine),
      host_(host),
      definition_(definition),
      listeners_(static_cast<std::uint32_t>(listeners)),
      wake_(engine.loop,
            [this] {
                if (refills_by_alarm_) refill_by_alarm();
                model_->woken();
                host_.reconcile();
            }),
      linger_(engine.loop, [this] { linger_on(); }),
      model_(model::make_model(*this, definition_)) {
    if (proc::needs_holder(definition_))
        hold_ = std::make_unique<Hold>(engine_, definition_, [this] { host_.sandbox_changed(*this); });
    if (definition_.tls->on) secured_ = std::make_unique<Secured>(*this);
}

Generation::~Generation() {
    for (const auto& [pid, child] : children_) engine_.children.erase(pid);
}

const proc::ExecPlan& Generation::plan() {
    if (!plan_)
        plan_ = std::make_unique<proc::ExecPlan>(definition_.handler, definition_.sandbox, engine_.started_nofile);
    return *plan_;
}

const proc::ExecPlan& Generation::parked_plan() {
    if (!parked_plan_) {
        auto made = std::make_unique<proc::ExecPlan>(definition_.handler, definition_.sandbox, engine_.started_nofile);
        made->start_by(engine_.starter.get(), "superd-exec", proc::Start::parked);
        parked_plan_ = std::move(made);
    }
    return *parked_plan_;
}

bool Generation::has_sandbox() const {
    return !hold_ || hold_->is_ready();
}

const std::string& Generation::sandbox_trouble() const {
    static const std::string none;
    return hold_ ? hold_->trouble() : none;
}

bool Generation::takes_clients() const {
    return !secured_ || secured_->tls.is_ready();
}

const std::string& Generation::tls_trouble() const {
    static const std::string none;
    return secured_ ? secured_->tls.trouble() : none;
}

intake::Stage* Generation::handshake() {
    return secured_ ? &secured_->tls : nullptr;
}

bool Generation::ask_for_sandbox() {
    if (hold_) hold_->begin();
    return has_sandbox();
}

void Generation::enter_sandbox(proc::Launch& launch) const {
    if (hold_) launch.holder = hold_->process();
}

void Generation::drain() {
    if (drained_ || lingering_) return;
    drained_ = true;
    model_->drain();
    if (secured_) secured_->tls.drain();
    if (launches_) launches_->launcher.drain();
    if (warmth_) warmth_->let_go();
    if (warmth_) warmth_->warm.drain();
    wake_.clear();
    idle_ = {};
}

std::vector<pid_t> Generation::holders() const {
    std::vector<pid_t> pids;
    for (const auto& [pid, child] : children_)
        if (child.kind == Kind::owner || child.kind == Kind::worker) pids.push_back(pid);
    return pids;
}

void Generation::add_answering(std::vector<int>& sockets) const {
    for (const auto& [pid, child] : children_) {
        const int from = child.relay ? child.relay->answers_from() : child.session ? child.session->answers_from() : -1;
        if (from >= 0) sockets.push_back(from);
    }
}

std::optional<model::Client> Generation::take(std::size_t listener) {
    return host_.take(listener);
}
bool Generation::others_running() const {
    return host_.others_running(*this);
}

bool Generation::left_unread(const Child& child) {
    net::Listener* const from = socket(child.listener);
    const bool same = from != nullptr && !child.first.empty() && net::peek(from->fd()) == child.first;
    unread_ = same ? unread_ + 1 : 0;
    return unread_ >= 3;
}

bool Generation::watch_pair(pid_t pid, Child& child) {
    const int channel = child.warm ? child.warm->channel() : child.pair.get();
    auto source = engine_.loop.io(channel, EPOLLIN, [this, pid](std::uint32_t) { heard(pid); });
    if (!source) return false;
    // A worker that reports without end must not keep the loop from others.
    if (!source->limit(std::chrono::milliseconds(100), 100)) return false;
    child.pair_source = std::move(*source);
    return true;
}

void Generation::heard(pid_t pid) {
    const auto at = children_.find(pid);
    if (at == children_.end()) return;
    Child& child = at->second;
    if (child.warm) return hear_warm(child);
    bool closed = true;
    if (child.kind == Kind::worker) {
        bool open = true;
        if (read_reports(child, open)) {
            model_->reported(pid, child.reports);
            if (child.retired) ladder().heard(pid, child);
        }
        closed = !open;
        child.mute = closed && !child.retired;
    } else if (child.kind == Kind::handler) {
        // It got its client: silence means that the handler runs.
        child.exec_failure = proc::exec_failure(child.pair.get());
        if (child.exec_failure) child.unsettled = Counted(engine_.unsettled);
    }
    if (!closed) return;
    child.pair_source = {};
    child.pair.reset();
}

bool Generation::read_reports(Child& child, bool& open) {
    const model::Records records = child.read_reports(open);
    host_.stats().accepted += static_cast<std::uint64_t>(records.busy);
    return !records.none();
}

bool Generation::has_socket(std::size_t listener) const {
    return socket(listener) != nullptr;
}

std::size_t Generation::waiting(std::size_t listener) const {
    const net::Listener* const from = socket(listener);
    return from != nullptr ? net::waiting(*from) : 0;
}

void Generation::wake_at(Instant when) {
    refills_by_alarm_ ? wake_.set_by(when) : wake_.set(when);
}

/// If it throws, the alarm rings again.
void Generation::refill_by_alarm() try {
    refills_by_alarm_ = false;
    model_->refill();
} catch (...) {
    refills_by_alarm_ = true;
    throw;
}

void Generation::when_idle() {
    if (!idle_)
        if (auto source = engine_.loop.idle([this] { model_->refill(); })) idle_ = std::move(*source);
    if (idle_ && idle_.enable_once()) return;
    refills_by_alarm_ = true;  // there is no memory for it
    wake_.set_by(now() + sys::Loop::kTryAgain);
}

void Generation::exited(pid_t pid, int status, const rusage& used) {
    if (launches_) launches_->launcher.listen();  // it may have told that it could not execute its program
    const auto at = children_.find(pid);
    if (at == children_.end()) return;
    bool open = true;
    // Its reports are there. Another process with its end may go on reporting for ever.
    for (int i = 0; i < kLastWords && at->second.kind == Kind::worker && at->second.pair; ++i)
        if (!read_reports(at->second, open)) break;
    Child child = std::move(at->second);
    children_.erase(at);
    if (child.kind == Kind::parked) --parked_;
    if (ServiceCgroup* const group = child.leaf != 0 ? host_.cgroup() : nullptr) group->end_leaf(child.leaf);
    auto how = model::End::well;
    std::exception_ptr no_memory;
    const auto keep_on = [&](auto&& part) {
        try {
            part();
        } catch (const std::bad_alloc&) {
            no_memory = std::current_exception();  // a model that still knows this child would wait for it for ever
        }
    };
    keep_on([&] { how = conclude(pid, child, status, used); });
    if (child.relay) keep_on([&] { child.relay->finish(); });
    if (child.kind == Kind::owner || child.kind == Kind::worker) host_.socket_came_back(*this);
    child.charge = {};  // its place is for the child that the model starts now
    if (child.session) keep_on([&] { host_.session_over(*child.session); });
    child.moving ? model_->park_failed() : model_->exited(pid, how);
    if (lingering_ && waiting(lingering_->listener) > 0) model_->ready(lingering_->listener);
    if (no_memory) std::rethrow_exception(no_memory);
}

model::End Generation::conclude(pid_t pid, Child& child, int status, const rusage& used) {
    Exit end(child, status, failure_of(pid, child), now());
    if (ServiceCgroup* const group = end.may_be_for_memory() ? host_.cgroup() : nullptr)
        end.note_for_memory(group->explains_kill());
    if (end.failure() && end.failure()->step == proc::Step::cgroup)
        if (ServiceCgroup* const group = host_.cgroup()) (void)group->blames({"enter it", end.failure()->code});
    if (!end.failure() && child.kind != Kind::parked) host_.has_started(child.started);
    if (!end.is_scarcity()) end.failure() ? log_failure(pid, child, *end.failure()) : log_exit(pid, child, end, used);
    take_back(child, end);
    const bool may_be_forged = child.relay || child.session;
    if (const auto well = end.started_well(); well && *well)
        host_.started_well();
    else if (well && end.failure())
        host_.started_badly(std::nullopt);
    else if (well && !may_be_forged)
        host_.started_badly(child.charge.source().value_or(admit::SourceKey()));
    // Once it is known whether this very end has put the service into back-off.
    if (const auto what = may_be_forged ? std::nullopt : end.offence())
        if (const auto source = child.charge.source()) host_.offended(child.peer, *source, *what);
    const bool unread = child.kind == Kind::owner && left_unread(child);
    if (end.by_signal() && !end.as_told() && child.copy_of != 0) copy_ended(child.copy_of, end.number());
    return end.end(unread, definition_.prefork->max_requests.has_value());
}

void Generation::after_exit() {
    host_.child_left(*this);
}

std::optional<proc::SpawnFailure> Generation::failure_of(pid_t pid, Child& child) {
    auto failure = engine_.spawner.reaped(pid);
    if (child.kind == Kind::handler && child.pair) child.exec_failure = proc::exec_failure(child.pair.get());
    return child.exec_failure ? std::move(child.exec_failure) : std::move(failure);
}

void Generation::take_back(Child& child, Exit& end) {
    auto& failure = end.failure();
    if (!failure || !failure->connection || child.kind != Kind::handler) return;
    model::Client client;
    client.connection = std::move(failure->connection);
    if (child.known) {
        client.local = std::move(child.known->local);
        client.variables = std::move(child.known->variables);
        client.introduction = child.known->introduction;
    } else {
        client.local = sys::Address::of_socket(client.connection.get());
    }
    client.peer = child.peer;
    client.charge = std::move(child.charge);
    if (!end.is_scarcity()) return host_.refuse(std::move(client));
    // Neither the handler nor the client is to blame: the client keeps waiting.
    host_.stall(std::move(client));
    host_.back_off(fail_errno(fmt::format("start {}", definition_.handler.path), failure->code).error());
}

void Generation::log_failure(pid_t pid, const Child& child, const proc::SpawnFailure& failure) {
    ++host_.stats().spawn_failures;
    host_.could_not_start(child.started,
                          fmt::format("no handler can be started: {} {}: {}", proc::name_of(failure.step),
                                      definition_.handler.path, errno_text(failure.code)));
    engine_.log.write(Level::error,
                      fmt::format("{}cannot start {}: {}: {}", prefix(child), definition_.handler.path,
                                  proc::name_of(failure.step), errno_text(failure.code)),
                      {{"SERVICE", definition_.name},
                       {"STEP", proc::name_of(failure.step)},
                       {"ERRNO", failure.code},
                       {"PEER", child.peer.text()},
                       {"CHILD_PID", pid}});
}

/// nullopt: it is not asked for, or this was no handler.
std::optional<HandlerUsage> Generation::usage_of(const Child& child, const rusage& used) const {
    if (!definition_.log_usage || child.kind != Kind::handler) return std::nullopt;
    rusage own{};
    getrusage(RUSAGE_SELF, &own);
    return HandlerUsage(used, own, child.copy_of != 0,
                        child.connection ? net::tcp_usage(child.connection.get()) : std::nullopt);
}

void Generation::log_exit(pid_t pid, const Child& child, const Exit& end, const rusage& used) {
    end.count(host_.stats());
    const auto usage = usage_of(child, used);
    if (usage) usage->add_to(host_.stats().usage);
    const bool all = definition_.log_connections == conf::LogConnections::all && child.kind != Kind::parked;
    if (definition_.log_connections == conf::LogConnections::none || (!end.is_abnormal() && !all)) return;
    const auto age = std::chrono::floor<std::chrono::milliseconds>(end.lived());
    std::vector<Field> fields = {{"SERVICE", definition_.name},
                                 {"PEER", child.peer.text()},
                                 {"CHILD_PID", pid},
                                 {"STATUS", end.number()},
                                 {"ENDED", end.by_signal() ? "signal" : "exit"},
                                 {"DURATION_USEC", end.lived().count()}};
    if (usage) usage->add_to(fields);
    engine_.log.write(end.is_abnormal() ? Level::notice : Level::info,
                      fmt::format("{}{} {} ended after {}: {}{}", prefix(child), name_of(child.kind), pid,
                                  format_roughly(age), end.how(), usage ? usage->text() : ""),
                      fields);
}

void Generation::report(std::vector<ProcessReport>& out, std::size_t most, bool former) const {
    static constexpr const char* kKinds[] = {"handler", "owner", "worker", "parked"};
    const Instant time = now();
    for (const auto& [pid, child] : children_) {
        if (out.size() >= most) return;
        ProcessReport report;
        report.service = definition_.name;
        report.pid = pid;
        report.kind = child.session ? "session" : kKinds[static_cast<int>(child.kind)];
        if (child.peer.family() != AF_UNSPEC) report.peer = child.peer.text();
        report.age = time - child.started;
        if (child.reports.any()) report.busy = !child.reports.idle();
        report.stopping = child.stopping;
        report.former = former;
        out.push_back(std::move(report));
    }
    const auto add = [&](const char* kind, pid_t pid, Instant since) {
        if (pid == 0 || out.size() >= most) return;
        ProcessReport& report = out.emplace_back();
        report.service = definition_.name;
        report.pid = pid;
        report.kind = kind;
        report.age = time - since;
        report.former = former;
    };
    if (hold_) add("holder", hold_->pid(), hold_->since());
    if (secured_) add("tls", secured_->tls.pid(), secured_->tls.since());
    if (launches_) add("launcher", launches_->launcher.pid(), launches_->launcher.since());
    report_warm(out, most, former);
}

void Generation::overdue(pid_t pid) {
    engine_.log.write(Level::error,
                      fmt::format("{} did not start within {}; process {} is killed", definition_.handler.path,
                                  format_duration(proc::Spawner::kExecDeadline), pid),
                      {{"SERVICE", definition_.name}, {"STEP", "exec"}, {"CHILD_PID", pid}});
}

}  // namespace superd::core
