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

/// Members of the answer, and its "ok".
struct Reply {
    Reply(JsonText its_members, bool well = true) : members(std::move(its_members)), ok(well) {}
    JsonText members;
    bool ok;
};

/// The result of a verb: what it answers, or an error.
using Outcome = Result<Reply>;
using Act = Outcome (*)(Operations&, const JsonMembers& request, Rights);

/// A string member; absent: empty. Anything else is the client's error.
Result<std::string> text(const JsonMembers& request, const char* name, bool required = false) {
    const auto at = request.find(name);
    if (at == request.end() && !required) return std::string();
    const auto* value = at == request.end() ? nullptr : std::get_if<std::string>(&at->second);
    if (value == nullptr) return fail(fmt::format("\"{}\" must be a string", name));
    if (required && value->empty()) return fail(fmt::format("\"{}\" is empty", name));
    return *value;
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

JsonText processes_of(const Operations& superd, const std::string& service) {
    const auto [processes, total] = superd.processes(service, kMostProcesses);
    JsonText all = JsonText::array();
    for (const auto& process : processes) all.push_back(to_json(process));
    return {{"processes", std::move(all)}, {"total", total}};
}

Outcome status(Operations& superd, const JsonMembers& request, Rights) {
    const auto name = text(request, "service");
    if (!name) return std::unexpected(name.error());
    JsonText all = JsonText::array();
    if (name->empty()) {
        for (const auto& service : superd.services()) all.push_back(to_json(service));
        return JsonText{{"superd", to_json(superd.report())}, {"services", std::move(all)}};
    }
    const auto service = find(superd, *name);
    if (!service) return no_service(superd, *name);
    all.push_back(to_json(*service));
    JsonText out{{"superd", to_json(superd.report())}, {"services", std::move(all)}};
    out.add(processes_of(superd, *name));
    return out;
}

Outcome list(Operations& superd, const JsonMembers&, Rights) {
    JsonText all = JsonText::array();
    for (const auto& service : superd.services()) {
        JsonText addresses = JsonText::array();
        for (const auto& listener : service.listeners) addresses.push_back(listener.uri);
        all.push_back({{"name", service.name},
                       {"description", service.description},
                       {"enabled", service.enabled},
                       {"state", name_of(service.status)},
                       {"model", service.model},
                       {"listen", std::move(addresses)}});
    }
    return JsonText{{"services", std::move(all)}};
}

Outcome processes(Operations& superd, const JsonMembers& request, Rights) {
    const auto name = text(request, "service");
    if (!name) return std::unexpected(name.error());
    if (!name->empty() && !find(superd, *name)) return no_service(superd, *name);
    return processes_of(superd, *name);
}

/// A refused reload has an answer of its own, which says what is wrong.
Reply changes(const core::ReloadReport& report, const char* what) {
    if (!report.refused) return JsonText{{"changes", to_json(report.items)}};
    return {JsonText{{"error", fmt::format("{}: {}", what, counted(report.complaints.size(), "error"))},
                     {"errors", to_json(report.complaints)}},
            false};
}

/// For a client that may only look, superd looks nobody up: a name service may take its time, and all of superd waits.
Outcome plan(Operations& superd, const JsonMembers&, Rights rights) {
    return changes(superd.plan(rights == Rights::command), "a reload would be refused");
}

Outcome reload(Operations& superd, const JsonMembers&, Rights) {
    return changes(superd.reload(), "reload refused, everything stays as it was");
}

template <Result<void> (Operations::*act)(const std::string&)>
Outcome hold(Operations& superd, const JsonMembers& request, Rights) {
    const auto name = text(request, "service", true);
    if (!name) return std::unexpected(name.error());
    if (const auto done = (superd.*act)(*name); !done) return std::unexpected(done.error());
    const auto service = find(superd, *name);
    if (!service) return no_service(superd, *name);
    return JsonText{{"service", *name}, {"state", name_of(service->status)}, {"handlers", service->handlers}};
}

/// One service, or with "all" superd itself, before its end.
Outcome drain(Operations& superd, const JsonMembers& request, Rights rights) {
    const auto all = request.find("all");
    if (all == request.end()) return hold<&Operations::drain>(superd, request, rights);
    if (all->second != JsonValue(true) || request.contains("service"))
        return fail("\"all\" is true, and without \"service\"");
    const auto before = superd.report();
    superd.drain_all();
    return JsonText{{"pid", before.pid},
                    {"handlers", before.handlers},
                    {"seconds", std::chrono::duration<double>(superd.in_force().shutdown.drain).count()}};
}

/// The status of the superd that then runs shows the result.
Outcome upgrade(Operations& superd, const JsonMembers&, Rights) {
    const auto before = superd.report();
    if (const auto begun = superd.upgrade(); !begun) return std::unexpected(begun.error());
    return JsonText{{"pid", before.pid},
                    {"upgrades", {{"done", before.upgrades}, {"refused", before.upgrades_refused}}}};
}

Outcome stop(Operations& superd, const JsonMembers&, Rights) {
    const auto before = superd.report();
    superd.stop();
    return JsonText{{"pid", before.pid}, {"handlers", before.handlers}};
}

/// "TERM", "SIGTERM", "15", 15. 0: not a signal.
int signal_number(const JsonValue& value) {
    if (const auto* number = std::get_if<std::int64_t>(&value))
        return *number > 0 && *number <= SIGRTMAX ? static_cast<int>(*number) : 0;
    const auto* name = std::get_if<std::string>(&value);
    if (name == nullptr) return 0;
    if (const auto number = find_signal(*name)) return *number;
    for (int number = 1; number <= SIGRTMAX; ++number) {
        if (*name == fmt::format("{}", number)) return number;
    }
    return 0;
}

Outcome kill(Operations& superd, const JsonMembers& request, Rights) {
    const auto target = text(request, "target", true);
    if (!target) return std::unexpected(target.error());
    std::optional<int> number;
    if (const auto at = request.find("signal"); at != request.end() && at->second != JsonValue()) {
        number = signal_number(at->second);
        if (*number == 0) {
            const auto* name = std::get_if<std::string>(&at->second);
            return fail(fmt::format("\"{}\" is not a signal: TERM, KILL, HUP … or a number",
                                    name != nullptr ? escape(*name) : "signal"));
        }
    }
    const auto signalled = superd.kill(*target, number);
    if (!signalled) return std::unexpected(signalled.error());
    return JsonText{{"target", *target}, {"signal", number}, {"signalled", *signalled}};
}

Outcome explain(Operations& superd, const JsonMembers& request, Rights) {
    const auto service = text(request, "service", true);
    if (!service) return std::unexpected(service.error());
    const auto client = text(request, "client", true);
    if (!client) return std::unexpected(client.error());
    const auto via = text(request, "via");
    if (!via) return std::unexpected(via.error());
    const auto explanation = superd.explain(*service, *client, *via);
    if (!explanation) return std::unexpected(explanation.error());
    JsonText out{{"service", *service}, {"client", *client}};
    if (!via->empty()) out.add("via", *via);
    out.add(to_json(*explanation));
    return out;
}

Outcome rate(Operations& superd, const JsonMembers& request, Rights) {
    const auto name = text(request, "service");
    if (!name) return std::unexpected(name.error());
    auto rated = security(superd.in_force(), *name);
    if (!rated) return no_service(superd, *name);
    return std::move(*rated);
}

Outcome metrics(Operations& superd, const JsonMembers& request, Rights) {
    const auto format = text(request, "format");
    if (!format) return std::unexpected(format.error());
    if (!format->empty() && *format != "prometheus" && *format != "openmetrics")
        return fail("\"format\" is neither \"prometheus\" nor \"openmetrics\"");
    const bool strict = *format == "openmetrics";
    return JsonText{{"format", strict ? "openmetrics" : "prometheus"},
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

}  // namespace

std::string refusal(std::string_view why) {
    return JsonText{{"version", kVersion}, {"ok", false}, {"error", why}}.text() + "\n";
}

Answer answer(Operations& superd, std::string_view line, Rights rights) {
    const auto request = read_json(line);
    if (!request) return {refusal("a request is one JSON object in one line"), "", false};
    const auto version = request->find("version");
    if (version == request->end() || version->second != JsonValue(kVersion))
        return {refusal(fmt::format("\"version\" must be {}: superd {} speaks only that", kVersion, SUPERD_VERSION)),
                "", false};
    const auto name = text(*request, "verb", true);
    if (!name) return {refusal(name.error().text), "", false};
    for (const Verb& verb : kVerbs) {
        if (*name != verb.name) continue;
        if (rights < verb.needs) {
            const char* who = rights == Rights::handler ? "a handler, and what it has started, may only look"
                                                        : "root and superd's own user may, [control] readers only look";
            return {refusal(fmt::format("{}: not permitted: {}", verb.name, who)), verb.name, false};
        }
        const auto outcome = verb.act(superd, *request, rights);
        if (!outcome) return {refusal(outcome.error().text), verb.name, false};
        JsonText out{{"version", kVersion}, {"ok", outcome->ok}};
        out.add(outcome->members);
        return {std::move(out).text() + "\n", verb.name, verb.needs == Rights::command};
    }
    return {refusal(fmt::format("no verb \"{}\"", escape(*name))), "", false};
}

}  // namespace superd::control
