// SPDX-License-Identifier: MIT
#include "conf/schema.h"

#include <fmt/format.h>

#include "conf/read.h"
#include "tests/catch.h"
#include "unit/conf/folder.h"

namespace superd::conf::schema_tests {

using namespace test;
using namespace std::chrono_literals;

namespace {

/// What a service has after a key has been read from this text.
Service with(const Key& key, const std::string& text) {
    const toml::Source source("x", key.name + " = " + text + "\n");
    const auto tree = toml::parse(source);
    REQUIRE(tree);
    Reading reading;
    Diagnostics errors;
    REQUIRE(read_value(key, *tree->find(key.name), reading, errors));
    Service service;
    key.apply(service, reading);
    return service;
}

std::string fallback(std::string_view section, std::string_view name) {
    return find_key(section, name)->fallback;
}

}  // namespace

TEST_CASE("a key's default, read as a value, changes nothing") {
    int read = 0;
    for (const Key& key : keys()) {
        if (key.fallback.empty() || key.apply == nullptr) continue;
        INFO(key.full_name() << " = " << key.fallback);
        const bool bare = key.shape.type == Type::integer || key.shape.type == Type::boolean;
        CHECK(with(key, bare ? key.fallback : "\"" + key.fallback + "\"") == Service{});
        ++read;
    }
    CHECK(read > 20);
}

TEST_CASE("defaults are shown as a person would write them") {
    CHECK(fallback("", "enabled") == "true");
    CHECK(fallback("", "handoff") == "connection");
    CHECK(fallback("", "user") == "nobody");
    CHECK(fallback("", "umask") == "022");
    CHECK(fallback("", "nice") == "0");
    CHECK(fallback("", "stop_signal") == "TERM");
    CHECK(fallback("", "stop_timeout") == "10s");
    CHECK(fallback("socket", "reuse_port") == "false");
    CHECK(fallback("log", "stderr_rate") == "1000/s");
    CHECK(fallback("log", "stderr_burst") == "10000");
}

TEST_CASE("what is required, and what is off unless given, has no default") {
    for (const Key& key : keys())
        if (key.required) CHECK(key.fallback.empty());
    for (const char* name : {"v6only", "keepalive_time", "receive_buffer", "mode"})
        CHECK(fallback("socket", name).empty());
    CHECK(fallback("limits", "per_source").empty());
    CHECK(fallback("", "max_lifetime").empty());
    CHECK(fallback("", "description").empty());
}

TEST_CASE("the words of a choice are the names of its enum") {
    for (const char* name : names_of(Excess{}))
        CHECK(name_of(with(*find_key("limits", "on_excess"), fmt::format("\"{}\"", name)).limits->on_excess) ==
              std::string(name));
    CHECK(find_key("limits", "on_excess")->shape.choices.size() == names_of(Excess{}).size());
    CHECK(find_key("", "stderr")->shape.choices == std::vector<std::string>{"log", "socket", "null", "inherit"});
}

TEST_CASE("who writes a key as xinetd or systemd has it is told of superd's") {
    int told = 0;
    for (const Key& key : keys()) {
        for (const Counterpart& one : key.elsewhere) {
            if (find_key("", one.name) != nullptr) continue;
            INFO(one.name);
            CHECK(errors_of(one.name + " = 1").find("(did you mean \"" + key.full_name() + "\"?)") !=
                  std::string::npos);
            CHECK(find_counterpart(one.where, one.name) == &key);
            ++told;
        }
    }
    CHECK(told > 50);
    CHECK(find_counterpart(Elsewhere::xinetd, "MaxConnections") == nullptr);
}

}  // namespace superd::conf::schema_tests
