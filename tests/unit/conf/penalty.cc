// SPDX-License-Identifier: MIT
// [penalty] and log.usage: what they mean, and where they cannot.
#include "catch.h"
#include "conf/plan.h"
#include "unit/conf/folder.h"

namespace superd::conf::penalty_tests {

using namespace test;
using namespace std::chrono_literals;

namespace {

std::string warnings_of(const std::string& text) {
    const Folder folder;
    folder.define("a", sound + text + "\n");
    Diagnostics warnings;
    REQUIRE(load(folder.surroundings(), &warnings));
    std::string out;
    for (const Diagnostic& one : warnings)
        out += fmt::format("{}:{}: {}\n", one.place.line, one.place.column, one.message);
    return out;
}

}  // namespace

TEST_CASE("there are no penalties without [penalty]; an empty one has the defaults") {
    CHECK_FALSE(service_of("").penalty->on);
    CHECK_FALSE(service_of("").penalty.is_kept());
    const Service empty = service_of("[penalty]");
    const Penalty& plain = *empty.penalty;
    CHECK(plain.on);
    CHECK(plain.failed == 10s);
    CHECK(plain.crashed == 20s);
    CHECK(plain.refused == 5s);
    CHECK_FALSE(plain.touched);
    CHECK(plain.threshold == 30s);
    CHECK(plain.max == 10min);
    CHECK(plain.exempt == std::vector{*sys::parse_prefix("127.0.0.0/8"), *sys::parse_prefix("::1")});
    CHECK_FALSE(plain.everywhere);
    const Service all = service_of(
        "[penalty]\nfailed = \"1s\"\ncrashed = \"2s\"\nrefused = \"0s\"\ntouched = \"3s\"\nthreshold = \"0s\"\n"
        "max = \"4s\"\nexempt = [\"10.0.0.0/8\"]\neverywhere = true");
    CHECK(*all.penalty == Penalty{true, 1s, 2s, 0s, 3s, 0s, 4s, {*sys::parse_prefix("10.0.0.0/8")}, true});
    const Service nobody = service_of("penalty.exempt = []");
    CHECK(nobody.penalty->exempt.empty());
}

TEST_CASE("[penalty] is an error where senders can be forged, and where superd does not see the clients") {
    const std::string udp = "listen = \"udp://127.0.0.1:7\"\nmodel = \"fork\"\nexec = [\"handler\"]\n";
    CHECK(errors_in(udp + "[penalty]\n") ==
          "4:2: [penalty] does not apply to datagrams: whoever forges a sender would punish others\n");
    CHECK(errors_of("handoff = \"listen\"\n[penalty]\nfailed = \"1s\"")
              .find("5:2: [penalty] cannot be enforced: under "
                    "handoff \"listen\"") == std::string::npos);
    const std::string pool = "listen = \"tcp://127.0.0.1:7\"\nmodel = \"prefork\"\nexec = [\"handler\"]\n";
    CHECK(errors_in(pool + "handoff = \"listen\"\n[penalty]\n")
              .starts_with("5:2: [penalty] cannot be enforced: under handoff \"listen\""));
    CHECK(errors_in(pool + "[penalty]\n").empty());
    CHECK(errors_in("listen = \"unix://@x\"\nmodel = \"fork\"\nexec = [\"handler\"]\n[penalty]\n").empty());
}

TEST_CASE("a default [penalty] has no effect where it cannot apply") {
    const Folder folder;
    folder.write("superd.toml", "[defaults.penalty]\nfailed = \"7s\"\n[defaults.log]\nusage = true\n");
    folder.define("a", sound);
    folder.define("b", "listen = \"udp://127.0.0.1:7\"\nmodel = \"iterative\"\nexec = [\"handler\"]\n");
    const auto services = folder.services();
    CHECK(services.at("a").penalty->on);
    CHECK(services.at("a").penalty->failed == 7s);
    CHECK(services.at("a").log_usage);
    CHECK_FALSE(services.at("b").penalty->on);
    CHECK_FALSE(services.at("b").log_usage);
}

TEST_CASE("a penalty that can never pass the threshold is an error") {
    const std::string why = "nobody would ever be refused\n";
    CHECK(errors_of("[penalty]\nmax = \"30s\"") == "5:7: penalty.max 30s is not above penalty.threshold 30s: " + why);
    CHECK(errors_of("[penalty]\nthreshold = \"10m\"") ==
          "5:13: penalty.max 10m is not above penalty.threshold 10m: " + why);
    CHECK(errors_of("[penalty]\nthreshold = \"0s\"").empty());
    CHECK(errors_of("[penalty]\nmax = 5").find("not above") == std::string::npos);
}

TEST_CASE("check warns where neighbours share a penalty") {
    CHECK(warnings_of("[limits]\nsource_prefix_ipv4 = 24\nsource_prefix_ipv6 = 48\n[penalty]\n") ==
          "5:22: limits.source_prefix_ipv4 24: neighbours in one /24 share its penalties, so one of them can have all "
          "refused\n"
          "6:22: limits.source_prefix_ipv6 48: neighbours in one /48 share its penalties, so one of them can have all "
          "refused\n");
    CHECK(warnings_of("[limits]\nsource_prefix_ipv4 = 24").empty());
    CHECK(warnings_of("[limits]\nsource_prefix_ipv4 = 32\nsource_prefix_ipv6 = 128\n[penalty]\n").empty());
}

TEST_CASE("usage is an error under handoff = \"listen\"") {
    const std::string pool = "listen = \"tcp://127.0.0.1:7\"\nmodel = \"prefork\"\nexec = [\"handler\"]\n";
    CHECK(errors_in(pool + "handoff = \"listen\"\n[log]\nusage = true\n")
              .starts_with("6:9: log.usage cannot be enforced: under handoff \"listen\""));
    CHECK(service_in(pool + "[log]\nusage = true\n").log_usage);
    CHECK_FALSE(service_of("").log_usage);
}

TEST_CASE("a reload plans for a [penalty] that comes, even an empty one") {
    Catalog before, after;
    before.services["a"] = service_of("");
    after = before;
    after.services["a"].penalty->on = true;
    const auto items = plan(before, after);
    REQUIRE(items.size() == 1);
    CHECK(items[0].change == Change::renew);
    CHECK(items[0].keys == std::vector<std::string>{"penalty.threshold"});
}

}  // namespace superd::conf::penalty_tests
