// SPDX-License-Identifier: MIT
// What a running service reports of itself, and what an operator can make it do.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "core/service.h"
#include "core/service_cgroup.h"

namespace superd::core {

Service::Standing Service::standing() const {
    if (withdrawn_) return {Status::draining, "removed"};
    if (wish_ == Wish::paused) return {Status::paused, "by superctl"};
    if (wish_ == Wish::drained) return {Status::draining, "by superctl"};
    if (backing_off()) return {Status::backoff, "short of descriptors, processes or memory"};
    if (current_ && !current_->takes_clients() && !current_->tls_trouble().empty())
        return {Status::backoff, current_->tls_trouble()};
    if (current_ && !current_->has_sandbox() && !current_->sandbox_trouble().empty())
        return {Status::backoff, current_->sandbox_trouble()};
    const std::string& cannot_start = traffic_ ? traffic_->cannot_start : std::string();
    if (throttled()) return {Status::backoff, cannot_start.empty() ? "handlers fail as they start" : cannot_start};
    if (shut_) return {Status::backoff, "its access filter cannot be set"};
    if (std::ranges::any_of(ports_, [](Port* port) { return port->listener() == nullptr; }))
        return {Status::waiting, "an address is unavailable"};
    for (Port* port : ports_)
        if (port->trouble()) return {Status::waiting, fmt::format("{}: {}", port->uri(), *port->trouble())};
    if (const auto closed = traffic_ ? traffic_->intake.closed() : std::nullopt)
        return {closed == admit::Refusal::instances ? Status::full : Status::paused, admit::name_of(*closed)};
    return {Status::listening, cannot_start};
}

ServiceReport Service::report() const {
    const conf::Service* definition = this->definition();
    ServiceReport out;
    out.name = name_;
    const Standing now = standing();
    out.status = now.status;
    out.reason = now.reason;
    out.model = "none";
    if (definition != nullptr) {
        out.description = definition->description;
        out.model = conf::name_of(definition->model);
        out.handoff = conf::name_of(definition->handoff);
        out.limit = definition->limits->instances;
        out.preset = conf::name_of(definition->sandbox->preset);
        out.left_out = conf::left_out(*definition);
        out.penalises = definition->penalty->on;
        out.tells_usage = definition->log_usage;
    }
    for (Port* port : ports_) {
        const bool has_socket = port->listener() != nullptr;
        out.listeners.push_back({port->uri(), has_socket && !port->trouble(), !has_socket});
    }
    out.handlers = running();
    out.spare = current_ ? current_->model().spare() : 0;
    if (current_) out.warm = current_->warm_report();
    if (out.warm && warm_counts_) out.warm->counts = *warm_counts_;
    if (cgroup_) out.cgroup = cgroup_->report();
    if (has_sessions() || peers_) out.sessions = peers_ ? peers_->sessions.report() : SessionReport{};
    if (!traffic_) return out;
    out.held = traffic_->intake.held();
    out.stalled = traffic_->intake.stalled();
    out.pending = traffic_->intake.pending();
    out.stats = traffic_->stats;
    out.refused = traffic_->intake.refusals().counts();
    out.penalised = traffic_->intake.penalised();
    out.offences = traffic_->intake.offences();
    return out;
}

void Service::report_processes(std::vector<ProcessReport>& out, std::size_t most) const {
    if (current_) current_->report(out, most, false);
    for (const auto& generation : former_) generation->report(out, most, true);
}

std::size_t Service::processes() const {
    std::size_t all = current_ ? current_->size() : 0;
    for (const auto& generation : former_) all += generation->size();
    return all;
}

std::vector<pid_t> Service::end_handlers(std::optional<int> number) {
    std::vector<pid_t> pids;
    if (current_) current_->end_children(number, pids);
    for (const auto& generation : former_) generation->end_children(number, pids);
    std::ranges::sort(pids);
    return pids;
}

void Service::obey(Wish wish) {
    const Wish before = std::exchange(wish_, wish);
    if (before == wish) return;
    static constexpr const char* kSays[] = {"resumed", "paused: new clients wait", "draining: new clients wait"};
    engine_.log.write(Level::notice, kSays[static_cast<int>(wish)], {{"SERVICE", name_}});
    if (wish != Wish::open) {
        retire_unless_open();
    } else if (current_ && current_->drained()) {
        // Its workers were told to leave, and a drained model does not come back.
        return enforce(current_->definition(), std::vector<Port*>(ports_));
    } else if (current_) {
        current_->resume();
    }
    reconcile();
}

void Service::retire_unless_open() {
    if (wish_ == Wish::open || !current_) return;
    const conf::Service& definition = current_->definition();
    const bool pool = definition.model == conf::Model::prefork || definition.model == conf::Model::delayed;
    if (pool && definition.handoff == conf::Handoff::listen) current_->drain();
}

void Service::write_status() const {
    const ServiceReport all = report();
    std::string addresses;
    for (const ListenerReport& listener : all.listeners) addresses += (addresses.empty() ? "" : " ") + listener.uri;
    const std::string refused = traffic_ ? traffic_->intake.refusals().summary() : std::string();
    std::vector<Field> fields = {{"SERVICE", name_},
                                 {"STATE", name_of(all.status)},
                                 {"REASON", all.reason},
                                 {"MODEL", all.model},
                                 {"ADDRESS", addresses},
                                 {"HANDLERS", all.handlers},
                                 {"LIMIT", all.limit},
                                 {"SPARE", all.spare},
                                 {"ACCEPTED", all.stats.accepted},
                                 {"STARTED", all.stats.started},
                                 {"FAILURES", all.stats.failures},
                                 {"SPAWN_FAILURES", all.stats.spawn_failures},
                                 {"REPLY_FAILURES", all.stats.reply_failures},
                                 {"STDERR_DROPPED", all.stats.stderr_dropped},
                                 {"HELD", all.held},
                                 {"STALLED", all.stalled},
                                 {"PENDING", all.pending},
                                 {"SOCKETS_MENDED", all.stats.sockets_mended}};
    std::vector<std::string> names;
    for (std::size_t i = 0; i < admit::kRefusals; ++i) {
        names.push_back("REFUSED_");
        for (const char* c = admit::name_of(static_cast<admit::Refusal>(i)); *c != 0; ++c)
            names.back() += static_cast<char>(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    }
    for (std::size_t i = 0; i < admit::kRefusals; ++i) fields.emplace_back(names[i], all.refused[i]);
    engine_.log.write(
        Level::notice,
        fmt::format(
            "{}, {}, {}: handlers {}/{}, spare {}, held {}, accepted {}, failures {}, not started {}; refused: {}",
            name_of(all.status), all.model, addresses.empty() ? "no address" : addresses, all.handlers, all.limit,
            all.spare, all.held, all.stats.accepted, all.stats.failures, all.stats.spawn_failures,
            refused.empty() ? "none" : refused),
        fields);
}

}  // namespace superd::core
