// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "conf/plan.h"
#include "unit/conf/folder.h"

namespace superd::conf::plan_tests {

using namespace test;

namespace {

Catalog catalog(const std::map<std::string, std::string>& definitions) {
    const Folder folder;
    for (const auto& [name, text] : definitions) folder.define(name, text);
    Surroundings from = folder.surroundings();
    // A handler of the same path in each.
    from.handler_path = "/usr/bin:/bin";
    auto loaded = load(from);
    if (!loaded) throw std::runtime_error(format(loaded.error()));
    return std::move(*loaded);
}

const std::string cat = "model = \"fork\"\nexec = [\"cat\"]\nlisten = \"tcp://127.0.0.1:70";
std::string on(int port, const std::string& more = "") {
    return cat + std::to_string(port) + "\"\n" + more + "\n";
}

/// The change that `more` makes to a service.
PlanItem change(const std::string& before, const std::string& after) {
    const auto items = plan(catalog({{"a", on(10, before)}}), catalog({{"a", on(10, after)}}));
    REQUIRE(items.size() == 1);
    return items[0];
}

}  // namespace

TEST_CASE("a plan lists what comes, goes and stays, by name") {
    const auto items =
        plan(catalog({{"stays", on(10)}, {"goes", on(11)}, {"off", on(12)}, {"never", on(13, "enabled = false")}}),
             catalog({{"stays", on(10)},
                      {"comes", on(11)},
                      {"off", on(12, "enabled = false")},
                      {"never", on(13, "enabled = false\nnice = 1")}}));
    std::string shown;
    for (const PlanItem& item : items) shown += item.service + " " + name_of(item.change) + "\n";
    CHECK(shown == "comes add\ngoes remove\noff remove\nstays unchanged\n");
}

TEST_CASE("nothing against nothing is an empty plan") {
    CHECK(plan({}, {}).empty());
}

TEST_CASE("a change to a socket rebinds it; any other change renews the handlers") {
    CHECK(change("", "nice = 1").change == Change::renew);
    CHECK(change("", "nice = 1").keys == std::vector<std::string>{"nice"});
    CHECK(change("", "socket.backlog = 5").change == Change::rebind);
    CHECK(change("", "socket.backlog = 5\nnice = 1").keys == std::vector<std::string>{"nice", "socket.backlog"});
    CHECK(change("", "socket.backlog = 4096").change == Change::unchanged);
    const auto moved = plan(catalog({{"a", on(10)}}), catalog({{"a", on(11)}}));
    CHECK(moved[0].change == Change::rebind);
    CHECK(moved[0].keys == std::vector<std::string>{"listen"});
}

TEST_CASE("limits and access are renewed without touching a socket, and a burst is distinct from its rate") {
    const std::string rate = "limits.rate = \"10/s\"\n";
    CHECK(change("", rate + "access.deny = \"::1\"").change == Change::renew);
    CHECK(change(rate, rate + "limits.burst = 10").change == Change::unchanged);
    CHECK(change(rate, rate + "limits.burst = 20").keys == std::vector<std::string>{"limits.burst"});
    CHECK(change(rate, "limits.rate = \"10/m\"").keys == std::vector<std::string>{"limits.rate"});
    CHECK(change(rate + "limits.burst = 20", "").keys == std::vector<std::string>{"limits.rate"});
    CHECK(change("limits.on_excess = \"reject\"\nlimits.reject_text = \"x\"",
                 "limits.on_excess = \"reject\"\nlimits.reject_text = \"y\"")
              .keys == std::vector<std::string>{"limits.reject_text"});
}

TEST_CASE("a difference in any kind of key is found") {
    for (const auto& [text, key] : std::map<std::string, std::string>{
             {"user = \"root\"\ngroup = \"65534\"\nsupplementary_groups = [\"65534\"]", "user"},
             {"group = \"0\"\nsupplementary_groups = [\"65534\"]", "group"},
             {"supplementary_groups = [\"1\"]", "supplementary_groups"},
             {"argv0 = \"x\"", "argv0"},
             {"environment.A = \"x\"", "environment"},
             {"pass_environment = [\"LANG\"]", "environment"},
             {"stop_timeout = \"1s\"", "stop_timeout"},
             {"limits.instances = 2", "limits.instances"},
             {"limits.per_source = 2", "limits.per_source"},
             {"limits.rate = \"10/s\"", "limits.rate"},
             {"limits.per_source_rate = \"10/s\"", "limits.per_source_rate"},
             {"limits.source_prefix_ipv4 = 24", "limits.source_prefix_ipv4"},
             {"limits.source_prefix_ipv6 = 56", "limits.source_prefix_ipv6"},
             {"limits.max_load = 4", "limits.max_load"},
             {"limits.on_excess = \"close\"", "limits.on_excess"},
             {"limits.wait_timeout = \"1s\"", "limits.wait_timeout"},
             {"access.allow = \"10.0.0.0/8\"", "access.allow"},
             {"access.deny = \"10.0.0.0/8\"", "access.deny"},
             {"access.times = \"Mon 08:00-18:00\"", "access.times"},
             {"access.on_deny = \"drop\"", "access.on_deny"},
             {"prefork.max_age = \"1s\"", "prefork.max_age"},
             {"delayed.delay = \"1s\"", "delayed.delay"},
             {"rlimits.nofile = 10", "rlimits.nofile"},
             {"socket.tos = 8", "socket.tos"},
             {"log.connections = \"all\"", "log.connections"}}) {
        INFO(text);
        CHECK(change("supplementary_groups = [\"65534\"]", text.find("supplementary") == std::string::npos
                                                               ? text + "\nsupplementary_groups = [\"65534\"]"
                                                               : text)
                  .keys == std::vector<std::string>{key});
    }
    const auto socket_change = [](const std::string& listen, const std::string& key) {
        const std::string text = "model = \"fork\"\nexec = [\"cat\"]\nlisten = \"" + listen + "\"\n";
        return plan(catalog({{"a", text}}), catalog({{"a", text + key + "\n"}}))[0].keys;
    };
    CHECK(socket_change("tcp://[::]:7010", "socket.v6only = false") == std::vector<std::string>{"socket.v6only"});
    CHECK(socket_change("unix:///run/x", "socket.user = \"root\"") == std::vector<std::string>{"socket.user"});
    CHECK(change("", "stderr = \"null\"\ndescription = \"x\"").keys ==
          std::vector<std::string>{"description", "stderr"});
}

}  // namespace superd::conf::plan_tests
