// SPDX-License-Identifier: MIT
#include "control/security.h"

#include <nlohmann/json.hpp>

#include "catch.h"

namespace superd::control::security_tests {

using nlohmann::json;

namespace {

conf::Catalog two() {
    conf::Catalog catalog;
    catalog.services["open"].name = "open";
    conf::Service& tight = catalog.services["tight"];
    tight.name = "tight";
    tight.handler.path = "/bin/cat";
    tight.sandbox = conf::sandbox_of(conf::Preset::strict);
    tight.sandbox->private_network = false;
    tight.sandbox->path_means = conf::PathMeans::landlock;
    tight.sandbox->left_out = {{"sandbox.private_network", "it can make no network namespace"}};
    return catalog;
}

json rated(const std::string& service) {
    const auto rating = control::security(two(), service);
    REQUIRE(rating);
    return json::parse(rating->text());
}

}  // namespace

TEST_CASE("all services are rated in a line each, and one of them line by line") {
    const json all = rated("");
    REQUIRE(all["services"].size() == 2);
    CHECK(all["services"][0]["name"] == "open");
    CHECK_FALSE(all["services"][0].contains("lines"));
    const json one = rated("tight");
    const json& tight = one["services"][0];
    CHECK(tight["exposure"] == all["services"][1]["exposure"]);
    CHECK(tight["lines"].size() > 60);
    CHECK(tight["unit"].get<std::string>().find("ExecStart=\"/bin/cat\"") != std::string::npos);
    CHECK_FALSE(control::security(two(), "none"));
}

TEST_CASE("what a machine lacks, and that Landlock stands in for mounts, is said") {
    const json all = rated("");
    const json &open = all["services"][0], &tight = all["services"][1];
    CHECK(open["landlock"] == false);
    CHECK(open["left_out"].empty());
    CHECK(tight["landlock"] == true);
    CHECK(tight["left_out"][0]["key"] == "sandbox.private_network");
    CHECK(tight["left_out"][0]["why"] == "it can make no network namespace");
    // Without mounts of its own, and with the machine's network, it is rated so.
    const json one = rated("tight");
    for (const json& line : one["services"][0]["lines"]) {
        if (line["setting"] == "PrivateNetwork=") CHECK(line["mend"] == "sandbox.private_network = true");
        if (line["setting"] == "PrivateMounts=") CHECK(line["exposure"].get<double>() > 0);
    }
}

}  // namespace superd::control::security_tests
