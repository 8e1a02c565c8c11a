// SPDX-License-Identifier: MIT
#include "conf/resources.h"

#include "tests/catch.h"

#include "unit/conf/folder.h"

namespace superd::conf::resources_tests {

using namespace test;

namespace {

const sys::Delegation kAll{"/cg", "", {"cpu", "io", "memory", "pids"}};
const sys::Delegation kSome{"/cg", "", {"memory"}};
const sys::Delegation kNone{"", "superd is in the root cgroup /cg, which is everybody's", {}};

/// The errors of a definition with these [resources], from line 5 on.
std::string errors(const std::string& text, std::optional<sys::Delegation> given) {
    const Folder folder;
    folder.define("a", sound + "[resources]\n" + text + "\n");
    Surroundings from = folder.surroundings();
    from.cgroup = std::move(given);
    return folder.errors(from);
}

}  // namespace

TEST_CASE("each of [resources] sets what it names") {
    Resources expected;
    expected.memory_max = 64 << 20;
    expected.memory_high = 48 << 20;
    expected.memory_swap_max = 0;
    expected.pids_max = 20;
    expected.cpu_max = 150;
    expected.cpu_weight = 50;
    expected.io_weight = 10'000;
    expected.leftovers = Leftovers::end;
    const std::string text =
        "memory_max = \"64M\"\nmemory_high = \"48M\"\nmemory_swap_max = \"0K\"\npids_max = 20\ncpu_max = \"150%\"\n"
        "cpu_weight = 50\nio_weight = 10000\nleftovers = \"end\"";
    CHECK(service_of("[resources]\n" + text).resources == expected);
    CHECK(errors(text, kAll).empty());
    CHECK(service_of("").resources == Resources{});
}

TEST_CASE("a percentage is a whole number with its sign") {
    const std::string form = " is not a percentage: write a whole number and \"%\", such as \"50%\"\n";
    for (const std::string wrong : {"", "%", "x%", "-1%", "1.5%", "50 %", "50%%", "9999999999%"})
        CHECK(errors_of("[resources]\ncpu_max = \"" + wrong + "\"") ==
              "5:11: resources.cpu_max \"" + wrong + "\"" + form);
    CHECK(errors_of("[resources]\ncpu_max = 50") ==
          "5:11: resources.cpu_max 50 has no unit: write a percentage with its unit, such as \"50%\"\n");
    CHECK(errors_of("[resources]\ncpu_max = \"0%\"") ==
          "5:11: resources.cpu_max \"0%\" is out of range 1 to 1000000\n");
    CHECK(errors_of("[resources]\ncpu_max = true") ==
          "5:11: resources.cpu_max: expected a percentage such as \"50%\", found true or false\n");
}

TEST_CASE("limits need a cgroup of superd's own, and the error says how to get one") {
    const std::string why =
        " needs a cgroup of superd's own, and superd is in the root cgroup /cg, which is everybody's: under systemd, "
        "superd.service gets one by Delegate=yes\n";
    CHECK(errors("memory_max = \"1M\"", kNone) == "conf.d/a.toml:5:14: resources.memory_max" + why);
    CHECK(errors("leftovers = \"end\"", kNone) == "conf.d/a.toml:5:13: resources.leftovers" + why);
    CHECK(errors("leftovers = \"keep\"", kNone).empty());
    // superctl does not know what superd has been given.
    CHECK(errors("memory_max = \"1M\"", std::nullopt).empty());
}

TEST_CASE("each limit needs its controller") {
    CHECK(errors("memory_max = \"1M\"\nmemory_high = \"1M\"\nleftovers = \"end\"", kSome).empty());
    for (const auto& [line, key, controller] : {std::tuple("pids_max = 1", "pids_max", "pids"),
                                                {"cpu_max = \"1%\"", "cpu_max", "cpu"},
                                                {"cpu_weight = 1", "cpu_weight", "cpu"},
                                                {"io_weight = 1", "io_weight", "io"}}) {
        INFO(line);
        const std::string all = errors(line, kSome);
        CHECK(all.find(std::string("resources.") + key + " needs the cgroup v2 controller \"" + controller +
                       "\", which superd's cgroup /cg does not have\n") != std::string::npos);
    }
}

TEST_CASE("a default that cannot hold here is left out with a warning") {
    const Folder folder;
    folder.write("superd.toml", "[defaults.resources]\nmemory_max = \"1M\"\npids_max = 9\n");
    folder.define("a", sound);
    Surroundings from = folder.surroundings();
    from.cgroup = kSome;
    Diagnostics warnings;
    const auto catalog = load(from, &warnings);
    REQUIRE(catalog);
    CHECK(catalog->services.at("a").resources->memory_max == 1 << 20);
    CHECK_FALSE(catalog->services.at("a").resources->pids_max);
    REQUIRE(warnings.size() == 1);
    CHECK(
        warnings[0].message.starts_with("resources.pids_max is left out: it needs the cgroup v2 controller \"pids\""));
    const auto left_out = conf::left_out(catalog->services.at("a"));
    REQUIRE(left_out.size() == 1);
    CHECK(left_out[0].key == "resources.pids_max");
    CHECK(left_out[0].why.ends_with("does not have"));
}

TEST_CASE("a reload reads all definitions again once superd's cgroup allows something else") {
    const Folder folder;
    folder.define("a", sound + "[resources]\npids_max = 9\n");
    Surroundings from = folder.surroundings();
    from.ahead = std::chrono::seconds(10);
    from.cgroup = kAll;
    Seen seen;
    const auto catalog = load(from, nullptr, &seen);
    REQUIRE(catalog);
    from.names.ask();
    CHECK(reload(from, *catalog, seen)->kept.size() == 1);
    from.cgroup = kSome;
    from.names.ask();
    CHECK_FALSE(reload(from, *catalog, seen));
}

}  // namespace superd::conf::resources_tests
