// SPDX-License-Identifier: MIT
#include "core/state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "catch.h"

using namespace superd;
using core::State;

namespace {

/// With something in every kind of field.
State example() {
    State state;
    state.proof = "abc";
    state.binary = "/usr/sbin/superd";
    state.folder = "/caf\xe9";  // no UTF-8
    state.nofile_soft = 1024;
    state.nofile_hard = ~std::uint64_t{0};
    state.begun = Instant(Duration(17));
    state.upgrades = 3;
    state.log_lost = 8;
    state.names = {{"user \xff", true, {1, 2, "\xff", "/", "/bin/sh"}, {3}, 4}};
    state.descriptors = {{5, 7, 9, false}};

    conf::Service service;
    service.name = "web";
    service.listen = {{.transport = conf::Transport::tcp, .host = "::1", .port = 80, .path = {}, .name = {}}};
    service.model = conf::Model::prefork;
    service.handler.argv = {"cat", std::string("\xff\0\x80", 3)};
    service.handler.identity = sys::Identity{1, 2, {3, 4}, "daemon"};
    service.handler.rlimits = {{7, 1, ~rlim_t{0}}};
    service.max_lifetime = std::chrono::seconds(5);
    service.socket.v6only = false;
    service.limits.rate = conf::Rate{std::chrono::seconds(2), 3};
    service.limits.max_load = 0.1;
    service.access.allow = {*sys::parse_prefix("10.0.0.0/8")};
    service.access.times = {{2, 3, 4}};
    state.catalog.services["web"] = service;
    state.catalog.control.readers = {100};

    core::ServiceState& running = state.services.emplace_back();
    running.name = "web";
    running.hold = 1;
    running.stats.accepted = 12;
    running.stats.handler_time.add(std::chrono::milliseconds(3));
    running.errors.partial = "half a l\xefne";
    running.errors.full_at = Instant(Duration(77));
    running.errors.dropped = {5, Instant(Duration(1)), Instant(Duration(2))};
    running.cannot_start = "no handler can be started: \xc3\xa4";
    running.intake.admission.sources = {{{admit::SourceKey::Kind::ipv4, {10, 1}}, Instant(Duration(99))}};
    core::GenerationState& generation = running.current.emplace();
    generation.definition = service;
    generation.wake_at = Instant(Duration(5));
    generation.model = {1, -2, 3};
    core::ChildState& child = generation.children.emplace_back();
    child.pid = 42;
    child.peer = *sys::Address::inet("192.0.2.1", 99);
    child.place.emplace();
    child.relay.emplace().as.emplace(1, 2);
    child.reports = {1, 2, 3};
    child.given = {*sys::Address::inet("::1", 80), conf::SocketType::seqpacket, {17, ~ino_t{0}}};
    state.ports.push_back(
        {"key",
         service.listen[0],
         net::Listener::Kept{.fd = 5, .where = service.listen[0], .options = {}, .passed_name = {}, .path = {}, .settings = {}},
         {Instant(Duration(6)), {Duration(7), 8}},
         {"shut down", "cannot", true, true, {Duration(9), 10}, Instant(Duration(11)), Instant(Duration(12))},
         "web",
         0});
    return state;
}

}  // namespace

TEST_CASE("what is read back of a state is what was written") {
    const State before = example();
    const auto after = core::read_state(core::write_state(before));
    REQUIRE(after);
    CHECK(core::write_state(*after) == core::write_state(before));
    CHECK(after->catalog == before.catalog);
    CHECK(after->folder == before.folder);
    const auto& child = after->services.at(0).current->children.at(0);
    CHECK(child.peer == before.services[0].current->children[0].peer);
    CHECK(child.relay->as->second == 2);
    CHECK(child.given.inodes == before.services[0].current->children[0].given.inodes);
    CHECK(child.given.type == conf::SocketType::seqpacket);
    CHECK(after->services[0].errors.partial == before.services[0].errors.partial);
    CHECK(after->services[0].cannot_start == before.services[0].cannot_start);
    CHECK(after->services[0].stats.handler_time.count() == 1);
    CHECK(after->services[0].errors.dropped.count == 5);
    CHECK(after->names.at(0).user.name == "\xff");
    CHECK(after->log_lost == 8);
    CHECK(after->ports.at(0).condition.trouble == "shut down");
    CHECK(after->ports.at(0).condition.renewals.tries == 10);
    CHECK(after->ports.at(0).condition.renew_at == Instant(Duration(12)));
}

TEST_CASE("a state that is cut off, of another shape or out of range is refused") {
    const std::string whole = core::write_state(example());
    for (std::size_t size = 0; size < whole.size(); size += 7) CHECK_FALSE(core::read_state(whole.substr(0, size)));
    const auto with = [&](const std::string& old, const std::string& next) {
        std::string text = whole;
        const auto at = text.find(old);
        REQUIRE(at != std::string::npos);
        return core::read_state(text.replace(at, old.size(), next));
    };
    CHECK_FALSE(with("\"abc\"", "7"));
    CHECK_FALSE(with("\"abc\",", ""));
    CHECK_FALSE(with("/caf", "/\xe2\x82\xac"));  // a code point that is no byte
    const auto other = with(fmt::format("\"superd\":{}", core::kStateVersion), "\"superd\":1");
    REQUIRE_FALSE(other);
    CHECK(other.error().text.find("version 1") != std::string::npos);
}

TEST_CASE("a descriptor that is not what the state says is found out, and each goes to one owner") {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    core::Descriptors before;
    CHECK(before.keep(ends[0]) == ends[0]);
    CHECK(before.keep(-1) == -1);
    core::Descriptors after(before.entries());
    CHECK(after.check());
    CHECK_FALSE(after.sound());
    {
        const sys::Fd claimed = after.claim(ends[0]);
        CHECK(claimed.get() == ends[0]);
        CHECK(after.sound());
        CHECK_FALSE(after.claim(ends[0]));
        CHECK_FALSE(after.sound());
    }
    const int other = open("/dev/null", O_RDONLY);
    REQUIRE(dup2(other, ends[0]) == ends[0]);
    CHECK_FALSE(core::Descriptors(before.entries()).check());
    for (const int fd : {other, ends[0], ends[1]}) close(fd);
    CHECK_FALSE(core::Descriptors(before.entries()).check());
}

TEST_CASE("a model's memory is read back field by field, and one of another length is refused") {
    std::optional<Instant> when = Instant(Duration(3));
    std::deque<pid_t> pids = {4, 5};
    Backoff backoff(std::chrono::seconds(1), std::chrono::seconds(8));
    (void)backoff.next();
    bool flag = true;
    model::Memory written;
    written(when, pids, backoff, flag);

    std::optional<Instant> when2;
    std::deque<pid_t> pids2;
    Backoff backoff2(std::chrono::seconds(1), std::chrono::seconds(8));
    bool flag2 = false;
    model::Memory read(written.words());
    read(when2, pids2, backoff2, flag2);
    CHECK(read.done());
    CHECK(when2 == when);
    CHECK(pids2 == pids);
    CHECK(backoff2.tries() == 1);
    CHECK(flag2);

    model::Memory longer(written.words());
    longer(when2, pids2, backoff2);
    CHECK_FALSE(longer.done());
    auto words = written.words();
    words.pop_back();
    model::Memory shorter(words);
    shorter(when2, pids2, backoff2, flag2);
    CHECK_FALSE(shorter.done());
    words = {0, 1 << 30};
    model::Memory huge(words);
    huge(when2, pids2);
    CHECK_FALSE(huge.done());
}
