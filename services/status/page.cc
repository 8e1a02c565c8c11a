// SPDX-License-Identifier: MIT
#include "status/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "status/html.h"
#include "status/text.h"

namespace status {
namespace {

using web::array_of;
using web::flag_of;
using web::Json;
using web::number_of;
using web::object_of;
using web::text_of;

constexpr std::size_t kProcesses = 100;  // on a page

std::string count_of(const Json& object, const char* name) {
    return fmt::format("{:.0f}", number_of(object, name));
}

bool has(const Json& object, const char* name) {
    const auto at = object.find(name);
    return at != object.end() && at->is_number();
}

/// Empty if nothing was counted.
std::string time_of(const Json& service, const char* histogram, const char* name) {
    const Json& times = object_of(service, histogram);
    return has(times, name) ? brief_duration(number_of(times, name)) : "";
}

std::string link_to(const std::string& service) {
    return fmt::format("<a href=\"/service/{}\">{}</a>", percent_encode(service), escape(service));
}

std::string addresses_of(const Json& service) {
    const Json& listeners = array_of(service, "listeners");
    if (listeners.empty()) return "";
    std::string text = escape(text_of(listeners[0], "address"));
    if (listeners.size() > 1) text += fmt::format(" +{}", listeners.size() - 1);
    return text;
}

std::string used_of(double used, double limit) {
    return limit > 0 ? fmt::format("{:.0f} of {:.0f}{}", used, limit, bar(used, limit)) : fmt::format("{:.0f}", used);
}

double failed(const Json& service) {
    return number_of(service, "failures") + number_of(service, "spawn_failures");
}

Series clients_of(const History* history) {
    return history != nullptr ? history->clients_per_second() : Series();
}

std::string notices(const State& state) {
    std::string out;
    const auto notice = [&](const std::string& html) { out += fmt::format("<p class=\"warning\">{}</p>\n", html); };
    const Json& superd = object_of(state.status(), "superd");
    if (!state.trouble().empty()) {
        const double age = std::chrono::duration<double>(web::Clock::now() - state.seen()).count();
        notice(escape(state.trouble()) +
               (state.status().is_null() ? "" : fmt::format(". What follows is {} old.", brief_duration(age))));
    }
    if (flag_of(superd, "stopping"))
        notice("superd is stopping.");
    else if (flag_of(superd, "draining"))
        notice("superd is draining: it still serves, and will stop.");
    if (const auto why = text_of(object_of(superd, "upgrades"), "refused_because"); !why.empty())
        notice("The last upgrade was refused: " + escape(why));
    return fmt::format("<div>{}</div>\n", out);  // there without any as well: what follows keeps its place
}

std::string summary(const State& state) {
    const Json& superd = object_of(state.status(), "superd");
    Facts facts;
    facts.add("Services", count_of(superd, "services"));
    facts.add("Handlers", count_of(superd, "handlers"));
    facts.add("Clients/s", brief_rate(last_of(state.history().clients_per_second())));
    double refused = 0, failures = 0;
    for (const Json& service : array_of(state.status(), "services")) {
        failures += failed(service);
        for (const auto& [name, value] : object_of(service, "refused").items())
            if (value.is_number()) refused += value.get<double>();
    }
    facts.add("Refused", fmt::format("{:.0f}", refused));
    facts.add("Failed", fmt::format("{:.0f}", failures));
    if (number_of(superd, "penalised") > 0) facts.add("Penalised sources", count_of(superd, "penalised"));
    if (has(superd, "open_descriptors"))
        facts.add("Descriptors", used_of(number_of(superd, "open_descriptors"), number_of(superd, "descriptor_limit")));
    if (number_of(superd, "log_lines_lost") > 0) facts.add("Log lines lost", count_of(superd, "log_lines_lost"));
    const Json& reloads = object_of(superd, "reloads");
    facts.add("Reloads", count_of(reloads, "done") +
                             (number_of(reloads, "refused") > 0 ? ", refused " + count_of(reloads, "refused") : ""));
    facts.add("Up", brief_duration(number_of(superd, "uptime_seconds")));
    facts.add("Version", escape(text_of(superd, "version")));
    facts.add("PID", count_of(superd, "pid"));
    return facts.html("tiles");
}

std::string charts(const Series& clients, const Series& times) {
    return "<div class=\"charts\">\n" + chart("Clients a second", clients, &brief_rate) +
           chart("Handler time", times, &brief_duration) + "</div>\n";
}

// ---- services

bool is_found(const Json& service, const std::string& find) {
    if (find.empty()) return text_of(service, "state") != "disabled";  // as superctl top
    const auto has_it = [&](const std::string& text) { return text.find(find) != std::string::npos; };
    return has_it(text_of(service, "name")) || has_it(text_of(service, "state")) || has_it(text_of(service, "model")) ||
           has_it(text_of(service, "description")) ||
           std::ranges::any_of(array_of(service, "listeners"),
                               [&](const Json& one) { return has_it(text_of(one, "address")); });
}

std::vector<std::string> service_row(const State& state, const Json& service, bool groups) {
    const std::string name = text_of(service, "name"), reason = text_of(service, "reason");
    const Series clients = clients_of(state.history(name));
    const double failures = failed(service);
    std::vector<std::string> row{
        link_to(name),
        badge(service) + (reason.empty() ? "" : fmt::format("<span class=\"why\">{}</span>", escape(reason))),
        used_of(number_of(service, "handlers"), number_of(service, "limit")),
        sparkline(clients) + brief_rate(last_of(clients)),
        count_of(service, "accepted"),
        counts(object_of(service, "refused")),
        failures > 0 ? fmt::format("<span class=\"many\">{:.0f}</span>", failures) : "0",
        time_of(service, "handler_seconds", "median"),
        time_of(service, "handler_seconds", "p99"),
        escape(text_of(service, "model")),
        addresses_of(service)};
    if (groups) {
        const Json& group = object_of(service, "cgroup");
        row.push_back(has(group, "memory") ? brief_size(number_of(group, "memory")) : "");
        row.push_back(has(group, "cpu_seconds") ? brief_duration(number_of(group, "cpu_seconds")) : "");
    }
    return row;
}

std::string pager(const std::string& find, std::size_t page, std::size_t found) {
    if (found <= kRows) return "";
    const auto to = [&](std::size_t where, const char* text) {
        return fmt::format(" <a href=\"/?find={}&amp;page={}\">{}</a>", percent_encode(find), where, text);
    };
    std::string out = fmt::format("<nav aria-label=\"Pages of services\">{} to {} of {}.", page * kRows + 1,
                                  std::min(found, (page + 1) * kRows), found);
    if (page > 0) out += to(page - 1, "Previous");
    if ((page + 1) * kRows < found) out += to(page + 1, "Next");
    return out + "</nav>\n";
}

std::string services_table(const State& state, const std::string& find, std::size_t page) {
    const Json& services = array_of(state.status(), "services");
    std::vector<const Json*> found;
    for (const Json& service : services)
        if (is_found(service, find)) found.push_back(&service);
    page = std::min(page, found.empty() ? 0 : (found.size() - 1) / kRows);
    const auto first = found.begin() + static_cast<std::ptrdiff_t>(page * kRows);
    const auto last = found.begin() + static_cast<std::ptrdiff_t>(std::min(found.size(), (page + 1) * kRows));
    const bool groups = std::any_of(first, last, [](const Json* one) { return !object_of(*one, "cgroup").empty(); });
    std::vector<Column> columns{{"Name"},
                                {"State"},
                                {"Handlers", true},
                                {"Clients/s", true},
                                {"Accepted", true, 1},
                                {"Refused", false, 1},
                                {"Failed", true, 1},
                                {"Median", true, 2},
                                {"p99", true, 1},
                                {"Model", false, 2},
                                {"Address", false, 2}};
    if (groups) columns.insert(columns.end(), {{"Memory", true, 2}, {"CPU time", true, 2}});
    Table table("Services", "of-services", std::move(columns));
    for (auto at = first; at != last; ++at) table.add(service_row(state, **at, groups));
    std::string out = "<section><h2>Services</h2>\n";
    if (services.size() > 12 || !find.empty())
        out += fmt::format(
            "<form role=\"search\" action=\"/\"><label for=\"find\">Find in name, state, model or address</label> "
            "<input "
            "id=\"find\" name=\"find\" value=\"{}\" maxlength=\"100\"> <button>Find</button></form>\n",
            escape(find));
    out += table.empty() ? std::string(find.empty() ? "<p>There are none.</p>\n" : "<p>None has that.</p>\n")
                         : table.html() +
                               "<p class=\"hint\">A wider window shows more, and a service's own page "
                               "everything.</p>\n";
    return out + pager(find, page, found.size()) + "</section>\n";
}

// ---- processes

std::string state_of(const Json& process) {
    std::string state = flag_of(process, "stopping") ? "stopping" : flag_of(process, "busy") ? "busy" : "";
    if (flag_of(process, "former")) state += state.empty() ? "earlier definition" : ", earlier definition";
    return state;
}

std::string processes_table(const State& state, const std::string& service) {
    std::vector<const Json*> shown;
    for (const Json& process : array_of(state.processes(), "processes")) {
        const std::string kind = text_of(process, "kind");
        if (service.empty() ? kind != "parked" && kind != "holder" && kind != "launcher"
                            : text_of(process, "service") == service)
            shown.push_back(&process);
    }
    const auto cpu = [](const Json* one) { return number_of(object_of(*one, "usage"), "cpu_percent"); };
    std::ranges::stable_sort(shown, [&](const Json* a, const Json* b) { return cpu(a) > cpu(b); });
    std::vector<Column> columns{{"PID"},       {"Kind", false, 1},  {"Client"},         {"Age", true, 1},
                                {"CPU", true}, {"Memory", true, 1}, {"State", false, 2}};
    if (service.empty()) columns.insert(columns.begin() + 1, {"Service"});
    Table table(service.empty() ? "Connections" : "Processes", "of-processes", std::move(columns));
    for (std::size_t i = 0; i < shown.size() && i < kProcesses; ++i) {
        const Json& process = *shown[i];
        const Json& usage = object_of(process, "usage");
        std::vector<std::string> row{count_of(process, "pid"),
                                     escape(text_of(process, "kind")),
                                     escape(text_of(process, "peer")),
                                     brief_duration(number_of(process, "age_seconds")),
                                     usage.empty() ? "" : fmt::format("{:.1f} %", number_of(usage, "cpu_percent")),
                                     usage.empty() ? "" : brief_size(number_of(usage, "memory")),
                                     state_of(process)};
        if (service.empty()) row.insert(row.begin() + 1, link_to(text_of(process, "service")));
        table.add(row);
    }
    std::string out = fmt::format("<section><h2>{}</h2>\n", service.empty() ? "Connections" : "Processes");
    out += table.empty() ? "<p>There are none.</p>\n" : table.html();
    const auto listed = static_cast<double>(array_of(state.processes(), "processes").size());
    const double hidden = static_cast<double>(shown.size()) - static_cast<double>(std::min(shown.size(), kProcesses));
    const double unlisted = std::max(number_of(state.processes(), "total") - listed, 0.0);
    if (hidden > 0) out += fmt::format("<p>{} less busy not shown.</p>\n", counted(hidden, "process"));
    if (unlisted > 0)
        out += fmt::format("<p>superd has {:.0f} more of all services, which it does not list.</p>\n", unlisted);
    return out + "</section>\n";
}

// ---- one service

std::string group_text(const Json& group) {
    std::string out;
    if (has(group, "memory")) {
        out += brief_size(number_of(group, "memory"));
        if (has(group, "memory_max")) out += " of " + brief_size(number_of(group, "memory_max"));
        out +=
            " of memory" + (has(group, "memory_max") ? bar(number_of(group, "memory"), number_of(group, "memory_max"))
                                                     : std::string());
    }
    if (has(group, "pids"))
        out += fmt::format("{}{} tasks", out.empty() ? "" : "<br>",
                           used_of(number_of(group, "pids"), number_of(group, "pids_max")));
    out += fmt::format("{}{} of processor time", out.empty() ? "" : "<br>",
                       brief_duration(number_of(group, "cpu_seconds")));
    if (number_of(group, "throttled_seconds") > 0)
        out += fmt::format(", held up for {}", brief_duration(number_of(group, "throttled_seconds")));
    if (number_of(group, "memory_kills") > 0)
        out += fmt::format("<br>{} killed for want of memory", count_of(group, "memory_kills"));
    return out;
}

std::string addresses_in_full(const Json& service) {
    std::string out;
    for (const Json& listener : array_of(service, "listeners")) {
        const bool waits = !flag_of(listener, "open") && flag_of(service, "enabled");
        out += fmt::format("{}<span class=\"address\">{}</span>{}", out.empty() ? "" : "<br>",
                           escape(text_of(listener, "address")), waits ? " (waited for)" : "");
    }
    return out;
}

std::string sandbox_text(const Json& sandbox) {
    std::string out = escape(text_of(sandbox, "preset")), without;
    for (const Json& one : array_of(sandbox, "left_out"))
        without += (without.empty() ? " without " : ", ") + escape(text_of(one, "key"));
    return out + without;
}

std::string warm_text(const Json& warm) {
    std::string out = escape(text_of(warm, "in_force"));
    if (const auto why = text_of(warm, "reason"); !why.empty())
        out += fmt::format(" instead of {}: {}", escape(text_of(warm, "wanted")), escape(why));
    return out;
}

std::string facts_of(const Json& service) {
    Facts facts;
    const std::string reason = text_of(service, "reason");
    facts.add("State", badge(service) + (reason.empty() ? "" : " " + escape(reason)));
    facts.add("Address", addresses_in_full(service));
    facts.add("Handlers", used_of(number_of(service, "handlers"), number_of(service, "limit")));
    facts.add("Spare", count_of(service, "spare"));
    facts.add("Clients", fmt::format("{} accepted, {} held, {} waiting for a handler, {} not known yet",
                                     count_of(service, "accepted"), count_of(service, "held"),
                                     count_of(service, "stalled"), count_of(service, "pending")));
    facts.add("Refused", counts(object_of(service, "refused")));
    if (const auto earned = counts(object_of(service, "penalties")); !earned.empty())
        facts.add("Penalties",
                  fmt::format("{}; now refused: {}", earned, counted(number_of(service, "penalised"), "source")));
    facts.add("Ended", counts(object_of(service, "exits")));
    facts.add("Not started", count_of(service, "spawn_failures"));
    const auto times = [&](const char* histogram) {
        const std::string median = time_of(service, histogram, "median");
        return median.empty() ? "" : fmt::format("median {}, p99 {}", median, time_of(service, histogram, "p99"));
    };
    facts.add("Handler time", times("handler_seconds"));
    facts.add("Accept to exec", times("accept_to_exec_seconds"));
    facts.add("Model",
              fmt::format("{}, handoff {}", escape(text_of(service, "model")), escape(text_of(service, "handoff"))));
    facts.add("Sandbox", sandbox_text(object_of(service, "sandbox")));
    if (const Json& warm = object_of(service, "warm"); !warm.empty()) facts.add("Warm", warm_text(warm));
    if (const Json& sessions = object_of(service, "sessions"); !sessions.empty())
        facts.add("Sessions", fmt::format("{} open, {} waiting, {} begun", count_of(sessions, "open"),
                                          count_of(sessions, "waiting"), count_of(sessions, "begun")));
    if (const Json& group = object_of(service, "cgroup"); !group.empty()) facts.add("Resources", group_text(group));
    if (number_of(service, "stderr_dropped") > 0)
        facts.add("Lines of stderr dropped", count_of(service, "stderr_dropped"));
    if (number_of(service, "sockets_mended") > 0) facts.add("Sockets put right", count_of(service, "sockets_mended"));
    return facts.html("facts");
}

std::string verdict(const Question& question) {
    if (!question.answer) return "";
    if (!*question.answer) return fmt::format("<p class=\"warning\">{}</p>\n", escape(question.answer->error()));
    const Json& said = **question.answer;
    std::string out = fmt::format(
        "<p><strong>{}{}</strong>: {}</p>\n<ol class=\"steps\">\n", escape(text_of(said, "client")),
        question.via.empty() ? "" : " by " + escape(text_of(said, "via")), escape(text_of(said, "verdict")));
    for (const Json& step : array_of(said, "steps")) {
        const std::string outcome = text_of(step, "outcome");
        out += fmt::format("<li><span class=\"state {}\">{}</span> {}: {}</li>\n",
                           outcome == "served"    ? "good"
                           : outcome == "refused" ? "bad"
                                                  : "notice",
                           escape(outcome), escape(text_of(step, "step")), escape(text_of(step, "text")));
    }
    return out + "</ol>\n";
}

/// The script leaves this part alone: it has what somebody is typing, and superd is asked once.
std::string explain_form(const std::string& name, const Question& question) {
    return fmt::format(
        R"(<section id="explain" data-keep><h2>What would happen to a client</h2>
<form action="/service/{}#explain">
<p><label for="client">Client</label> <input id="client" name="client" value="{}" maxlength="100" required autocomplete="off" spellcheck="false" aria-describedby="client-hint"></p>
<p><label for="via">Through the proxy (may be empty)</label> <input id="via" name="via" value="{}" maxlength="100" autocomplete="off" spellcheck="false"></p>
<p><button>Explain</button></p>
<p class="hint" id="client-hint">An IP address, uid:N or cid:N. Nothing is sent to it.</p>
</form>
{}</section>
)",
        percent_encode(name), escape(question.client), escape(question.via), verdict(question));
}

}  // namespace

std::string overview(const State& state, const std::string& find, std::size_t page) {
    std::string main = "<h1>Overview</h1>\n" + notices(state);
    if (!state.status().is_null())
        main += summary(state) + charts(state.history().clients_per_second(), state.history().handler_seconds()) +
                services_table(state, find, page) + processes_table(state, "");
    return document("superd", main);
}

std::string service_page(const State& state, const Json& service, const Question& question) {
    const std::string name = text_of(service, "name"), description = text_of(service, "description");
    std::string main =
        fmt::format("<nav aria-label=\"Way back\"><a href=\"/\">All services</a></nav>\n<h1>{}</h1>\n", escape(name));
    if (!description.empty()) main += fmt::format("<p class=\"lead\">{}</p>\n", escape(description));
    main += notices(state) + facts_of(service);
    if (const History* history = state.history(name))
        main += charts(history->clients_per_second(), history->handler_seconds());
    return document(escape(name) + " – superd", main + processes_table(state, name) + explain_form(name, question));
}

std::string message_page(const std::string& title, const std::string& text) {
    return document(
        escape(title) + " – superd",
        fmt::format("<h1>{}</h1>\n<p>{}</p>\n<p><a href=\"/\">All services</a></p>\n", escape(title), escape(text)));
}

}  // namespace status
