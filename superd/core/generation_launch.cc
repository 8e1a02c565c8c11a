// SPDX-License-Identifier: MIT
#include "core/generation_launch.h"

#include <signal.h>

#include "base/place.h"
#include "core/service_cgroup.h"

namespace superd::core {

Result<pid_t> Generation::Launches::start(ChildOwner& owner, sys::Fd channel) {
    Generation& g = generation;
    if (!plan) {
        auto made =
            std::make_unique<proc::ExecPlan>(g.definition_.handler, g.definition_.sandbox, g.engine_.started_nofile);
        made->start_by(g.engine_.launcher.get(), "superd-launch", proc::Start::direct);
        plan = std::move(made);
    }
    proc::Launch launch;
    launch.plan = plan.get();
    launch.descriptors.push_back(std::move(channel));
    launch.descriptors.push_back(g.engine_.null.duplicate());
    launch.number = {0, 1};
    if (auto added = g.add_errors(launch); !added) return std::unexpected(added.error());
    if (auto added = proc::add_filter(launch); !added) return std::unexpected(added.error());
    g.enter_sandbox(launch);
    Place whose(g.engine_.children);
    const auto pid = g.spawn(launch, nullptr);
    if (pid) whose.take(*pid, &owner);
    return pid;
}

void Generation::Launches::serves(pid_t pid, model::Client client) {
    Child* const kept = generation.add(pid, Child{});
    if (kept == nullptr) return;
    generation.began(pid, *kept, client);
    if (stopped) generation.ladder().stop(pid, *kept);
}

bool Generation::Launches::not_executed(pid_t pid, int code, sys::GuardedFd connection) {
    Child* const child = generation.known(pid);
    if (child == nullptr) return false;
    child->exec_failure = proc::SpawnFailure{proc::Step::exec, code, std::move(connection)};
    child->unsettled = Counted(generation.engine_.unsettled);
    return true;
}

void Generation::Launches::serve_directly(model::Client client) {
    if (stopped) return;
    direct = true;
    (void)generation.serve(std::move(client));
    direct = false;
}

/// It pays where the sandbox has steps that take longer than a message to another process. A handler that begins there
/// could start others before it is in a leaf of its own.
bool Generation::launch(model::Client& client) {
    if (definition_.resources->leftovers == conf::Leftovers::end) return false;
    const bool dear = definition_.sandbox->needs_filter() || hold_;
    const bool asks_no_pid = definition_.model == conf::Model::fork || definition_.model == conf::Model::prefork;
    if (!dear || !asks_no_pid || client.kind != model::Client::Kind::connection || !engine_.launcher) return false;
    // A launcher that begins outside of the group would keep its handlers there after a reload has put it in order.
    if (const ServiceCgroup* const group = host_.cgroup(); group != nullptr && group->is_lost()) return false;
    if (!launches_) {
        if (drained_ || !proc::can_launch(definition_.sandbox)) return false;
        launches_ = std::make_unique<Launches>(*this);
    }
    return !launches_->direct && launches_->launcher.serve(client);
}

}  // namespace superd::core
