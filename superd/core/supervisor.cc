// SPDX-License-Identifier: MIT
#include "core/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <set>

#include "base/text.h"
#include "core/awaited.h"
#include "core/service_cgroup.h"

namespace superd::core {
namespace {

/// For the handlers' end after a drain: systemd's own default for a whole stop.
constexpr auto kManagersPatience = std::chrono::seconds(90);
/// Of a stop, beyond what handlers have.
constexpr auto kForTheRest = std::chrono::seconds(10);

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::create(sys::Loop& loop, Log& log, sys::ServiceManager& manager,
                                                       Invocation invocation, std::vector<sys::PassedSocket> passed) {
    std::unique_ptr<Supervisor> supervisor(
        new Supervisor(loop, log, manager, std::move(invocation), std::move(passed)));
    if (auto done = supervisor->set_up(); !done) return std::unexpected(done.error());
    return supervisor;
}

Supervisor::Supervisor(sys::Loop& loop, Log& log, sys::ServiceManager& manager, Invocation invocation,
                       std::vector<sys::PassedSocket> passed)
    : loop_(loop),
      log_(log),
      manager_(manager),
      invocation_(std::move(invocation)),
      store_(log, manager, passed),
      passed_(std::move(passed)) {}

Supervisor::~Supervisor() {
    manager_.on_room({});
    // Children on their way read what services own; services call their ports while they go.
    spawner_.reset();
    services_.clear();
    strays_.clear();
    if (stops_ > 0) cgroups_->release();
    ports_.clear();
}

Result<void> Supervisor::set_up() {
    auto spawner = proc::Spawner::create(loop_, [this](pid_t pid) {
        if (const auto at = engine_->children.find(pid); at != engine_->children.end()) at->second->overdue(pid);
    });
    if (!spawner) return std::unexpected(spawner.error());
    spawner_ = std::move(*spawner);
    const auto port_came = [this](Port& port) {
        store_.keep(port);
        report_to_manager();
        look_soon();
    };
    const auto look = [this] { look_soon(); };
    engine_.reset(new Engine{
        loop_, log_, *spawner_, manager_, invocation_.started_nofile, {}, {}, {}, port_came, {}, look, [this] {
            report_to_manager();
        }});
    cgroups_ = std::make_unique<Cgroups>(loop_, log_, engine_->file_watches);
    engine_->cgroups = cgroups_.get();
    watch_ = std::make_unique<Watch>(
        loop_, log_, engine_->file_watches,
        Watch::Owner{[this](const auto& files) { return look_at_files(files); }, [this] { (void)reload(); }});
    // The last of a service need not be a child's end: a channel may close after that, or a held client go.
    auto forget = loop_.idle([this] { forget_finished(); });
    if (!forget) return std::unexpected(forget.error());
    forget_ = std::move(*forget);
    engine_->forget_soon = [this] { (void)forget_.enable_once(); };
    // Only its owner may read it, so that parked processes cannot be dumped.
    engine_->starter = sys::Fd(open(invocation_.starter.c_str(), O_PATH | O_CLOEXEC));
    if (!engine_->starter) return fail_errno(fmt::format("open {}", invocation_.starter), errno);
    engine_->warmer = sys::Fd(open(invocation_.warmer.c_str(), O_PATH | O_CLOEXEC));
    engine_->holder = sys::Fd(open(invocation_.holder.c_str(), O_PATH | O_CLOEXEC));
    engine_->launcher = sys::Fd(open(invocation_.launcher.c_str(), O_PATH | O_CLOEXEC));
    engine_->tls = sys::Fd(open(invocation_.tls.c_str(), O_PATH | O_CLOEXEC));
    engine_->null = sys::Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!engine_->null) return fail_errno("open /dev/null", errno);
    engine_->null = std::move(engine_->null).lifted();
    engine_->reserve.fill(engine_->null);
    manager_.on_room([this] { store_.keep_late(ports_); });

    const std::pair<int, sys::Loop::Handler> acts[] = {
        {SIGCHLD, [this] { reap(); }},
        {SIGHUP, [this] { (void)reload(); }},
        {SIGTERM, [this] { end(); }},
        {SIGINT, [this] { end(); }},
        {SIGUSR1, [this] { write_status(); }},
        {SIGUSR2,
         [this] {
             if (auto begun = upgrade(); !begun)
                 log_.write(Level::warning, fmt::format("no upgrade: {}", begun.error().text));
         }},
    };
    for (const auto& [number, act] : acts) {
        auto source = loop_.signal(number, act);
        if (!source) return std::unexpected(source.error());
        signals_.push_back(std::move(*source));
    }
    return {};
}

/// As wait4(2). A copy of a warm handler may have ended before superd has read whose it is: its word is there, and is
/// only believed of a child, so it is read before the copy is reaped.
pid_t Supervisor::reap_one(int& status, rusage& used) {
    pid_t next = -1;
    if (!engine_->unanswered.empty()) {
        siginfo_t ended{};
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0) return -1;
        if (ended.si_pid == 0) return 0;
        next = ended.si_pid;
        const bool known = engine_->children.contains(next);
        for (Awaited* one : std::set<Awaited*>(engine_->unanswered))
            if (engine_->unanswered.contains(one)) known ? one->before_reaping(next) : one->hear_all({});
    }
    return wait4(next, &status, WNOHANG, &used);
}

void Supervisor::reap() {
    int status = 0;
    rusage used{};
    pid_t pid;
    while ((pid = reap_one(status, used)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid < 0) continue;
        const auto at = engine_->children.find(pid);
        if (at == engine_->children.end()) {  // an orphan of which superd is the reaper
            look_soon(false);                 // and which may have had a socket until now
            continue;
        }
        ChildOwner* const owner = at->second;
        engine_->children.erase(at);
        // Each exit is reported only once, so a lack of memory for one must not cost the next.
        const auto tell = [&] { owner->exited(pid, status, used); };
        const auto go_on = [&] { owner->after_exit(); };
        loop_.attempt(std::ref(tell));
        loop_.attempt(std::ref(go_on));
    }
    forget_finished();
}

void Supervisor::forget_finished() {
    for (const std::string& name : std::exchange(engine_->finished, {}))
        if (const auto at = services_.find(name); at != services_.end() && at->second->finished()) services_.erase(at);
    if (stops_ > 0 && services_.empty() && !strays_are_left()) loop_.exit(0);
}

void Supervisor::adopt_cgroups() {
    for (const std::string& name : cgroups_->services()) {
        if (const auto at = services_.find(name); at != services_.end()) {
            strays_.erase(name);
            at->second->adopt_cgroup();
        } else if (auto& stray = strays_[name]; !stray) {
            stray = std::make_unique<ServiceCgroup>(*cgroups_, name, engine_->children,
                                                    [this] { (void)forget_.enable_once(); });
            stray->adopt();
        }
    }
}

bool Supervisor::strays_are_left() const {
    return std::ranges::any_of(
        strays_, [](const auto& entry) { return entry.second->is_populated() && !entry.second->is_unkillable(); });
}

void Supervisor::end() {
    // It may drain by a command already: the first signal asks for no more than that.
    if (stops_ == 0 && !std::exchange(signalled_, true)) return drain_all();
    if (stops_ == 0) stop();
    stop();
}

void Supervisor::drain_all() {
    if (stops_ > 0 || drained_.is_set()) return;
    const Duration time = catalog_.shutdown.drain;
    if (time == Duration::zero()) return stop();
    drained_.set(now() + time);
    if (successor_ != nullptr) successor_->give_up("superd is draining");
    log_.write(Level::notice,
               fmt::format("draining: not ready any more, clients are served for another {}", format_duration(time)));
    // A manager's patience with a stop begins with its signal, and handlers have their time after this.
    Duration longest = kManagersPatience;
    for (const auto& [name, definition] : catalog_.services)
        longest = std::max(longest, definition.stop_timeout + kForTheRest);
    const std::chrono::microseconds patience = time + longest;
    manager_.tell(fmt::format("STOPPING=1\nSTATUS=Draining: serves on for {}\nEXTEND_TIMEOUT_USEC={}",
                              format_duration(time), patience.count()));
}

void Supervisor::stop() {
    drained_.clear();
    if (++stops_ == 1) {
        if (successor_ != nullptr) successor_->give_up("superd is stopping");
        watch_->off();
        log_.write(Level::notice, "stopping: no new clients, handlers are asked to leave");
        manager_.tell("STOPPING=1\nSTATUS=Stopping");
        for (const auto& [name, service] : services_) service->stop();
        for (const auto& [name, group] : strays_) group->end();
        for (const auto& [key, port] : ports_) store_.release(*port);
        store_.wait(Store::kPatience);
        for (const auto& [key, port] : ports_) drop(*port);
        ports_.clear();
    } else {
        log_.write(Level::notice, "stopping at once: handlers are killed");
        for (const auto& [name, service] : services_) service->kill_all();
        for (const auto& [name, group] : strays_) group->kill();
    }
    forget_finished();
}

std::size_t Supervisor::count_processes() const {
    std::size_t all = 0;
    for (const auto& [name, service] : services_) all += service->processes();
    return all;
}

void Supervisor::write_status() {
    std::size_t handlers = 0;
    for (const auto& [name, service] : services_) handlers += service->running();
    const std::size_t processes = count_processes();
    log_.write(Level::notice,
               fmt::format("status: {}, {}, {}", counted(services_.size(), "service"), counted(handlers, "handler"),
                           counted(processes, "process")),
               {{"SERVICES", services_.size()}, {"ALL_HANDLERS", handlers}, {"PROCESSES", processes}});
    if (!reload_refused_because_.empty())
        log_.write(Level::notice, fmt::format("status: the last reload was refused: {}", reload_refused_because_));
    for (const auto& [name, service] : services_) service->write_status();
}

void Supervisor::report_to_manager() {
    if (stops_ > 0 || drained_.is_set()) return;  // READY=1 would contradict what it was told
    std::string status = fmt::format("{} on {}", counted(enabled_, "service"), counted(ports_.size(), "address"));
    if (engine_->missing > 0) status += fmt::format(", {} waited for", engine_->missing);
    manager_.tell(fmt::format("READY=1\nSTATUS={}", status));
}

}  // namespace superd::core
