// SPDX-License-Identifier: MIT
// What is told of a client beforehand is what then becomes of it.
#include "world.h"

namespace superd::intake::explain_tests {

using conf::Excess;
using Outcome = Explanation::Outcome;

namespace {

const std::string kClient = "127.0.0.5";

Explanation explained(const World& world) {
    Explanation told;
    told.steps.push_back({"state", Outcome::served, "listening"});
    world.intake.explain(*sys::Address::inet(kClient, 0), {}, true, model::Client::Kind::connection, told.steps);
    return told;
}

/// What becomes of such a client, after those who are there were looked at.
Outcome happens(World& world) {
    const auto refused = world.refused() - world.count(admit::Refusal::rate);
    const auto held = world.intake.held();
    const auto client = world.client(kClient);
    world.serve();
    if (world.serves(client)) return Outcome::served;
    if (world.intake.held() > held) return Outcome::held;
    if (world.refused() - world.count(admit::Refusal::rate) > refused) return Outcome::refused;
    REQUIRE(net::waiting(world.socket) == 1);
    return Outcome::waits;
}

struct Case {
    const char* decides;
    Outcome outcome;
    conf::Limits limits;
    conf::Access access = {};
    int before = 0;  ///< clients of the same source that are there
    double load = 0;
    conf::Penalty penalty = {};
    int failed = 0;  ///< handlers of the same source
};

conf::Limits with(Excess on_excess, auto set) {
    auto all = limits(on_excess);
    set(all);
    return all;
}

std::vector<Case> cases() {
    conf::Access denied, closed;
    denied.deny = {*sys::parse_prefix("127.0.0.0/29")};
    closed.times = {{0, 0, 1}};
    const auto full = [](conf::Limits& all) { all.instances = 1; };
    const auto loaded = [](conf::Limits& all) { all.max_load = 1; };
    const auto rate = [](conf::Limits& all) { all.rate = conf::Rate{1s, 1}; };
    const auto source = [](conf::Limits& all) { all.per_source = 1; };
    const auto source_rate = [](conf::Limits& all) { all.per_source_rate = conf::Rate{1s, 1}; };
    std::vector<Case> all = {
        {"state", Outcome::served, limits()},
        {"access", Outcome::refused, limits(), denied},
        {"times", Outcome::refused, limits(), closed},
        {"instances", Outcome::waits, with(Excess::queue, full), {}, 1},
        {"max_load", Outcome::waits, with(Excess::queue, loaded), {}, 0, 2},
        {"per_source", Outcome::held, with(Excess::queue, source), {}, 1},
        {"per_source", Outcome::refused, with(Excess::queue, source), {}, 17},
        {"per_source_rate", Outcome::held, with(Excess::queue, source_rate), {}, 1},
    };
    for (const Excess on_excess : {Excess::close, Excess::reset, Excess::reject}) {
        all.push_back({"instances", Outcome::refused, with(on_excess, full), {}, 1});
        all.push_back({"max_load", Outcome::refused, with(on_excess, loaded), {}, 0, 2});
        all.push_back({"per_source", Outcome::refused, with(on_excess, source), {}, 1});
        all.push_back({"per_source_rate", Outcome::refused, with(on_excess, source_rate), {}, 1});
    }
    conf::Penalty failing, sensor;
    failing.on = sensor.on = true;
    failing.exempt = sensor.exempt = {};
    sensor.touched = std::chrono::minutes(1);
    all.push_back({"penalty", Outcome::served, limits(), {}, 0, 0, failing, 3});
    all.push_back({"penalty", Outcome::refused, limits(), {}, 0, 0, failing, 4});
    all.push_back({"penalty", Outcome::refused, limits(), {}, 0, 0, sensor});
    sensor.exempt = {*sys::parse_prefix("127.0.0.0/8")};
    all.push_back({"penalty", Outcome::served, limits(), {}, 0, 0, sensor});
    for (const Excess on_excess : {Excess::queue, Excess::reject})
        all.push_back({"rate", Outcome::waits, with(on_excess, rate), {}, 1});
    return all;
}

}  // namespace

TEST_CASE("explain tells of a client what then becomes of it, and which step decides") {
    for (const Case& one : cases()) {
        World world(one.limits, one.access, conf::Transport::tcp, one.penalty);
        world.load = one.load;
        std::vector<sys::Fd> there;
        for (int i = 0; i < one.before; ++i) there.push_back(world.client(kClient));
        world.serve();
        const auto peer = *sys::Address::inet(kClient, 0);
        admit::SourceKey source{admit::SourceKey::Kind::ipv4, sys::ip_bytes(peer)->bytes};
        for (int i = 0; i < one.failed; ++i) world.intake.penalise(peer, source, admit::Offence::failed);
        const Explanation told = explained(world);
        INFO(told.verdict() << " under on_excess " << static_cast<int>(one.limits.on_excess));
        CHECK(told.outcome() == one.outcome);
        if (one.outcome != Outcome::served) CHECK(told.verdict().find(std::string(": ") + one.decides + " (") < 20);
        CHECK(happens(world) == told.outcome());
    }
}

}  // namespace superd::intake::explain_tests
