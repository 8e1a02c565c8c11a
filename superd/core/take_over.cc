// SPDX-License-Identifier: MIT
// The supervisor's part of an upgrade: writing everything down, and continuing from what another has written.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "core/awaited.h"
#include "core/cgroups.h"
#include "core/supervisor.h"

namespace superd::core {

std::pair<State, sys::Descriptors> Supervisor::write_down() {
    std::pair<State, sys::Descriptors> out;
    auto& [state, descriptors] = out;
    state.binary = invocation_.binary;
    state.folder = invocation_.folder;
    state.nofile_soft = invocation_.started_nofile.rlim_cur;
    state.nofile_hard = invocation_.started_nofile.rlim_max;
    state.begun = begun_;
    state.begun_at = begun_at_;
    state.reloads = reloads_;
    state.reloads_refused = reloads_refused_;
    state.reload_refused_because = reload_refused_because_;
    state.watch = watch_->write_down();
    state.upgrades = upgrades_;
    state.upgrades_refused = upgrades_refused_;
    const LogSink::Lost lost = log_.sink().lost_with_pending();
    state.names = invocation_.definitions.names.answers();
    state.log_lost = lost.all;
    state.log_untold = lost.untold;
    state.cgroup = cgroups_->folder();
    state.stored = store_.names();
    state.everywhere = engine_->everywhere.memory(now());
    state.catalog = catalog_;
    for (const auto& socket : passed_.unclaimed()) state.passed.push_back({socket.name, descriptors.keep(socket.fd)});
    for (const auto& [key, port] : ports_) {
        PortState& kept = state.ports.emplace_back();
        kept.key = std::string(key);
        kept.where = port->where();
        if (const net::Listener* listener = port->listener()) {
            kept.socket = listener->kept();
            descriptors.keep(kept.socket->fd);
        }
        kept.waiting = port->waiting();
        kept.condition = port->condition();
        kept.owner = port->owner()->name();
        kept.index = port->index();
    }
    for (const auto& [name, service] : services_) state.services.push_back(service->write_down(descriptors));
    if (complete_) complete_(state, descriptors);
    state.descriptors = descriptors.entries();
    return out;
}

Result<void> Supervisor::take_over(const State& state, sys::Descriptors& descriptors) {
    begun_ = state.begun;
    begun_at_ = static_cast<std::time_t>(state.begun_at);
    reloads_ = state.reloads;
    reloads_refused_ = state.reloads_refused;
    reload_refused_because_ = state.reload_refused_because;
    watch_before_ = state.watch;
    upgrades_ = state.upgrades + 1;
    upgrades_refused_ = state.upgrades_refused;
    invocation_.definitions.names.go_on(state.names);
    log_.add_lost({state.log_lost, state.log_untold});
    cgroup_folder_ = state.cgroup;
    store_.go_on(state.stored);
    engine_->everywhere.remember(state.everywhere);
    catalog_ = state.catalog;
    enabled_ = static_cast<std::size_t>(
        std::ranges::count_if(catalog_.services, [](const auto& entry) { return entry.second.enabled; }));
    for (const PassedState& passed : state.passed) passed_.give_back({passed.name, descriptors.claim(passed.fd)});

    std::map<std::string, std::vector<Port*>> ports_of;
    for (const PortState& kept : state.ports) {
        auto port = std::make_unique<Port>(*engine_, kept.key, kept.where);
        if (kept.socket) {
            sys::Fd fd = descriptors.claim(kept.socket->fd);
            if (!fd) return fail(fmt::format("the socket of {} is missing", kept.where.uri()));
            (void)port->install(net::Listener::go_on(std::move(fd), *kept.socket));
            port->go_on(kept.waiting, kept.condition);
        }
        auto& ports = ports_of[kept.owner];
        if (kept.index >= state.ports.size()) return fail(fmt::format("{} has no place", kept.where.uri()));
        ports.resize(std::max(ports.size(), kept.index + 1));
        ports[kept.index] = port.get();
        const std::string_view key = port->key();
        if (!ports_.emplace(key, std::move(port)).second) return fail(fmt::format("{} is there twice", kept.key));
    }
    for (const ServiceState& kept : state.services) {
        auto& service = services_[kept.name];
        service = std::make_unique<Service>(*engine_, kept.name);
        auto ports = ports_of.extract(kept.name);
        if (ports && std::ranges::find(ports.mapped(), nullptr) != ports.mapped().end())
            return fail(fmt::format("{}: an address is missing", kept.name));
        const auto defined = catalog_.services.find(kept.name);
        if (auto done = service->go_on(kept, defined != catalog_.services.end() ? &defined->second : nullptr,
                                       ports ? std::move(ports.mapped()) : std::vector<Port*>{}, descriptors);
            !done)
            return done;
    }
    if (!ports_of.empty())
        return fail(fmt::format("an address of {}, which is not a service", ports_of.begin()->first));
    for (const PortState& kept : state.ports) {
        if (kept.socket) continue;
        const auto at = catalog_.services.find(kept.owner);
        if (at == catalog_.services.end()) return fail(fmt::format("no service waits for {}", kept.where.uri()));
        const auto attempt = [this, service = kept.owner, where = kept.where] { return open_again(service, where); };
        ports_.at(kept.key)->go_on(kept.waiting, attempt);
    }
    return {};
}

void Supervisor::take_up() {
    cgroups_->take_up(cgroup_folder_);
    for (const auto& [name, service] : services_) service->take_up();
    // The SIGCHLD of children that left meanwhile was dropped with the previous program's handlers.
    reap();
    adopt_cgroups();
    store_.keep_all(ports_);
    look_at_sockets(true);
    if (const auto before = std::exchange(watch_before_, std::nullopt)) watch_->go_on(*before);
    const std::size_t processes = count_processes();
    log_.write(
        Level::notice,
        fmt::format("upgraded to superd {}: {} on {}, {} kept", SUPERD_VERSION, counted(services_.size(), "service"),
                    counted(ports_.size(), "address"), counted(processes, "process")),
        {{"PROCESSES", processes}, {"UPGRADES", upgrades_}});
    report_to_manager();
}

Result<void> Supervisor::upgrade() {
    if (stops_ > 0) return fail("superd is stopping");
    if (drained_.is_set()) return fail("superd is draining");
    if (successor_ == nullptr) return fail("superd is not ready for an upgrade");
    if (successor_->under_way()) return fail("an upgrade is under way already");
    successor_->begin();
    return {};
}

bool Supervisor::settled() const {
    // Their answers come within moments; so long no new client is given to them.
    const Instant until = now() + std::chrono::milliseconds(10);
    for (Awaited* one : std::set<Awaited*>(engine_->unanswered))
        if (engine_->unanswered.contains(one)) one->hear_all(std::max(until - now(), Duration::zero()));
    return engine_->unsettled == 0 && engine_->unanswered.empty();
}

void Supervisor::upgrade_refused(const std::string& why) {
    ++upgrades_refused_;
    upgrade_refused_because_ = why;
    report_to_manager();
    manager_.tell(fmt::format("STATUS=Upgrade refused: {}", why));
}

}  // namespace superd::core
