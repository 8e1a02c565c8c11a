// SPDX-License-Identifier: MIT
#include "control/shapes.h"

namespace superd::control {
namespace {

double seconds(Duration value) {
    return std::chrono::duration<double>(value).count();
}

JsonText to_json(const Histogram& histogram) {
    const auto quantile = [&](double part) {
        const auto value = histogram.quantile(part);
        return value ? JsonText(seconds(*value)) : JsonText();
    };
    return {{"count", histogram.count()},
            {"sum", seconds(histogram.sum())},
            {"median", quantile(0.5)},
            {"p99", quantile(0.99)}};
}

/// By names_of(Enum), from an array of counts.
template <class Enum, class Counts>
JsonText by_name(const Counts& counts) {
    JsonText all = JsonText::object();
    for (std::size_t i = 0; i < counts.size(); ++i) all.add(name_of(static_cast<Enum>(i)), counts[i]);
    return all;
}

JsonText to_json(const core::Usage& usage) {
    return {{"user_seconds", seconds(usage.user)},
            {"system_seconds", seconds(usage.system)},
            {"memory_peak", usage.memory},
            {"bytes_in", usage.in},
            {"bytes_out", usage.out},
            {"retransmits", usage.retransmits}};
}

JsonText to_json(const core::WarmReport& warm) {
    JsonText facts;
    if (warm.parked)
        facts = {{"asked_pid", warm.asked_pid},         {"drew_random", warm.drew_random}, {"files", warm.files},
                 {"unwatched_files", warm.unwatched},   {"left_out_files", warm.left_out}, {"threads", warm.threads},
                 {"start_seconds", seconds(warm.start)}};
    JsonText copied;
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

JsonText to_json(const core::SessionReport& sessions) {
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

JsonText to_json(const core::CgroupReport& group) {
    return {{"present", group.present},
            {"memory", group.memory},
            {"memory_peak", group.memory_peak},
            {"memory_max", group.memory_max},
            {"pids", group.pids},
            {"pids_max", group.pids_max},
            {"cpu_seconds", group.cpu_seconds},
            {"throttled_seconds", group.throttled_seconds},
            {"throttled_periods", group.throttled},
            {"memory_kills", group.events.memory_kills},
            {"memory_high_reached", group.events.memory_high},
            {"pids_max_reached", group.events.pids_max}};
}

}  // namespace

JsonText to_json(const core::DaemonReport& report) {
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
              {"watching", *report.watching != 0 ? JsonText(report.watching) : JsonText()}}},
            {"upgrades",
             {{"done", report.upgrades},
              {"refused", report.upgrades_refused},
              {"under_way", report.upgrading},
              {"refused_because", report.upgrade_refused_because}}},
            {"log_lines_lost", report.log_lines_lost},
            {"open_descriptors", report.open_descriptors},
            {"descriptor_limit", report.descriptor_limit}};
}

JsonText to_json(const core::ServiceReport& report) {
    JsonText listeners = JsonText::array();
    for (const auto& listener : report.listeners)
        listeners.push_back({{"address", listener.uri}, {"open", listener.open}, {"awaited", listener.awaited}});
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
            {"refused", by_name<admit::Refusal>(report.refused)},
            {"penalised", report.penalised},
            {"penalties", by_name<admit::Offence>(report.offences)},
            {"usage", report.tells_usage ? to_json(stats.usage) : JsonText()},
            {"warm", report.warm ? to_json(*report.warm) : JsonText()},
            {"sessions", report.sessions ? to_json(*report.sessions) : JsonText()},
            {"cgroup", report.cgroup ? to_json(*report.cgroup) : JsonText()},
            {"exits",
             {{"ok", stats.exits.ok},
              {"failed", stats.exits.failed},
              {"stopped", stats.exits.stopped},
              {"killed", stats.exits.killed}}},
            {"handler_seconds", to_json(stats.handler_time)},
            {"accept_to_exec_seconds", to_json(stats.accept_to_exec)}};
}

JsonText to_json(const core::ProcessReport& report) {
    return {{"service", report.service},
            {"pid", report.pid},
            {"kind", report.kind},
            {"peer", report.peer},
            {"age_seconds", seconds(report.age)},
            {"busy", report.busy},
            {"stopping", report.stopping},
            {"former", report.former}};
}

JsonText to_json(const intake::Explanation& explanation) {
    JsonText steps = JsonText::array();
    for (const auto& step : explanation.steps)
        steps.push_back({{"step", step.what}, {"outcome", intake::name_of(step.outcome)}, {"text", step.text}});
    return {{"outcome", intake::name_of(explanation.outcome())},
            {"verdict", explanation.verdict()},
            {"steps", std::move(steps)}};
}

JsonText to_json(const std::vector<conf::PlanItem>& items) {
    JsonText all = JsonText::array();
    for (const auto& item : items)
        all.push_back({{"service", item.service}, {"change", conf::name_of(item.change)}, {"keys", item.keys}});
    return all;
}

JsonText to_json(const std::vector<core::Complaint>& complaints) {
    JsonText all = JsonText::array();
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

JsonText to_json(const std::vector<conf::LeftOut>& left_out) {
    JsonText all = JsonText::array();
    for (const conf::LeftOut& one : left_out) all.push_back({{"key", one.key}, {"why", one.why}});
    return all;
}

}  // namespace superd::control
