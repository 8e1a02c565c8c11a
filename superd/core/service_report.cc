// SPDX-License-Identifier: MIT
// What a running service reports of itself, and what an operator can make it do.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "core/service.h"

namespace superd::core {

Service::Standing Service::standing() {
    if (withdrawn_) return {Status::draining, "removed"};
    if (hold_ == Hold::paused) return {Status::paused, "by superctl"};
    if (hold_ == Hold::drained) return {Status::draining, "by superctl"};
    if (backing_off()) return {Status::backoff, "short of descriptors, processes or memory"};
    if (throttled())
        return {Status::backoff, cannot_start_.empty() ? "handlers fail as they start" : cannot_start_.c_str()};
    if (shut_) return {Status::backoff, "its access filter cannot be set"};
    if (std::ranges::any_of(ports_, [](Port* port) { return port->listener() == nullptr; }))
        return {Status::waiting, "an address is unavailable"};
    for (Port* port : ports_)
        if (port->trouble()) return {Status::waiting, fmt::format("{}: {}", port->uri(), *port->trouble())};
    if (const auto closed = intake_.closed())
        return {closed == admit::Refusal::instances ? Status::full : Status::paused, admit::name_of(*closed)};
    return {Status::listening, cannot_start_.c_str()};
}

ServiceReport Service::report() {
    const conf::Service* definition = current_          ? &current_->definition()
                                      : former_.empty() ? nullptr
                                                        : &former_.back()->definition();
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
    }
    for (Port* port : ports_) out.listeners.push_back({port->uri(), port->listener() != nullptr && !port->trouble()});
    out.handlers = running();
    out.limit = admission().instances();
    out.spare = current_ ? current_->model().spare() : 0;
    out.held = intake_.held();
    out.stalled = intake_.stalled();
    out.stats = stats_;
    out.refused = intake_.refusals().counts();
    if (current_) out.warm = current_->warm_report();
    if (out.warm && warm_counts_) out.warm->counts = *warm_counts_;
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

void Service::hold(Hold wish) {
    const Hold before = std::exchange(hold_, wish);
    if (before == wish) return;
    static constexpr const char* kSays[] = {"resumed", "paused: new clients wait", "draining: new clients wait"};
    engine_.log.write(Level::notice, kSays[static_cast<int>(wish)], {{"SERVICE", name_}});
    if (wish != Hold::open) {
        retire_if_held();
    } else if (current_ && current_->drained()) {
        // Its workers were told to leave, and a drained model does not come back.
        return enforce(current_->definition(), std::vector<Port*>(ports_));
    } else if (current_) {
        current_->resume();
    }
    reconcile();
}

void Service::retire_if_held() {
    if (hold_ == Hold::open || !current_) return;
    const conf::Service& definition = current_->definition();
    const bool pool = definition.model == conf::Model::prefork || definition.model == conf::Model::delayed;
    if (pool && definition.handoff == conf::Handoff::listen) current_->drain();
}

void Service::write_status() {
    const ServiceReport all = report();
    std::string addresses;
    for (const ListenerReport& listener : all.listeners) addresses += (addresses.empty() ? "" : " ") + listener.uri;
    const std::string refused = intake_.refusals().summary();
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
