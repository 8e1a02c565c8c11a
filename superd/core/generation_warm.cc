// SPDX-License-Identifier: MIT
#include "core/generation_warm.h"

#include <signal.h>

#include <algorithm>
#include <new>

#include "base/place.h"
#include "core/client_environment.h"
#include "core/generation_launch.h"
#include "core/generation_tls.h"
#include "core/hold.h"
#include "core/service_cgroup.h"

namespace superd::core {
namespace {

/// Silence that counts as a pause, in which a process that is started takes nothing from anybody.
constexpr Duration kParkingPause = std::chrono::milliseconds(5);

/// Of those that a copy may be ended by once somebody has found out something of its memory, or tries to.
bool tells_of_memory(int signal) {
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGABRT || signal == SIGSYS;
}

}  // namespace

Result<pid_t> Generation::Warmth::start(ChildOwner& owner, sys::Fd channel) {
    Generation& g = generation;
    std::vector<const net::Listener*> listeners;
    for (std::size_t i = 0; i < g.listeners_; ++i)
        if (const net::Listener* listener = g.socket(i)) listeners.push_back(listener);
    // One that has gone by now comes again, and is the same.
    if (listeners.size() != g.listeners_) return fail("an address is waited for");
    const auto family = g.secured_ ? AF_UNIX : listeners.front()->address().family();
    auto placeholder = proc::make_placeholder(family);
    if (!placeholder) return std::unexpected(placeholder.error());
    if (!plan) {
        auto made =
            std::make_unique<proc::ExecPlan>(g.definition_.handler, g.definition_.sandbox, g.engine_.started_nofile);
        made->start_by(g.engine_.warmer.get(), "superd-warm", proc::Start::warm);
        plan = std::move(made);
    }
    proc::Launch launch;
    launch.plan = plan.get();
    g.enter_sandbox(launch);
    launch.environment = listener_environment(listeners);
    launch.descriptors.push_back(std::move(*placeholder));
    launch.number = {0, 0};
    if (auto added = g.add_errors(launch); !added) return std::unexpected(added.error());
    launch.number.push_back(static_cast<int>(launch.descriptors.size()));
    launch.descriptors.push_back(std::move(channel));
    if (auto added = proc::add_filter(launch); !added) return std::unexpected(added.error());
    Place whose(g.engine_.children);
    const auto pid = g.spawn(launch, nullptr);
    if (pid) whose.take(*pid, &owner);
    return pid;
}

Child* Generation::add(pid_t pid, Child&& child) try {
    child.serial = ++serial_;
    child.started = now();
    engine_.children[pid] = this;
    return &children_.insert_or_assign(pid, std::move(child)).first->second;
} catch (const std::bad_alloc&) {
    engine_.children.erase(pid);
    kill(pid, SIGKILL);
    return nullptr;
}

bool Generation::Warmth::waits(std::unique_ptr<proc::WarmProcess> process, pid_t copy_of) {
    const pid_t pid = process->pid();
    Child child;
    child.kind = Kind::parked;
    child.copy_of = copy_of;
    child.warm = std::move(process);
    sys::Fd members;
    if (ServiceCgroup* const group = generation.host_.cgroup()) {
        auto leaf = group->leaf();
        if (!leaf) {
            kill(pid, SIGKILL);
            return false;
        }
        child.leaf = leaf->number;
        members = std::move(leaf->members);
    }
    child.moving = child.leaf != 0;
    Child* const kept = generation.add(pid, std::move(child));
    if (kept == nullptr) return false;
    ++generation.parked_;
    if (generation.attend(pid, *kept) && (!kept->moving || mover.move(pid, std::move(members)))) {
        if (!kept->moving) generation.model_->parked(pid);
        return true;
    }
    kept->moving = false;
    kept->warm->close();
    kill(pid, SIGKILL);
    return false;
}

void Generation::Warmth::moved(pid_t pid, bool there) {
    Child* const child = generation.known(pid);
    if (child == nullptr || !child->moving) return;  // it has left meanwhile
    if (!there) return (void)kill(pid, SIGKILL);     // and its end is told
    child->moving = false;
    generation.model_->parked(pid);
    generation.model_->resume();
}

void Generation::Warmth::stale() {
    let_go();
    generation.model_->stale();
}

void Generation::Warmth::let_go() {
    std::vector<pid_t> pids;
    for (auto& [pid, child] : generation.children_)
        if (std::exchange(child.moving, false)) pids.push_back(pid);
    for (const pid_t pid : pids) generation.retire(pid);
}

void Generation::Warmth::serves(pid_t pid, pid_t copy_of, model::Client client) {
    Child child;
    child.copy_of = copy_of;
    Child* const kept = generation.add(pid, std::move(child));
    if (kept == nullptr) return;
    generation.began(pid, *kept, client);
    if (stopped) generation.ladder().stop(pid, *kept);
}

void Generation::resume() {
    if (secured_) secured_->tls.begin();
    if (!ask_for_sandbox()) return;  // it follows again
    const conf::Service& definition = definition_;
    const bool wanted = definition.prefork->warm != conf::Warm::off && definition.model == conf::Model::prefork &&
                        definition.handoff == conf::Handoff::connection;
    if (wanted && !warmth_ && !drained_) warmth_ = std::make_unique<Warmth>(*this);
    if (warmth_ && has_all_sockets()) warmth_->warm.begin();
    model_->resume();
}

bool Generation::has_all_sockets() const {
    for (std::size_t i = 0; i < listeners_; ++i)
        if (!has_socket(i)) return false;
    return listeners_ > 0;
}

void Generation::take_up() {
    if (launches_) launches_->launcher.take_up();
    if (warmth_) warmth_->warm.take_up();
}

model::Parking Generation::park() {
    using Outcome = model::Parking::Outcome;
    const admit::Admission& admission = host_.admission();
    const std::size_t coming = warmth_ ? warmth_->warm.coming() : 0;
    if (!ask_for_sandbox()) return {Outcome::later, 0};
    if (admission.in_use() + static_cast<int>(parked_ + coming) >= admission.instances()) return {Outcome::not_now, 0};
    if (warmth_ && has_all_sockets())
        if (const auto parking = warmth_->warm.park()) return *parking;
    const auto pid = try_park();
    if (pid) return {Outcome::ready, *pid};
    host_.could_not_add(pid.error());
    return {Outcome::not_now, 0};
}

Duration Generation::pause_for_parking() const {
    return warmth_ ? warmth_->warm.pause_for_parking().value_or(kParkingPause) : kParkingPause;
}

/// A copy that begins with its client could start others before it is in a leaf.
bool Generation::copy_serves(model::Client& client) {
    return definition_.resources->leftovers == conf::Leftovers::keep && warmth_ && warmth_->warm.serve(client);
}

bool Generation::hand_over_warm(pid_t pid, Child& child, const model::Client& client) {
    const bool to_client = definition_.handler.error_output == conf::Stderr::socket;
    if (warmth_ && warmth_->warm.look() && child.warm->go(client.connection.get(), to_client)) {
        warmth_->warm.serves(child.copy_of);
        return true;
    }
    retire(pid);
    return false;
}

/// It tells nothing but that it goes, or has gone; or that its client was kept from it, by a security module.
void Generation::hear_warm(Child& child) {
    while (const auto event = child.warm->next())
        if (event->kind == proc::WarmProcess::Event::Kind::failed) kill(child.warm->pid(), SIGKILL);
    if (child.warm->is_open()) return;
    child.pair_source = {};
    child.warm->close();
    if (child.kind != Kind::parked) child.warm.reset();
}

void Generation::copy_ended(pid_t copy_of, int number) {
    if (warmth_ && tells_of_memory(number)) warmth_->warm.crashed(copy_of);
}

bool Generation::empty() const {
    return children_.empty() && !lingering_ && (!launches_ || launches_->launcher.empty()) &&
           (!warmth_ || (warmth_->warm.empty() && warmth_->mover.empty())) && (!hold_ || !hold_->is_coming()) &&
           (!secured_ || secured_->tls.empty());
}

std::size_t Generation::size() const {
    return children_.size() + (launches_ ? launches_->launcher.processes() : 0) +
           (warmth_ ? warmth_->warm.processes() : 0) + (secured_ ? secured_->tls.processes() : 0);
}

std::optional<WarmReport> Generation::warm_report() const {
    if (!warmth_) return std::nullopt;
    return warmth_->warm.report();
}

void Generation::report_warm(std::vector<ProcessReport>& out, std::size_t most, bool former) const {
    if (!warmth_) return;
    warmth_->warm.each([&](pid_t pid, const char* kind, Instant started) {
        if (out.size() >= most) return;
        ProcessReport report;
        report.service = definition_.name;
        report.pid = pid;
        report.kind = kind;
        report.age = now() - started;
        report.former = former;
        out.push_back(std::move(report));
    });
}

}  // namespace superd::core
