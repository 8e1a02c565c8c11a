// SPDX-License-Identifier: MIT
#include "control/request.h"

#include <fmt/format.h>
#include <signal.h>

#include <optional>

#include "base/signal.h"
#include "base/text.h"
#include "control/metrics.h"
#include "control/security.h"
#include "control/shapes.h"

namespace superd::control {
namespace {

using core::Operations;

constexpr std::size_t kMostProcesses = 1000;

/// The result of a verb: members of the answer, or an error.
using Outcome = Result<Json>;
using Act = Outcome (*)(Operations&, const Json& request, Rights);

/// A string member; absent: empty. Anything else is the client's error.
Result<std::string> text(const Json& request, const char* name, bool required = false) {
    const auto at = request.find(name);
    if (at == request.end() && !required) return std::string();
    if (at == request.end() || !at->is_string()) return fail(fmt::format("\"{}\" must be a string", name));
    auto value = at->get<std::string>();
    if (required && value.empty()) return fail(fmt::format("\"{}\" is empty", name));
    return value;
}

std::optional<core::ServiceReport> find(const Operations& superd, const std::string& name) {
    for (auto& service : superd.services())
        if (service.name == name) return std::move(service);
    return std::nullopt;
}

std::unexpected<Error> no_service(const Operations& superd, const std::string& name) {
    std::vector<std::string> names;
    for (const auto& service : superd.services()) names.push_back(service.name);
    const auto meant = closest(name, names);
    return fail(
        fmt::format("no service \"{}\"{}", escape(name), meant ? fmt::format(" (did you mean \"{}\"?)", *meant) : ""));
}

Json processes_of(const Operations& superd, const std::string& service) {
    const auto [processes, total] = superd.processes(service, kMostProcesses);
    Json all = Json::array();
    for (const auto& process : processes) all.push_back(to_json(process));
    return {{"processes", std::move(all)}, {"total", total}};
}

Outcome status(Operations& superd, const Json& request, Rights) {
    const auto name = text(request, "service");
    if (!name) return std::unexpected(name.error());
    Json out{{"superd", to_json(superd.report())}, {"services", Json::array()}};
    if (name->empty()) {
        for (const auto& service : superd.services()) out["services"].push_back(to_json(service));
        return out;
    }
    const auto service = find(superd, *name);
    if (!service) return no_service(superd, *name);
    out["services"].push_back(to_json(*service));
    out.update(processes_of(superd, *name));
    return out;
}

Outcome list(Operations& superd, const Json&, Rights) {
    Json all = Json::array();
    for (const auto& service : superd.services()) {
        Json addresses = Json::array();
        for (const auto& listener : service.listeners) addresses.push_back(listener.uri);
        all.push_back({{"name", service.name},
                       {"description", service.description},
                       {"enabled", service.enabled},
                       {"state", name_of(service.status)},
                       {"model", service.model},
                       {"listen", std::move(addresses)}});
    }
    return Json{{"services", std::move(all)}};
}

Outcome processes(Operations& superd, const Json& request, Rights) {
    const auto name = text(request, "service");
    if (!name) return std::unexpected(name.error());
    if (!name->empty() && !find(superd, *name)) return no_service(superd, *name);
    return processes_of(superd, *name);
}

/// A refused reload has an answer of its own, which says what is wrong.
Json changes(const core::ReloadReport& report, const char* what) {
    if (!report.refused) return {{"changes", to_json(report.items)}};
    return {{"ok", false},
            {"error", fmt::format("{}: {}", what, counted(report.complaints.size(), "error"))},
            {"errors", to_json(report.complaints)}};
}

/// For a client that may only look, superd looks nobody up: a name service may take its time, and all of superd waits.
Outcome plan(Operations& superd, const Json&, Rights rights) {
    return changes(superd.plan(rights == Rights::command), "a reload would be refused");
}

Outcome reload(Operations& superd, const Json&, Rights) {
    return changes(superd.reload(), "reload refused, everything stays as it was");
}

template <Result<void> (Operations::*act)(const std::string&)>
Outcome hold(Operations& superd, const Json& request, Rights) {
    const auto name = text(request, "service", true);
    if (!name) return std::unexpected(name.error());
    if (const auto done = (superd.*act)(*name); !done) return std::unexpected(done.error());
    const auto service = find(superd, *name);
    if (!service) return no_service(superd, *name);
    return Json{{"service", *name}, {"state", name_of(service->status)}, {"handlers", service->handlers}};
}

/// One service, or with "all" superd itself, before its end.
Outcome drain(Operations& superd, const Json& request, Rights rights) {
    const auto all = request.find("all");
    if (all == request.end()) return hold<&Operations::drain>(superd, request, rights);
    if (*all != true || request.contains("service")) return fail("\"all\" is true, and without \"service\"");
    const auto before = superd.report();
    superd.drain_all();
    return Json{{"pid", before.pid},
                {"handlers", before.handlers},
                {"seconds", std::chrono::duration<double>(superd.in_force().shutdown.drain).count()}};
}

/// The status of the superd that then runs shows the result.
Outcome upgrade(Operations& superd, const Json&, Rights) {
    const auto before = superd.report();
    if (const auto begun = superd.upgrade(); !begun) return std::unexpected(begun.error());
    return Json{{"pid", before.pid}, {"upgrades", {{"done", before.upgrades}, {"refused", before.upgrades_refused}}}};
}

Outcome stop(Operations& superd, const Json&, Rights) {
    const auto before = superd.report();
    superd.stop();
    return Json{{"pid", before.pid}, {"handlers", before.handlers}};
}

/// "TERM", "SIGTERM", "15", 15. 0: not a signal.
int signal_number(const Json& value) {
    if (value.is_number_integer()) {
        const auto number = value.get<std::int64_t>();
        return number > 0 && number <= SIGRTMAX ? static_cast<int>(number) : 0;
    }
    if (!value.is_string()) return 0;
    const auto name = value.get<std::string>();
    if (const auto number = find_signal(name)) return *number;
    for (int number = 1; number <= SIGRTMAX; ++number) {
        if (name == fmt::format("{}", number)) return number;
    }
    return 0;
}

Outcome kill(Operations& superd, const Json& request, Rights) {
    const auto target = text(request, "target", true);
    if (!target) return std::unexpected(target.error());
    std::optional<int> number;
    if (const auto at = request.find("signal"); at != request.end() && !at->is_null()) {
        number = signal_number(*at);
        if (*number == 0)
            return fail(fmt::format("{} is not a signal: TERM, KILL, HUP … or a number",
                                    at->is_string() ? "\"" + escape(at->get<std::string>()) + "\"" : "\"signal\""));
    }
    const auto signalled = superd.kill(*target, number);
    if (!signalled) return std::unexpected(signalled.error());
    return Json{{"target", *target}, {"signal", number ? Json(*number) : Json()}, {"signalled", *signalled}};
}

Outcome explain(Operations& superd, const Json& request, Rights) {
    const auto service = text(request, "service", true);
    if (!service) return std::unexpected(service.error());
    const auto client = text(request, "client", true);
    if (!client) return std::unexpected(client.error());
    const auto via = text(request, "via");
    if (!via) return std::unexpected(via.error());
    const auto explanation = superd.explain(*service, *client, *via);
    if (!explanation) return std::unexpected(explanation.error());
    Json out{{"service", *service}, {"client", *client}};
    if (!via->empty()) out["via"] = *via;
    out.update(to_json(*explanation));
    return out;
}

Outcome rate(Operations& superd, const Json& request, Rights) {
    const auto name = text(request, "service");
    if (!name) return std::unexpected(name.error());
    auto rated = security(superd.in_force(), *name);
    if (!rated) return no_service(superd, *name);
    return std::move(*rated);
}

Outcome metrics(Operations& superd, const Json& request, Rights) {
    const auto format = text(request, "format");
    if (!format) return std::unexpected(format.error());
    if (!format->empty() && *format != "prometheus" && *format != "openmetrics")
        return fail("\"format\" is neither \"prometheus\" nor \"openmetrics\"");
    const bool strict = *format == "openmetrics";
    return Json{{"format", strict ? "openmetrics" : "prometheus"},
                {"text", metrics_text(superd, strict ? MetricsFormat::openmetrics : MetricsFormat::prometheus)}};
}

struct Verb {
    const char* name;
    Rights needs;
    Act act;
};

constexpr Verb kVerbs[] = {
    {"status", Rights::look, status},
    {"list", Rights::look, list},
    {"processes", Rights::look, processes},
    {"plan", Rights::look, plan},
    {"explain", Rights::look, explain},
    {"metrics", Rights::look, metrics},
    {"security", Rights::look, rate},
    {"reload", Rights::command, reload},
    {"pause", Rights::command, hold<&Operations::pause>},
    {"resume", Rights::command, hold<&Operations::resume>},
    {"drain", Rights::command, drain},
    {"kill", Rights::command, kill},
    {"stop", Rights::command, stop},
    {"upgrade", Rights::command, upgrade},
};

std::string line_of(const Json& json) {
    // Paths and arguments of other programs may not be UTF-8.
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string refusal(std::string_view why) {
    return line_of({{"version", kVersion}, {"ok", false}, {"error", why}});
}

Answer answer(Operations& superd, std::string_view line, Rights rights) {
    const Json request = Json::parse(line, nullptr, false);
    if (!request.is_object()) return {refusal("a request is one JSON object in one line"), "", false};
    const auto version = request.find("version");
    if (version == request.end() || *version != kVersion)
        return {refusal(fmt::format("\"version\" must be {}: superd {} speaks only that", kVersion, SUPERD_VERSION)),
                "", false};
    const auto name = text(request, "verb", true);
    if (!name) return {refusal(name.error().text), "", false};
    for (const Verb& verb : kVerbs) {
        if (*name != verb.name) continue;
        if (rights < verb.needs) {
            const char* who = rights == Rights::handler ? "a handler, and what it has started, may only look"
                                                        : "root and superd's own user may, [control] readers only look";
            return {refusal(fmt::format("{}: not permitted: {}", verb.name, who)), verb.name, false};
        }
        auto outcome = verb.act(superd, request, rights);
        if (!outcome) return {refusal(outcome.error().text), verb.name, false};
        Json out{{"version", kVersion}, {"ok", true}};
        for (auto& member : outcome->items()) out[member.key()] = std::move(member.value());  // they can be large
        return {line_of(out), verb.name, verb.needs == Rights::command};
    }
    return {refusal(fmt::format("no verb \"{}\"", escape(*name))), "", false};
}

}  // namespace superd::control
