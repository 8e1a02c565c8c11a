// SPDX-License-Identifier: MIT
// The verbs that a running superd answers.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

#include "base/signal.h"
#include "base/text.h"
#include "control/server.h"
#include "control/shapes.h"
#include "ctl/asking.h"
#include "ctl/client.h"
#include "ctl/definitions.h"
#include "ctl/show.h"
#include "ctl/top.h"
#include "ctl/verbs.h"

namespace superd::ctl {
namespace {

constexpr useconds_t kLookAgain = 200'000;
/// A fourth of this in seconds: longer than superd gives a proof and the handlers that are about to start.
constexpr int kUpgradeLooks = 30 * 20;

/// Until then clients that are here already get handlers.
bool has_drained(const Json& service) {
    return std::ranges::all_of(std::array{"handlers", "stalled", "held", "pending"},
                               [&](const char* what) { return number_of(service, what) == 0; });
}

void drain(Command& command, const std::string& service, bool wait) {
    const auto say = [&](const Json& answer) {
        const auto handlers = static_cast<std::size_t>(number_of(answer, "handlers"));
        return fmt::format("{}: draining, {} to finish\n", service, counted(handlers, "handler"));
    };
    if (!wait) {
        ask_and_show(command, "drain", {{"service", service}}, say);
        return;
    }
    auto answer = ask(path_of(command), "drain", {{"service", service}});
    if (!answer) return failed(command, answer.error().text);
    if (!is_ok(*answer)) {
        command.status = 1;
        if (command.json)
            print_json(*answer);
        else
            fmt::print(stderr, "{}", show_refusal(*answer));
        return;
    }
    if (!command.json) fmt::print("{}", say(*answer));
    std::fflush(stdout);
    for (bool drained = false; !drained;) {
        const auto status = ask(path_of(command), "status", {{"service", service}});
        if (!status) return failed(command, status.error().text);
        if (!is_ok(*status) || array_of(*status, "services").empty())
            return failed(command, fmt::format("service \"{}\" is gone", service));
        const Json& now = array_of(*status, "services")[0];
        (*answer)["handlers"] = number_of(now, "handlers");
        (*answer)["state"] = text_of(now, "state");
        if (text_of(now, "state") != core::name_of(core::Status::draining))
            return failed(
                command, fmt::format("service \"{}\" is no longer draining: it is {}", service, text_of(now, "state")));
        drained = has_drained(now);
        if (!drained) usleep(kLookAgain);
    }
    (*answer)["handlers"] = 0;
    if (command.json)
        print_json(*answer);
    else
        fmt::print("{}: drained; clients wait until it is resumed\n", service);
}

/// `verb`: stop, or drain of all services.
void stop(Command& command, const char* verb, const Json& members, bool wait) {
    const std::string path = path_of(command);
    auto client = Client::connect(path);
    if (!client) return failed(command, client.error().text);
    const auto answer = client->ask(verb, members);
    if (!answer) return failed(command, answer.error().text);
    if (!is_ok(*answer)) command.status = 1;
    if (is_ok(*answer) && wait) {
        // superd closes idle connections, and this one when it ends. A service manager may start the next superd at
        // once.
        const pid_t pid = client->peer();
        do client->wait_for_end();
        while ((client = Client::connect(path)) && client->peer() == pid);
    }
    if (command.json)
        print_json(*answer);
    else if (is_ok(*answer))
        fmt::print("superd (pid {:.0f}) {}\n", number_of(*answer, "pid"),
                   wait ? "has stopped" : fmt::format("is {}", members.empty() ? "stopping" : "draining"));
    else
        fmt::print(stderr, "{}", show_refusal(*answer));
}

/// superd answers at once. Then either it continues as before, or its successor listens at its socket, and each shows
/// by its counts how the upgrade ended.
void upgrade(Command& command) {
    const std::string path = path_of(command);
    const auto begun = ask(path, "upgrade");
    if (!begun) return failed(command, begun.error().text);
    if (!is_ok(*begun)) {
        command.status = 1;
        if (command.json)
            print_json(*begun);
        else
            fmt::print(stderr, "{}", show_refusal(*begun));
        return;
    }
    const auto count = [](const Json& counts, const char* name) { return number_of(counts, name); };
    const Json before = begun->value("upgrades", Json::object());
    std::string trouble = "it does not say how the upgrade ended";
    for (int i = 0; i < kUpgradeLooks; ++i) {
        usleep(kLookAgain / 4);
        const auto status = ask(path, "status");  // may be cut off by the exec
        if (!status) {
            trouble = status.error().text;
            continue;
        }
        const Json superd = status->value("superd", Json::object());
        const Json now = superd.value("upgrades", Json::object());
        if (count(now, "done") > count(before, "done")) {
            if (command.json)
                print_json(*status);
            else
                fmt::print("superd (pid {:.0f}) is {} now\n", number_of(superd, "pid"), text_of(superd, "version"));
            return;
        }
        if (count(now, "refused") > count(before, "refused"))
            return failed(command, fmt::format("upgrade refused, everything stays as it was: {}",
                                               text_of(now, "refused_because")));
    }
    failed(command, trouble);
}

std::string show_signalled(const Json& answer) {
    const Json& pids = array_of(answer, "signalled");
    const int number = static_cast<int>(number_of(answer, "signal"));
    const std::string what = number == 0 ? "asked to leave" : fmt::format("sent {}", signal_name(number));
    std::string out =
        fmt::format("{} {}", pids.size() == 1 ? "1 process" : fmt::format("{} processes", pids.size()), what);
    for (const Json& pid : pids)
        if (pid.is_number()) out += fmt::format("{}{}", &pid == &pids.front() ? ": " : " ", pid.get<long>());
    return out + "\n";
}

void plan_offline(Command& command, const std::string& config, bool config_given, const std::string& before,
                  const std::string& after) {
    const auto load = [&](const std::string& folder) {
        return conf::load(conf::surroundings({config, config_given, folder}));
    };
    const auto old_catalog = load(before), new_catalog = load(after);
    for (const auto* catalog : {&old_catalog, &new_catalog}) {
        if (*catalog) continue;
        return show_answer(command, refusal_of(catalog->error()), {});
    }
    const Json answer{{"version", control::kVersion},
                      {"ok", true},
                      {"changes", Json::parse(control::to_json(conf::plan(*old_catalog, *new_catalog)).text())}};
    show_answer(command, answer, [](const Json& plan) { return show_changes(plan, Terminal::of_stdout()); });
}

/// Holds a verb's options; lives as long as the command line.
struct Words {
    std::string service, target, signal, client, via, format = "prometheus";
    bool no_wait = false, all = false;
    conf::Places places;
    std::vector<std::string> folders;
};

void add_plan(Command& command, const std::shared_ptr<Words>& words) {
    Verb verb = command.arguments.verb("plan", "what a reload would change");
    verb.footer("add, remove; rebind: new sockets; renew: new handlers; unchanged.");
    const Option offline = verb.option("--offline", words->folders,
                                       "compare two folders of definitions instead, without a daemon; "
                                       "the second is --conf-dir by default")
                               .takes(1, 2)
                               .type("OLD [NEW]");
    const Option folder =
        verb.option("--conf-dir", words->places.conf_dir, "the second folder").type("DIR").needs(offline);
    const Option config = verb.option("--config", words->places.config, "settings and [defaults] of both folders")
                              .type("FILE")
                              .needs(offline);
    verb.act([&command, words, config, folder]() -> std::optional<Verb::Wrong> {
        const auto& folders = words->folders;
        if (folders.size() == 2 && folder.given())
            return Verb::Wrong{"--conf-dir", "--offline names both folders already"};
        if (!folders.empty())
            plan_offline(command, words->places.config, config.given(), folders[0],
                         folders.size() == 2 ? folders[1] : words->places.conf_dir);
        else
            ask_and_show(command, "plan", Json::object(),
                         [](const Json& answer) { return show_changes(answer, Terminal::of_stdout()); });
        return std::nullopt;
    });
}

void add_looking(Command& command, const std::shared_ptr<Words>& words) {
    Verb verb = command.arguments.verb("status", "state and counts of every service, or all about one");
    verb.option("NAME", words->service, "a service");
    verb.act([&command, words] {
        const bool one = !words->service.empty();
        ask_and_show(
            command, "status", one ? Json{{"service", words->service}} : Json::object(), [&](const Json& answer) {
                return one ? show_service(answer, Terminal::of_stdout()) : show_status(answer, Terminal::of_stdout());
            });
    });

    verb = command.arguments.verb("list", "all services, including disabled ones");
    verb.act([&command] {
        ask_and_show(command, "list", Json::object(),
                     [](const Json& answer) { return show_list(answer, Terminal::of_stdout()); });
    });

    verb = command.arguments.verb("explain", "what would happen to a client now, and what decides it");
    verb.option("NAME", words->service, "a service").required();
    verb.option("ADDR", words->client, "an IP address, uid:N of a unix client, cid:N of a vsock one").required();
    verb.option("--via", words->via, "the proxy that names this client by [proxy_protocol]");
    verb.act([&command, words] {
        Json asked{{"service", words->service}, {"client", words->client}};
        if (!words->via.empty()) asked["via"] = words->via;
        ask_and_show(command, "explain", asked,
                     [](const Json& answer) { return show_explanation(answer, Terminal::of_stdout()); });
    });

    verb = command.arguments.verb("metrics", "all counters, for Prometheus");
    verb.option("--format", words->format,
                "prometheus, which promtool checks, or openmetrics, which declares counters without _total")
        .one_of({"prometheus", "openmetrics"});
    verb.act([&command, words] {
        ask_and_show(command, "metrics", {{"format", words->format}},
                     [](const Json& answer) { return text_of(answer, "text"); });
    });

    verb = command.arguments.verb("top", "services and connections, live; q quits");
    verb.act([&command]() -> std::optional<Verb::Wrong> {
        if (command.json) return Verb::Wrong{"--json", "top is for people; status shows the same"};
        command.status = top(path_of(command));
        return std::nullopt;
    });
}

Verb add_hold(Command& command, const std::shared_ptr<Words>& words, const char* name, const char* help,
              const char* says) {
    Verb verb = command.arguments.verb(name, help);
    verb.option("NAME", words->service, "a service").required();
    verb.act([&command, words, name, says] {
        ask_and_show(command, name, {{"service", words->service}},
                     [&](const Json&) { return fmt::format("{}: {}\n", words->service, says); });
    });
    return verb;
}

void add_commanding(Command& command, const std::shared_ptr<Words>& words) {
    Verb verb = command.arguments.verb("reload", "read the definitions again, and put all or none in force");
    verb.act([&command] {
        ask_and_show(command, "reload", Json::object(),
                     [](const Json& answer) { return show_changes(answer, Terminal::of_stdout()); });
    });
    add_hold(command, words, "pause", "let new clients wait in the backlog until resume", "paused; new clients wait")
        .footer(
            "Handlers continue, and the pause outlasts reloads. Pool workers that accept for themselves leave\n"
            "after their client; the owner of a datagram socket keeps it until it ends.");
    add_hold(command, words, "resume", "end a pause or a drain", "resumed");
    verb = command.arguments.verb("drain", "pause, and return once no handler is left");
    verb.footer(
        "If interrupted, the service keeps draining. It takes clients again after resume.\n"
        "With --all superd is not ready any more, serves on as long as [shutdown] drain says, and stops.");
    verb.option("NAME", words->service, "a service");
    verb.flag("--all", words->all, "superd itself, as SIGTERM does; return once it is gone");
    verb.flag("--no-wait", words->no_wait, "return at once");
    verb.act([&command, words]() -> std::optional<Verb::Wrong> {
        if (words->all == !words->service.empty()) return Verb::Wrong{"drain", "names a service, or has --all"};
        if (words->all)
            stop(command, "drain", {{"all", true}}, !words->no_wait);
        else
            drain(command, words->service, !words->no_wait);
        return std::nullopt;
    });

    verb = command.arguments.verb("kill", "end the handlers of a service, or one of superd's processes");
    verb.footer("Without SIGNAL: by the service's stop_signal, and KILL after its stop_timeout.");
    verb.option("TARGET", words->target, "a service, or a pid").required().type("NAME|PID");
    verb.option("SIGNAL", words->signal, "send this signal and no other");
    verb.act([&command, words] {
        Json members{{"target", words->target}};
        if (!words->signal.empty()) members["signal"] = words->signal;
        ask_and_show(command, "kill", std::move(members), show_signalled);
    });

    verb = command.arguments.verb("upgrade",
                                  "continue as the superd now on disk, with all sockets, handlers and "
                                  "counts; returns when done, or says why it cannot");
    verb.act([&command] { upgrade(command); });

    verb = command.arguments.verb("stop", "end all handlers and superd, and return once it is gone");
    verb.footer("A second stop kills the remaining handlers.");
    verb.flag("--no-wait", words->no_wait, "return at once");
    verb.act([&command, words] { stop(command, "stop", Json::object(), !words->no_wait); });
}

}  // namespace

void add_control_verbs(Command& command) {
    command.arguments.option("--control", command.control, "socket of the superd to talk to").type("PATH");
    const auto words = std::make_shared<Words>();
    add_looking(command, words);
    add_plan(command, words);
    add_commanding(command, words);
}

}  // namespace superd::ctl
