// SPDX-License-Identifier: MIT
#include "control/shapes.h"

namespace superd::control {
namespace {

double seconds(Duration value) {
    return std::chrono::duration<double>(value).count();
}

Json to_json(const Histogram& histogram) {
    const auto quantile = [&](double part) {
        const auto value = histogram.quantile(part);
        return value ? Json(seconds(*value)) : Json();
    };
    return {{"count", histogram.count()},
            {"sum", seconds(histogram.sum())},
            {"median", quantile(0.5)},
            {"p99", quantile(0.99)}};
}

/// By names_of(Enum), from an array of counts.
template <class Enum, class Counts>
Json by_name(const Counts& counts) {
    Json all = Json::object();
    for (std::size_t i = 0; i < counts.size(); ++i) all[name_of(static_cast<Enum>(i))] = counts[i];
    return all;
}

Json to_json(const core::Usage& usage) {
    return {{"user_seconds", seconds(usage.user)},
            {"system_seconds", seconds(usage.system)},
            {"memory_peak", usage.memory},
            {"bytes_in", usage.in},
            {"bytes_out", usage.out},
            {"retransmits", usage.retransmits}};
}

Json to_json(const core::WarmReport& warm) {
    Json facts;
    if (warm.parked)
        facts = {{"asked_pid", warm.asked_pid},         {"drew_random", warm.drew_random}, {"files", warm.files},
                 {"unwatched_files", warm.unwatched},   {"left_out_files", warm.left_out}, {"threads", warm.threads},
                 {"start_seconds", seconds(warm.start)}};
    Json copied;
    if (warm.pid != 0) copied = {{"pid", warm.pid}, {"age_seconds", seconds(warm.age)}, {"served", warm.served}};
    return {{"wanted", warm.wanted},
            {"in_force", warm.in_force},
            {"reason", warm.reason},
            {"facts", std::move(facts)},
            {"template", std::move(copied)},
            {"started", warm.counts.templates},
            {"copies", warm.counts.copies},
            {"fallbacks", by_name<core::WarmFallback>(warm.counts.fallbacks)},
            {"renewals", by_name<core::WarmRenewal>(warm.counts.renewals)}};
}

Json to_json(const core::SessionReport& sessions) {
    const core::SessionCounts& counts = sessions.counts;
    return {{"open", sessions.open},
            {"waiting", sessions.waiting},
            {"queued", sessions.queued},
            {"begun", counts.begun},
            {"gave_way", counts.gave_way},
            {"idle", counts.idle},
            {"dropped",
             {{"empty", counts.empty},
              {"nameless", counts.nameless},
              {"overflow", counts.overflow},
              {"unread", counts.unread},
              {"too_long", counts.too_long}}}};
}

Json to_json(const core::CgroupReport& group) {
    const auto number = [](const std::optional<std::uint64_t>& value) { return value ? Json(*value) : Json(); };
    return {{"present", group.present},
            {"memory", number(group.memory)},
            {"memory_peak", number(group.memory_peak)},
            {"memory_max", number(group.memory_max)},
            {"pids", number(group.pids)},
            {"pids_max", number(group.pids_max)},
            {"cpu_seconds", group.cpu_seconds},
            {"throttled_seconds", group.throttled_seconds},
            {"throttled_periods", group.throttled},
            {"memory_kills", group.events.memory_kills},
            {"memory_high_reached", group.events.memory_high},
            {"pids_max_reached", group.events.pids_max}};
}

}  // namespace

Json to_json(const core::DaemonReport& report) {
    return {{"version", SUPERD_VERSION},
            {"pid", report.pid},
            {"started", report.started},
            {"uptime_seconds", seconds(report.uptime)},
            {"draining", report.draining},
            {"stopping", report.stopping},
            {"services", report.services},
            {"handlers", report.handlers},
            {"penalised", report.penalised},
            {"processes", report.processes},
            {"reloads",
             {{"done", report.reloads},
              {"refused", report.reloads_refused},
              {"refused_because", report.reload_refused_because},
              {"watching", *report.watching != 0 ? Json(report.watching) : Json()}}},
            {"upgrades",
             {{"done", report.upgrades},
              {"refused", report.upgrades_refused},
              {"under_way", report.upgrading},
              {"refused_because", report.upgrade_refused_because}}},
            {"log_lines_lost", report.log_lines_lost},
            {"open_descriptors", report.open_descriptors ? Json(*report.open_descriptors) : Json()},
            {"descriptor_limit", report.descriptor_limit}};
}

Json to_json(const core::ServiceReport& report) {
    Json listeners = Json::array();
    for (const auto& listener : report.listeners)
        listeners.push_back({{"address", listener.uri}, {"open", listener.open}, {"awaited", listener.awaited}});
    Json refused = Json::object();
    for (std::size_t i = 0; i < admit::kRefusals; ++i)
        refused[admit::name_of(static_cast<admit::Refusal>(i))] = report.refused[i];
    const core::Stats& stats = report.stats;
    return {{"name", report.name},
            {"description", report.description},
            {"enabled", report.enabled},
            {"state", core::name_of(report.status)},
            {"reason", report.reason},
            {"model", report.model},
            {"handoff", report.handoff},
            {"sandbox", {{"preset", report.preset}, {"left_out", to_json(report.left_out)}}},
            {"listeners", std::move(listeners)},
            {"handlers", report.handlers},
            {"limit", report.limit},
            {"spare", report.spare},
            {"held", report.held},
            {"stalled", report.stalled},
            {"pending", report.pending},
            {"accepted", stats.accepted},
            {"started", stats.started},
            {"failures", stats.failures},
            {"spawn_failures", stats.spawn_failures},
            {"replies", stats.replies},
            {"reply_failures", stats.reply_failures},
            {"stderr_dropped", stats.stderr_dropped},
            {"sockets_mended", stats.sockets_mended},
            {"refused", std::move(refused)},
            {"penalised", report.penalised},
            {"penalties", by_name<admit::Offence>(report.offences)},
            {"usage", report.tells_usage ? to_json(stats.usage) : Json()},
            {"warm", report.warm ? to_json(*report.warm) : Json()},
            {"sessions", report.sessions ? to_json(*report.sessions) : Json()},
            {"cgroup", report.cgroup ? to_json(*report.cgroup) : Json()},
            {"exits",
             {{"ok", stats.exits.ok},
              {"failed", stats.exits.failed},
              {"stopped", stats.exits.stopped},
              {"killed", stats.exits.killed}}},
            {"handler_seconds", to_json(stats.handler_time)},
            {"accept_to_exec_seconds", to_json(stats.accept_to_exec)}};
}

Json to_json(const core::ProcessReport& report) {
    return {{"service", report.service},
            {"pid", report.pid},
            {"kind", report.kind},
            {"peer", report.peer},
            {"age_seconds", seconds(report.age)},
            {"busy", report.busy ? Json(*report.busy) : Json()},
            {"stopping", report.stopping},
            {"former", report.former}};
}

Json to_json(const intake::Explanation& explanation) {
    Json steps = Json::array();
    for (const auto& step : explanation.steps)
        steps.push_back({{"step", step.what}, {"outcome", intake::name_of(step.outcome)}, {"text", step.text}});
    return {{"outcome", intake::name_of(explanation.outcome())},
            {"verdict", explanation.verdict()},
            {"steps", std::move(steps)}};
}

Json to_json(const std::vector<conf::PlanItem>& items) {
    Json all = Json::array();
    for (const auto& item : items)
        all.push_back({{"service", item.service}, {"change", conf::name_of(item.change)}, {"keys", item.keys}});
    return all;
}

Json to_json(const std::vector<core::Complaint>& complaints) {
    Json all = Json::array();
    for (const auto& complaint : complaints) {
        const conf::Place& place = complaint.diagnostic.place;
        all.push_back({{"file", place.file},
                       {"line", place.line},
                       {"column", place.column},
                       {"service", complaint.service},
                       {"message", complaint.diagnostic.message},
                       {"text", complaint.text()}});
    }
    return all;
}

Json to_json(const std::vector<conf::LeftOut>& left_out) {
    Json all = Json::array();
    for (const conf::LeftOut& one : left_out) all.push_back({{"key", one.key}, {"why", one.why}});
    return all;
}

}  // namespace superd::control
