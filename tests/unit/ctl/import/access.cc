// SPDX-License-Identifier: MIT
#include "ctl/import/access.h"

#include <random>

#include "admit/access.h"
#include "imported.h"

namespace superd::ctl::access_tests {

namespace {

AccessList list(std::initializer_list<std::pair<const char*, bool>> rules, bool rest) {
    AccessList out{"list", {"f", 1}, {}, rest, {}, {}};
    for (const auto& [prefix, in] : rules) out.add({*sys::parse_prefix(prefix)}, in);
    return out;
}

std::pair<std::string, std::string> set(const std::vector<AccessList>& lists) {
    Import import;
    Imported service;
    service.set("listen", "tcp://*:7", {});
    set_access(import, service, lists);
    return {value(service, "access.allow"), value(service, "access.deny")};
}

using Pair = std::pair<std::string, std::string>;

}  // namespace

TEST_CASE("access: lists become the shortest lists with the same decisions") {
    CHECK(set({}) == Pair{"", ""});
    CHECK(set({list({}, true)}) == Pair{"", ""});
    CHECK(set({list({}, false)}) == Pair{"", R"(["0.0.0.0/0", "::/0"])"});
    CHECK(set({list({{"10.0.0.0/8", true}}, false)}) == Pair{R"(["10.0.0.0/8"])", ""});
    CHECK(set({list({{"10.0.0.0/8", false}}, true)}) == Pair{"", R"(["10.0.0.0/8"])"});
    CHECK(set({list({{"10.1.0.0/16", true}, {"10.0.0.0/8", false}}, true)}) ==
          Pair{R"(["10.1.0.0/16", "0.0.0.0/0", "::/0"])", R"(["10.0.0.0/8"])"});
    // The first match decides, and every list must let the client in.
    CHECK(set({list({{"10.0.0.0/8", false}, {"10.1.0.0/16", true}}, true)}) == Pair{"", R"(["10.0.0.0/8"])"});
    CHECK(set({list({{"10.0.0.0/8", true}}, false), list({{"10.1.0.0/16", false}}, true)}) ==
          Pair{R"(["10.0.0.0/8"])", R"(["10.1.0.0/16"])"});
}

TEST_CASE("access: superd lets in exactly the clients that all lists let in, for random lists") {
    std::mt19937 random(1);
    const auto below = [&](unsigned most) { return std::uniform_int_distribution<unsigned>(0, most - 1)(random); };
    const auto address = [&] {
        return "10." + std::to_string(below(2)) + "." + std::to_string(below(2)) + "." + std::to_string(below(3));
    };
    for (int round = 0; round < 2000; ++round) {
        std::vector<AccessList> lists;
        for (unsigned count = 1 + below(2); count > 0; --count) {
            AccessList one{"list", {}, {}, below(2) == 0, {}, {}};
            for (unsigned rules = below(4); rules > 0; --rules)
                one.add({*sys::parse_prefix(address() + "/" + std::to_string(8 * (1 + below(4))))}, below(2) == 0);
            lists.push_back(std::move(one));
        }
        Import import;
        Imported service;
        service.set("listen", "tcp://*:7", {});
        set_access(import, service, lists);
        const auto prefixes = [&](const char* key) {
            std::vector<sys::Prefix> out;
            const std::string toml = value(service, key);
            for (std::size_t at = toml.find('"'); at != std::string::npos; at = toml.find('"', at)) {
                const std::size_t end = toml.find('"', at + 1);
                out.push_back(*sys::parse_prefix(toml.substr(at + 1, end - at - 1)));
                at = end + 1;
            }
            return out;
        };
        conf::Access access;
        access.allow = prefixes("access.allow");
        access.deny = prefixes("access.deny");
        const admit::AccessRules rules(access);
        for (int i = 0; i < 20; ++i) {
            const sys::Prefix client = *sys::parse_prefix(i == 0 ? "11.0.0.1" : i == 1 ? "fd00::1" : address());
            bool expected = true;
            for (const AccessList& one : lists) {
                const auto rule = std::ranges::find_if(
                    one.rules, [&](const AccessList::Rule& each) { return each.prefix.contains(client.base); });
                expected = expected && (rule != one.rules.end() ? rule->in : one.rest);
            }
            INFO(client.text() << " allow " << value(service, "access.allow") << " deny "
                               << value(service, "access.deny"));
            REQUIRE(rules.decide(client.base).allowed == expected);
        }
    }
}

}  // namespace superd::ctl::access_tests
