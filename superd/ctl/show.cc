// SPDX-License-Identifier: MIT
#include "ctl/show.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "core/report.h"

namespace superd::ctl {
namespace {

using core::Status;

std::string count_of(const Json& object, const char* name) {
    return fmt::format("{:.0f}", number_of(object, name));
}

const Json& object_of(const Json& object, const char* name) {
    static const Json kNone = Json::object();
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_object() ? *at : kNone;
}

/// "-" if nothing was counted.
std::string time_of(const Json& object, const char* histogram, const char* name) {
    const Json& times = object_of(object, histogram);
    const auto at = times.find(name);
    return at != times.end() && at->is_number() ? brief_duration(at->get<double>()) : "-";
}

/// "denied 2, gone 1": the counts of an object that are not 0.
std::string counts_of(const Json& counts) {
    std::string text;
    for (const auto& [name, value] : counts.items())
        if (value.is_number() && value.get<double>() > 0)
            text += fmt::format("{}{} {:.0f}", text.empty() ? "" : ", ", name, value.get<double>());
    return text.empty() ? "-" : text;
}

/// "clone: 412 served by copies of 1234, which was ready after 34ms 2h ago; it drew random numbers"
/// "strict without private_tmp, private_network (superctl security NAME)"
std::string sandbox_text(const Json& sandbox) {
    std::string out = escape(text_of(sandbox, "preset")), missing;
    for (const Json& one : array_of(sandbox, "left_out")) {
        const std::string key = text_of(one, "key");
        missing += (missing.empty() ? " without " : ", ") + escape(short_key(key));
    }
    return missing.empty() ? out : out + missing + " (superctl security says why)";
}

std::string warm_text(const Json& warm) {
    std::string out = escape(text_of(warm, "in_force"));
    if (const auto reason = text_of(warm, "reason"); !reason.empty())
        out += fmt::format(" instead of {}: {}", escape(text_of(warm, "wanted")), escape(reason));
    if (const Json& copied = object_of(warm, "template"); !copied.empty())
        out += fmt::format(", {} served by copies of {}, started {} ago", count_of(copied, "served"),
                           count_of(copied, "pid"), brief_duration(number_of(copied, "age_seconds")));
    const Json& facts = object_of(warm, "facts");
    if (facts.empty()) return out;
    out += fmt::format("; it was ready after {}, with {}", brief_duration(number_of(facts, "start_seconds")),
                       counted(static_cast<std::size_t>(number_of(facts, "files")), "file"));
    const auto files = [&](const char* name) {
        return counted(static_cast<std::size_t>(number_of(facts, name)), "file");
    };
    if (number_of(facts, "unwatched_files") > 0)
        out += fmt::format(" ({} compared now and then, not watched)", files("unwatched_files"));
    if (number_of(facts, "left_out_files") > 0)
        out += fmt::format(" and {} that it may write itself or that are too many, of which changes are not seen",
                           files("left_out_files"));
    if (number_of(facts, "threads") > 1) out += fmt::format(" and {} threads", count_of(facts, "threads"));
    if (number_of(facts, "unwatched_files") > 0)
        out += fmt::format(", {} unwatched", count_of(facts, "unwatched_files"));
    if (facts.value("asked_pid", Json()) == true) out += "; it asked for its pid";
    if (facts.value("drew_random", Json()) == true) out += "; it drew random numbers";
    return out;
}

/// "12 open, 3 waiting, 40 begun; ended by superd: idle 2, gave_way 1; datagrams dropped: overflow 9; 4 queued"
std::string sessions_text(const Json& sessions) {
    std::string out = fmt::format("{} open, {} waiting, {} begun", count_of(sessions, "open"),
                                  count_of(sessions, "waiting"), count_of(sessions, "begun"));
    const std::string ended =
        counts_of({{"idle", number_of(sessions, "idle")}, {"gave_way", number_of(sessions, "gave_way")}});
    const std::string dropped = counts_of(object_of(sessions, "dropped"));
    if (ended != "-") out += "; ended by superd: " + ended;
    if (dropped != "-") out += "; datagrams dropped: " + dropped;
    if (number_of(sessions, "queued") > 0) out += fmt::format("; {} queued", count_of(sessions, "queued"));
    return out;
}

/// "12M of 64M (peak 31M), 5 of 20 processes, 1.2s of processor time; 3 killed for want of memory"
std::string resources_text(const Json& group) {
    const auto has = [&](const char* name) { return group.value(name, Json()).is_number(); };
    const auto limit = [&](const char* name, auto form) {
        return has(name) ? fmt::format(" of {}", form(number_of(group, name))) : std::string();
    };
    const auto size = [](double bytes) { return brief_size(bytes); };
    std::string out;
    if (has("memory")) {
        out += fmt::format("{}{} of memory", size(number_of(group, "memory")), limit("memory_max", size));
        if (has("memory_peak")) out += fmt::format(" (peak {})", size(number_of(group, "memory_peak")));
        out += ", ";
    }
    if (has("pids"))
        out += fmt::format("{}{} processes, ", count_of(group, "pids"),
                           limit("pids_max", [](double count) { return fmt::format("{:.0f}", count); }));
    out += fmt::format("{} of processor time", brief_duration(number_of(group, "cpu_seconds")));
    if (number_of(group, "throttled_seconds") > 0)
        out += fmt::format(", held up by cpu_max {} times for {}", count_of(group, "throttled_periods"),
                           brief_duration(number_of(group, "throttled_seconds")));
    if (number_of(group, "memory_kills") > 0)
        out += fmt::format("; {} killed for want of memory", count_of(group, "memory_kills"));
    if (number_of(group, "pids_max_reached") > 0)
        out += fmt::format("; pids_max reached {} times", count_of(group, "pids_max_reached"));
    return out;
}

/// Of a service with its own cgroup.
void add_usage(const Json& group, Row& row) {
    const auto memory = group.find("memory"), seconds = group.find("cpu_seconds");
    const auto is_there = [&](auto at) { return at != group.end() && at->is_number(); };
    row.emplace_back(is_there(memory) ? brief_size(memory->get<double>()) : "-");
    row.emplace_back(is_there(seconds) ? brief_duration(seconds->get<double>()) : "-");
}

/// "CPU 1.2s user, 0.3s system; 12M of memory at most; 3.4M in, 12M out, 0 segments sent again"
std::string usage_text(const Json& usage) {
    return fmt::format("CPU {} user, {} system; {} of memory at most; {} in, {} out, {} sent again",
                       brief_duration(number_of(usage, "user_seconds")),
                       brief_duration(number_of(usage, "system_seconds")), brief_size(number_of(usage, "memory_peak")),
                       brief_size(number_of(usage, "bytes_in")), brief_size(number_of(usage, "bytes_out")),
                       counted(static_cast<std::size_t>(number_of(usage, "retransmits")), "segment"));
}

std::string processes_table(const Json& answer, const Terminal& terminal) {
    const std::vector<Column> columns = {
        {"PID", true}, {"KIND"}, {"PEER", false, 12}, {"AGE", true}, {"STATE", false, 0, 1}};
    std::vector<Row> rows;
    for (const Json& process : array_of(answer, "processes")) {
        const auto flag = [&](const char* name) { return process.value(name, Json()) == true; };
        std::string state = flag("stopping") ? "stopping" : flag("busy") ? "busy" : "";
        if (flag("former")) state += state.empty() ? "earlier definition" : ", earlier definition";
        const std::string peer = text_of(process, "peer");
        rows.push_back({count_of(process, "pid"), text_of(process, "kind"), peer.empty() ? "-" : peer,
                        brief_duration(number_of(process, "age_seconds")), state});
    }
    if (rows.empty()) return "";
    std::string out = "\n" + format_table(columns, rows, terminal);
    const double total = number_of(answer, "total");
    if (total > static_cast<double>(rows.size()))
        out += fmt::format("… and {:.0f} more\n", total - static_cast<double>(rows.size()));
    return out;
}

}  // namespace

std::string_view short_key(std::string_view key) {
    static constexpr std::string_view kTable = "sandbox.";
    return key.starts_with(kTable) ? key.substr(kTable.size()) : key;
}

std::string text_of(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

double number_of(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_number() ? at->get<double>() : 0;
}

const Json& array_of(const Json& object, const char* name) {
    static const Json kNone = Json::array();
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_array() ? *at : kNone;
}

/// nullopt: this superctl does not know it.
std::optional<Status> status_of(const Json& service) {
    return find_named<Status>(text_of(service, "state"));
}

Colour colour_of(std::optional<Status> status) {
    if (status == Status::listening) return Colour::good;
    if (status == Status::backoff || status == Status::waiting) return Colour::bad;
    return status == Status::disabled ? Colour::dim : Colour::notice;
}

std::string addresses_of(const Json& service) {
    const Json& listeners = array_of(service, "listeners");
    if (listeners.empty()) return "-";
    std::string text = text_of(listeners[0], "address");
    if (listeners.size() > 1) text += fmt::format(" +{}", listeners.size() - 1);
    return text;
}

std::string show_status(const Json& answer, const Terminal& terminal) {
    const Json& superd = object_of(answer, "superd");
    std::string out = fmt::format("superd {}, pid {}, up {}: {}, {}{}\n", escape(text_of(superd, "version")),
                                  count_of(superd, "pid"), brief_duration(number_of(superd, "uptime_seconds")),
                                  counted(static_cast<std::size_t>(number_of(superd, "services")), "service"),
                                  counted(static_cast<std::size_t>(number_of(superd, "handlers")), "handler"),
                                  superd.value("stopping", Json()) == true   ? ", stopping"
                                  : superd.value("draining", Json()) == true ? ", draining"
                                                                             : "");
    if (const auto why = text_of(object_of(superd, "reloads"), "refused_because"); !why.empty())
        out += fmt::format("the last reload was refused: {}\n", escape(why));
    if (const auto why = text_of(object_of(superd, "upgrades"), "refused_because"); !why.empty())
        out += fmt::format("the last upgrade was refused: {}\n", escape(why));
    if (number_of(superd, "penalised") > 0)
        out += fmt::format("refused everywhere for their penalty: {}\n",
                           counted(static_cast<std::size_t>(number_of(superd, "penalised")), "source"));
    std::vector<Column> columns = {{"NAME", false, 10},      {"STATE"},
                                   {"MODEL", false, 0, 7},   {"ADDRESS", false, 16},
                                   {"HANDLERS", true, 0, 1}, {"SPARE", true, 0, 6},
                                   {"ACCEPTED", true, 0, 3}, {"REFUSED", false, 8, 2},
                                   {"FAILED", true, 0, 1},   {"MEDIAN", true, 0, 4},
                                   {"P99", true, 0, 5}};
    const auto has_group = [](const Json& service) { return !object_of(service, "cgroup").empty(); };
    const bool groups = std::ranges::any_of(array_of(answer, "services"), has_group);
    if (groups) columns.insert(columns.end(), {{"MEMORY", true, 0, 8}, {"CPU TIME", true, 0, 9}});
    // Few services measure it.
    const auto uses = [](const Json& service) { return !object_of(service, "usage").empty(); };
    const bool told = std::ranges::any_of(array_of(answer, "services"), uses);
    if (told) columns.insert(columns.end(), {{"CPU", true, 0, 4}, {"IN", true, 0, 5}, {"OUT", true, 0, 5}});
    std::vector<Row> rows;
    for (const Json& service : array_of(answer, "services")) {
        const std::string state = text_of(service, "state");
        if (status_of(service) == Status::disabled) continue;  // list shows them
        const double failed = number_of(service, "failures") + number_of(service, "spawn_failures");
        rows.push_back({text_of(service, "name"),
                        {state, colour_of(status_of(service))},
                        text_of(service, "model"),
                        addresses_of(service),
                        fmt::format("{}/{}", count_of(service, "handlers"), count_of(service, "limit")),
                        count_of(service, "spare"),
                        count_of(service, "accepted"),
                        counts_of(object_of(service, "refused")),
                        {fmt::format("{:.0f}", failed), failed > 0 ? Colour::bad : Colour::plain},
                        time_of(service, "handler_seconds", "median"),
                        time_of(service, "handler_seconds", "p99")});
        if (groups) add_usage(object_of(service, "cgroup"), rows.back());
        if (!told) continue;
        const Json& usage = object_of(service, "usage");
        const auto cell = [&](const std::string& text) { return Cell(usage.empty() ? "-" : text); };
        rows.back().insert(
            rows.back().end(),
            {cell(brief_duration(number_of(usage, "user_seconds") + number_of(usage, "system_seconds"))),
             cell(brief_size(number_of(usage, "bytes_in"))), cell(brief_size(number_of(usage, "bytes_out")))});
    }
    return rows.empty() ? out : out + "\n" + format_table(columns, rows, terminal);
}

std::string show_service(const Json& answer, const Terminal& terminal) {
    const Json& services = array_of(answer, "services");
    if (services.empty()) return "";
    const Json& service = services[0];
    const std::string state = text_of(service, "state"), reason = text_of(service, "reason");
    const std::string description = text_of(service, "description");
    std::string out = escape(text_of(service, "name"));
    out += description.empty() ? "\n" : fmt::format(": {}\n", escape(description));
    const auto line = [&](const char* what, const std::string& text) {
        out += fmt::format("  {:<15} {}\n", what, text);
    };
    line("state", painted(state, colour_of(status_of(service)), terminal.colour) +
                      (reason.empty() ? "" : ": " + escape(reason)));
    line("model", fmt::format("{}, handoff {}", text_of(service, "model"), text_of(service, "handoff")));
    if (const Json& usage = object_of(service, "usage"); !usage.empty()) line("usage", usage_text(usage));
    if (const Json& warm = object_of(service, "warm"); !warm.empty()) line("warm", warm_text(warm));
    if (const Json& sandbox = object_of(service, "sandbox"); !sandbox.empty()) line("sandbox", sandbox_text(sandbox));
    for (const Json& listener : array_of(service, "listeners"))
        line("address",
             escape(text_of(listener, "address")) +
                 (listener.value("open", Json()) == true || status_of(service) == Status::disabled ? ""
                                                                                                   : " (waited for)"));
    line("handlers", fmt::format("{} of {}, {} spare", count_of(service, "handlers"), count_of(service, "limit"),
                                 count_of(service, "spare")));
    line("clients",
         fmt::format("{} accepted, {} held, {} waiting for a handler, {} not known yet", count_of(service, "accepted"),
                     count_of(service, "held"), count_of(service, "stalled"), count_of(service, "pending")));
    if (const Json& sessions = object_of(service, "sessions"); !sessions.empty())
        line("sessions", sessions_text(sessions));
    line("refused", counts_of(object_of(service, "refused")));
    const std::string penalties = counts_of(object_of(service, "penalties"));
    if (penalties != "-")
        line("penalties", fmt::format("{}; {} now refused", penalties,
                                      counted(static_cast<std::size_t>(number_of(service, "penalised")), "source")));
    line("ended", counts_of(object_of(service, "exits")));
    line("not started", count_of(service, "spawn_failures"));
    // Most services never have these.
    if (count_of(service, "stderr_dropped") != "0")
        line("stderr", fmt::format("{} lines dropped by log.stderr_rate", count_of(service, "stderr_dropped")));
    if (count_of(service, "reply_failures") != "0")
        line("answers",
             fmt::format("{} sent, {} failed", count_of(service, "replies"), count_of(service, "reply_failures")));
    if (count_of(service, "sockets_mended") != "0")
        line("sockets", fmt::format("corrected {} times", count_of(service, "sockets_mended")));
    if (const Json& group = object_of(service, "cgroup"); !group.empty()) line("resources", resources_text(group));
    line("handler time", fmt::format("median {}, p99 {}", time_of(service, "handler_seconds", "median"),
                                     time_of(service, "handler_seconds", "p99")));
    line("accept to exec", fmt::format("median {}, p99 {}", time_of(service, "accept_to_exec_seconds", "median"),
                                       time_of(service, "accept_to_exec_seconds", "p99")));
    return out + processes_table(answer, terminal);
}

std::string show_list(const Json& answer, const Terminal& terminal) {
    const std::vector<Column> columns = {
        {"NAME", false, 10}, {"STATE"}, {"ADDRESS", false, 16}, {"DESCRIPTION", false, 11}};
    std::vector<Row> rows;
    for (const Json& service : array_of(answer, "services")) {
        const std::string state = text_of(service, "state");
        std::string addresses;
        for (const Json& address : array_of(service, "listen"))
            if (address.is_string()) addresses += (addresses.empty() ? "" : " ") + address.get<std::string>();
        rows.push_back({text_of(service, "name"),
                        {state, colour_of(status_of(service))},
                        addresses,
                        text_of(service, "description")});
    }
    return rows.empty() ? "no services\n" : format_table(columns, rows, terminal);
}

std::string show_changes(const Json& answer, const Terminal& terminal) {
    std::string out;
    std::size_t unchanged = 0;
    for (const Json& item : array_of(answer, "changes")) {
        const std::string change = text_of(item, "change");
        if (change == "unchanged") {
            ++unchanged;
            continue;
        }
        std::string keys;
        for (const Json& key : array_of(item, "keys"))
            if (key.is_string()) keys += (keys.empty() ? ": " : ", ") + key.get<std::string>();
        const Colour colour = change == "add" ? Colour::good : change == "remove" ? Colour::bad : Colour::notice;
        out += painted(fmt::format("{:<7}", change), colour, terminal.colour) +
               fmt::format(" {}{}\n", escape(text_of(item, "service")), escape(keys));
    }
    if (out.empty()) return fmt::format("nothing changes: {}\n", counted(unchanged, "service"));
    return unchanged == 0 ? out : out + fmt::format("{} unchanged\n", unchanged);
}

std::string show_explanation(const Json& answer, const Terminal& terminal) {
    const auto colour = [](const std::string& outcome) {
        return outcome == "served" ? Colour::good : outcome == "refused" ? Colour::bad : Colour::notice;
    };
    std::string out =
        painted(escape(text_of(answer, "verdict")), colour(text_of(answer, "outcome")), terminal.colour) + "\n";
    for (const Json& step : array_of(answer, "steps")) {
        const std::string outcome = text_of(step, "outcome");
        const std::string shown = outcome == "served" ? "ok" : outcome;
        out += fmt::format("  {:<16}", escape(text_of(step, "step"))) +
               painted(fmt::format("{:<9}", shown), colour(outcome), terminal.colour) +
               fmt::format("{}\n", escape(text_of(step, "text")));
    }
    return out;
}

std::string show_refusal(const Json& answer) {
    std::string out;
    for (const Json& error : array_of(answer, "errors")) {
        // Lines of their own, each of which superd has escaped already; done again in case it was not superd.
        const std::string text = text_of(error, "text");
        for (const std::string_view line : split(text, '\n'))
            if (!line.empty()) out += escape(line) + "\n";
    }
    return out + fmt::format("superctl: {}\n", escape(text_of(answer, "error")));
}

}  // namespace superd::ctl
