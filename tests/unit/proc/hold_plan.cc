// SPDX-License-Identifier: MIT
#include "proc/hold_plan.h"

#include <algorithm>

#include "catch.h"

namespace superd::proc::hold_plan_tests {

namespace {

bool has(const std::vector<std::string>& words, const std::string& word) {
    return std::ranges::find(words, word) != words.end();
}

/// Where it stands; what is not there stands last.
auto place(const std::vector<std::string>& words, const std::string& word) {
    return std::ranges::find(words, word) - words.begin();
}

}  // namespace

TEST_CASE("base needs no holder, and neither does what a child does by itself") {
    conf::Service service;
    CHECK_FALSE(proc::needs_holder(service));
    service.sandbox = conf::sandbox_of(conf::Preset::none);
    CHECK_FALSE(proc::needs_holder(service));
    service.sandbox->no_new_privileges = true;
    service.sandbox->capabilities = 0;
    service.sandbox->restrict_realtime = true;
    CHECK_FALSE(proc::needs_holder(service));
    service.sandbox->private_network = true;
    CHECK(proc::needs_holder(service));
}

TEST_CASE("strict has all namespaces, and one of users where superd is not root") {
    conf::Service service;
    service.sandbox = conf::sandbox_of(conf::Preset::strict);
    const auto words = proc::hold_words(service, true);
    for (const char* word : {"mounts", "ipc", "network", "pids", "scratch?=/tmp", "devices?=/dev",
                             "processes?=invisible", "inaccessible?=/home", "read-only?=/", "read-only?=/proc/sys"})
        CHECK(has(words, word));
    CHECK_FALSE(has(words, "user"));
    CHECK(has(proc::hold_words(service, false), "user"));
}

TEST_CASE("what is written of a path comes before what a preset says of it") {
    conf::Service service;
    service.handler.root_directory = "/srv/root";
    service.handler.identity = sys::Identity{33, 34, {}, "www"};
    service.sandbox = conf::sandbox_of(conf::Preset::strict);
    service.sandbox->read_write_paths = {{"/sys", false}, {"/srv", true}};
    service.sandbox->state_directory = "mail/queue";
    const auto words = proc::hold_words(service, true);
    CHECK(has(words, "root=/srv/root"));
    CHECK(has(words, "state=33:34:mail/queue"));
    CHECK(has(words, "read-write?=/srv"));
    CHECK(has(words, "read-write=/var/lib/mail/queue"));
    CHECK(place(words, "read-write=/sys") < place(words, "read-only?=/sys"));
}

}  // namespace superd::proc::hold_plan_tests
