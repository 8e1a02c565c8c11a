// SPDX-License-Identifier: MIT
// How a generation's children are made to leave.
#include <signal.h>

#include "core/generation_launch.h"
#include "core/generation_tls.h"
#include "core/generation_warm.h"
#include "core/service_cgroup.h"

namespace superd::core {

Child* Generation::known(pid_t pid) {
    const auto at = children_.find(pid);
    return at != children_.end() ? &at->second : nullptr;
}

void Generation::Ends::hear(Child& child) {
    bool open = true;
    if (child.pair) generation.read_reports(child, open);
}

Sight Generation::Ends::look(pid_t pid, Child& child) {
    const auto view = sys::look_at(pid);
    hear(child);
    return sight_of(view, child);
}

int Generation::Ends::signal(pid_t pid, int number, Reach reach) {
    return reach == Reach::session ? signal_session(pid, number) : kill(pid, number);
}

StopLadder& Generation::ladder() {
    if (!ends_) ends_ = std::make_unique<Ends>(*this);
    return ends_->ladder;
}

void Generation::stop() {
    if (lingering_) (void)end_linger();
    if (launches_) launches_->stopped = true;
    if (warmth_) warmth_->stopped = true;
    drain();
    if (secured_) secured_->tls.stop();
    for (auto& [pid, child] : children_) ladder().stop(pid, child);
}

void Generation::kill_all() {
    for (auto& [pid, child] : children_) {
        child.stopping = true;
        signal_session(pid, SIGKILL);
    }
    if (launches_) launches_->launcher.kill_all();
    if (secured_) secured_->tls.kill_all();
    if (warmth_) warmth_->warm.kill_all();
}

void Generation::stop_holders() {
    const bool datagrams = definition_.socket_type() == conf::SocketType::datagram;
    for (auto& [pid, child] : children_) {
        const bool owner = child.kind == Kind::owner;
        if (datagrams && (owner || child.kind == Kind::worker))
            ladder().stop(pid, child);
        else if (owner && !child.stopping)
            retire(pid);
    }
}

void Generation::retire(pid_t pid) {
    if (Child* const child = known(pid)) ladder().retire(pid, *child);
}

void Generation::end_children(std::optional<int> number, std::vector<pid_t>& signalled) {
    std::vector<pid_t> pids;
    for (const auto& [pid, child] : children_)
        if (child.kind != Kind::parked) pids.push_back(pid);
    for (const pid_t pid : pids) end_child(pid, number);
    signalled.insert(signalled.end(), pids.begin(), pids.end());
}

bool Generation::end_child(pid_t pid, std::optional<int> number) {
    Child* const child = known(pid);
    if (child == nullptr) return false;
    if (!number) {
        ladder().stop(pid, *child);
    } else {
        child->sent = *number;
        const ServiceCgroup* const group = child->leaf != 0 ? host_.cgroup() : nullptr;
        if (group == nullptr || !group->signal_leaf(child->leaf, *number)) signal_session(pid, *number);
    }
    return true;
}

}  // namespace superd::core
