// SPDX-License-Identifier: MIT
// Who is refused for what its source has done, and who earns nothing.
#include "world.h"

namespace superd::intake::penalty_tests {

using admit::Offence;
using admit::Refusal;
using conf::Excess;

namespace {

conf::Penalty rules(auto set) {
    conf::Penalty all;
    all.on = true;
    set(all);
    return all;
}

/// As if a handler of this client had ended so.
void penalise(World& world, const char* who, Offence what) {
    const auto peer = *sys::Address::inet(who, 1);
    admit::SourceKey source;
    source.kind = admit::SourceKey::Kind::ipv4;
    source.bytes = sys::ip_bytes(peer)->bytes;
    world.intake.penalise(peer, source, what);
}

conf::Penalty of_all(auto set) {
    return rules([&](conf::Penalty& all) {
        all.exempt.clear();
        set(all);
    });
}
conf::Penalty of_all() {
    return of_all([](conf::Penalty&) {});
}

std::uint64_t earned(const World& world) {
    std::uint64_t all = 0;
    for (const auto n : world.intake.offences()) all += n;
    return all;
}

}  // namespace

TEST_CASE("a source whose handlers fail is refused above the threshold, until it has run off; another is served") {
    World world({}, {}, conf::Transport::tcp, of_all());
    for (int i = 0; i < 4; ++i) penalise(world, "127.0.0.2", Offence::failed);
    const auto bad = world.client("127.0.0.2"), good = world.client("127.0.0.3");
    CHECK(world.serve() == 1);
    CHECK(world.serves(good));
    CHECK(seen_by(bad) == "FIN");
    CHECK(world.count(Refusal::penalty) == 1);
    CHECK(world.intake.penalised() == 1);
    CHECK(world.lines.at(0).ends_with("refused: penalty, for another 10s"));
    world.pass(10s);
    const auto again = world.client("127.0.0.2");
    CHECK(world.serve() == 1);
    CHECK(world.serves(again));
    CHECK(world.intake.penalised() == 0);
}

TEST_CASE("on_deny says how a refused client is ended, whatever on_excess is") {
    for (const auto on_deny : {conf::Denial::close, conf::Denial::reset, conf::Denial::drop}) {
        conf::Access access;
        access.on_deny = on_deny;
        World world(limits(Excess::reject), access, conf::Transport::tcp, of_all());
        for (int i = 0; i < 4; ++i) penalise(world, "127.0.0.2", Offence::failed);
        const auto bad = world.client("127.0.0.2");
        CHECK(world.serve() == 0);
        CHECK(seen_by(bad) == (on_deny == conf::Denial::close ? "FIN" : "RST"));
    }
}

TEST_CASE("1,000 clients that are refused for their penalty do not prolong it") {
    World world({}, {}, conf::Transport::tcp, of_all());
    for (int i = 0; i < 4; ++i) penalise(world, "127.0.0.2", Offence::failed);
    for (int i = 0; i < 1000; ++i) {
        (void)world.client("127.0.0.2");
        world.serve();
        penalise(world, "127.0.0.2", Offence::failed);  // a handler that had begun before
    }
    CHECK(world.count(Refusal::penalty) == 1000);
    world.pass(10s);
    const auto again = world.client("127.0.0.2");
    world.serve();
    CHECK(world.serves(again));
    CHECK(earned(world) == 4);
}

TEST_CASE("refusals by access, per_source and per_source_rate cost; those by anything else do not") {
    struct Case {
        Refusal why;
        conf::Limits limits;
        conf::Access access = {};
        std::uint64_t costs = 0;
    };
    const auto with = [](auto set) {
        auto all = limits(Excess::close);
        set(all);
        return all;
    };
    conf::Access denied, closed;
    denied.deny = {*sys::parse_prefix("127.0.0.0/8")};
    closed.times = {{0, 0, 1}};
    const std::vector<Case> cases = {
        {Refusal::denied, limits(), denied, 5},
        {Refusal::time, limits(), closed, 0},
        {Refusal::instances, limits(Excess::close, 1), {}, 0},
        {Refusal::per_source, with([](conf::Limits& all) { all.per_source = 1; }), {}, 4},
        {Refusal::per_source_rate,
         with([](conf::Limits& all) {
             all.per_source_rate = conf::Rate{1h, 1};
         }),
         {},
         4},
        {Refusal::rate,
         with([](conf::Limits& all) {
             all.rate = conf::Rate{1h, 1};
         }),
         {},
         0},
    };
    for (const Case& one : cases) {
        INFO(admit::name_of(one.why));
        World world(one.limits, one.access, conf::Transport::tcp, of_all());
        std::vector<sys::Fd> clients;
        for (int i = 0; i < 5; ++i) clients.push_back(world.client("127.0.0.2"));
        world.serve();
        CHECK(world.count(one.why) > 0);
        CHECK(world.intake.offences()[static_cast<std::size_t>(Offence::refused)] == one.costs);
        CHECK(earned(world) == one.costs);
    }
}

TEST_CASE("a client that is held, or that leaves or waits too long while it is, costs nothing") {
    auto all = limits();
    all.per_source = 1;
    World world(all, {}, conf::Transport::tcp, of_all());
    const auto first = world.client("127.0.0.2");
    auto second = world.client("127.0.0.2"), third = world.client("127.0.0.2");
    world.serve();
    CHECK(world.intake.held() == 2);
    world.pass(world.intake.admission().limits().wait_timeout + 1s);
    CHECK(world.count(Refusal::wait_timeout) == 2);
    CHECK(earned(world) == 0);
}

TEST_CASE("a held client whose source is penalised meanwhile is refused when its turn comes") {
    auto all = limits();
    all.per_source = 1;
    World world(all, {}, conf::Transport::tcp, of_all());
    const auto first = world.client("127.0.0.2"), second = world.client("127.0.0.2");
    world.serve();
    CHECK(world.intake.held() == 1);
    for (int i = 0; i < 4; ++i) penalise(world, "127.0.0.2", Offence::failed);
    world.end();
    CHECK(world.serve() == 0);
    CHECK(world.intake.held() == 0);
    CHECK(seen_by(second) == "FIN");
    CHECK(world.count(Refusal::penalty) == 1);
}

TEST_CASE("touched makes a sensor: whoever comes is refused at once, and by every service, for as long as it says") {
    World sensor({}, {}, conf::Transport::tcp, of_all([](conf::Penalty& all) {
                     all.touched = 1min;
                     all.threshold = 0s;
                     all.everywhere = true;
                 }));
    const auto bad = sensor.client("127.0.0.2");
    CHECK(sensor.serve() == 0);
    CHECK(seen_by(bad) == "FIN");
    CHECK(sensor.everywhere.refused(sensor.time) == 1);
    for (int i = 0; i < 100; ++i) {
        (void)sensor.client("127.0.0.2");
        sensor.serve();
    }
    CHECK(sensor.everywhere.refused(sensor.time + 1min) == 0);

    // Another service, without a [penalty] of its own.
    World other;
    other.everywhere.remember(sensor.everywhere.memory(sensor.time));
    const auto there = other.client("127.0.0.2"), honest = other.client("127.0.0.3");
    CHECK(other.serve() == 1);
    CHECK(other.serves(honest));
    CHECK(other.count(Refusal::penalty) == 1);
    other.pass(1min);
    const auto later = other.client("127.0.0.2");
    other.serve();
    CHECK(other.serves(later));
}

TEST_CASE("exempt sources earn nothing, and are not refused for what they earned before or elsewhere") {
    const auto exempt = rules([](conf::Penalty&) {});
    World world({}, {}, conf::Transport::tcp, exempt);
    for (int i = 0; i < 9; ++i) penalise(world, "127.0.0.2", Offence::crashed);
    CHECK(earned(world) == 0);
    CHECK(world.intake.admission().sources().size() == 0);
    auto all = exempt;
    all.exempt.clear();
    all.everywhere = true;
    world.definition.penalty = all;
    world.intake.configure(world.definition);
    for (int i = 0; i < 4; ++i) penalise(world, "127.0.0.2", Offence::crashed);
    CHECK(world.everywhere.refused(world.time) == 1);
    const auto refused = world.client("127.0.0.2");
    CHECK(world.serve() == 0);
    world.definition.penalty = exempt;
    world.intake.configure(world.definition);
    const auto served = world.client("127.0.0.2");
    CHECK(world.serve() == 1);
    CHECK(world.serves(served));
}

TEST_CASE("a definition without [penalty] forgives what was earned under one with it; one with it does not") {
    World world({}, {}, conf::Transport::tcp, of_all());
    for (int i = 0; i < 4; ++i) penalise(world, "127.0.0.2", Offence::failed);
    world.intake.configure(world.definition);
    const auto first = world.client("127.0.0.2");
    CHECK(world.serve() == 0);
    world.definition.penalty = conf::Penalty();
    world.intake.configure(world.definition);
    const auto second = world.client("127.0.0.2");
    CHECK(world.serve() == 1);
    CHECK(world.serves(second));
}

TEST_CASE("1,000 clients of other prefixes, refused and penalised, never penalise a source that did nothing") {
    conf::Access access;
    access.deny = {*sys::parse_prefix("127.1.0.0/16")};
    auto all = limits();
    all.source_prefix_ipv4 = 24;
    World world(all, access, conf::Transport::tcp, of_all([](conf::Penalty& p) { p.everywhere = true; }));
    for (int i = 0; i < 1000; ++i) {
        const auto from = "127.1." + std::to_string(i % 250) + "." + std::to_string(1 + i % 7);
        (void)world.client(from);
        world.serve();
    }
    CHECK(world.refused() == 1000);
    for (const char* who : {"127.0.255.255", "127.2.0.1", "127.0.0.1"}) {
        const auto client = world.client(who);
        world.serve();
        CHECK(world.serves(client));
    }
}

TEST_CASE("datagrams earn nothing, since anybody may write their sender") {
    conf::Access access;
    access.deny = {*sys::parse_prefix("127.0.0.2")};
    World world({}, access, conf::Transport::udp, of_all([](conf::Penalty& all) { all.touched = 1min; }));
    for (int i = 0; i < 20; ++i) {
        const auto client = world.client("127.0.0.2");
        REQUIRE(send(client.get(), "x", 1, 0) == 1);
        world.serve();
    }
    CHECK(world.count(Refusal::denied) == 20);
    CHECK(earned(world) == 0);
}

}  // namespace superd::intake::penalty_tests
