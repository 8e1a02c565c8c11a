// SPDX-License-Identifier: MIT
// Clients that were accepted and wait for their own source's turn.
#include <sys/resource.h>

#include "world.h"

namespace superd::intake::held_tests {

using admit::Refusal;

namespace {

conf::Limits one_of_each_source(Duration wait_timeout = 10s) {
    auto all = limits();
    all.per_source = 1;
    all.wait_timeout = wait_timeout;
    return all;
}

}  // namespace

TEST_CASE("a held client waits for a handler of its own source to end, and others go straight through") {
    World world(one_of_each_source());
    const auto first = world.client(), second = world.client(), third = world.client();
    CHECK(world.serve() == 1);
    CHECK(world.intake.held() == 2);
    const auto other = world.client("127.0.0.2"), more = world.client("127.0.0.2");
    CHECK(world.serve() == 1);
    CHECK(world.serves(other));
    CHECK(world.intake.held() == 3);
    world.end(1);  // the other's: its own goes, past those who came before
    CHECK(world.serve() == 1);
    CHECK(world.serves(more));
    world.end(0);
    CHECK(world.serve() == 1);
    CHECK(world.serves(second));
    CHECK_FALSE(world.serves(third));
    CHECK(is_connected(third));
    CHECK(world.refused() == 0);
}

TEST_CASE("a held client goes when its source has a token again") {
    auto all = limits();
    all.per_source_rate = conf::Rate{2s, 1};
    World world(all);
    const auto first = world.client(), second = world.client();
    CHECK(world.serve() == 1);
    CHECK(world.intake.held() == 1);
    world.pass(2s - 1us);
    CHECK(world.changes == 0);
    CHECK(world.serve() == 0);
    world.pass(1us);
    CHECK(world.changes == 1);
    CHECK(world.serve() == 1);
    CHECK(world.serves(second));
}

TEST_CASE("while the service is full no held client goes, and when it is not the first whose turn it is does") {
    auto all = one_of_each_source();
    all.instances = 2;
    World world(all);
    const auto first = world.client(), held = world.client(), other = world.client("127.0.0.2");
    CHECK(world.serve() == 2);
    CHECK(world.intake.held() == 1);
    world.end(0);
    const auto late = world.client("127.0.0.3");
    CHECK(world.serve() == 1);
    CHECK(world.serves(held));
    CHECK(net::waiting(world.socket) == 1);
}

TEST_CASE("16 clients of one source are held; the next is refused, and another source's is held") {
    World world(one_of_each_source());
    std::vector<sys::Fd> clients;
    for (int i = 0; i < 17; ++i) clients.push_back(world.client());
    CHECK(world.serve() == 1);
    CHECK(world.intake.held() == 16);
    CHECK(world.refused() == 0);
    const auto past = world.client();
    CHECK(world.serve() == 0);
    CHECK(world.intake.held() == 16);
    CHECK(world.count(Refusal::per_source) == 1);
    CHECK(seen_by(past) == "FIN");
    const auto other = world.client("127.0.0.2"), second = world.client("127.0.0.2");
    CHECK(world.serve() == 1);
    CHECK(world.intake.held() == 17);
    // One goes, and there is a place again.
    world.end(0);
    CHECK(world.serve() == 1);
    const auto again = world.client();
    CHECK(world.serve() == 0);
    CHECK(world.intake.held() == 17);
    CHECK(world.refused() == 1);
}

TEST_CASE("512 clients are held in all; the next is refused, whatever its source") {
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit many = before;
    many.rlim_cur = many.rlim_max;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &many) == 0);
    {
        World world(one_of_each_source());
        std::vector<sys::Fd> clients;
        for (int source = 1; source <= 32; ++source)
            for (int i = 0; i < 17; ++i) clients.push_back(world.client("127.0.1." + std::to_string(source)));
        CHECK(world.serve() == 32);
        CHECK(world.intake.held() == 512);
        CHECK(world.refused() == 0);
        const auto served = world.client("127.0.2.1"), past = world.client("127.0.2.1");
        CHECK(world.serve() == 1);
        CHECK(world.intake.held() == 512);
        CHECK(world.count(Refusal::per_source) == 1);
        CHECK(seen_by(past) == "FIN");
    }
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("a held client whose time is over ends, is counted, and the host hears that there are fewer") {
    World world(one_of_each_source(3s));
    const auto first = world.client(), second = world.client();
    CHECK(world.serve() == 1);
    world.pass(1s);
    const auto third = world.client();
    CHECK(world.serve() == 0);
    world.pass(2s - 1us);
    CHECK(world.intake.held() == 2);
    world.pass(1us);
    CHECK(world.intake.held() == 1);
    CHECK(world.changes == 1);
    CHECK(world.count(Refusal::wait_timeout) == 1);
    CHECK(seen_by(second) == "FIN");
    CHECK(is_connected(third));
    world.pass(1s);
    CHECK(seen_by(third) == "FIN");
    CHECK(world.count(Refusal::wait_timeout) == 2);
}

TEST_CASE("a shorter wait_timeout after a reload holds for those who come then, behind one that has longer") {
    World world(one_of_each_source(60s));
    const auto first = world.client(), long_held = world.client();
    CHECK(world.serve() == 1);
    world.definition.limits->wait_timeout = 1s;
    world.intake.configure(world.definition);
    const auto short_held = world.client();
    CHECK(world.serve() == 0);
    CHECK(world.intake.held() == 2);
    world.pass(1s);
    CHECK(seen_by(short_held) == "FIN");
    CHECK(is_connected(long_held));
    world.pass(59s);
    CHECK(seen_by(long_held) == "FIN");
}

TEST_CASE("a held client that leaves without a word is noticed; one that has spoken and closed its side waits on") {
    World world(one_of_each_source());
    const auto first = world.client(), spoken = world.client();
    auto silent = world.client();
    CHECK(world.serve() == 1);
    CHECK(world.intake.held() == 2);
    REQUIRE(send(spoken.get(), "hello\n", 6, 0) == 6);
    REQUIRE(shutdown(spoken.get(), SHUT_WR) == 0);
    silent.reset();
    world.on_change = [&] { world.loop.exit(0); };
    auto never = world.loop.timer([&] { world.loop.exit(1); });
    REQUIRE((never && never->arm(superd::now() + 10s)));
    CHECK(world.loop.run() == 0);
    CHECK(world.intake.held() == 1);
    CHECK(world.count(Refusal::gone) == 1);
    CHECK(world.changes == 1);
    world.end();
    CHECK(world.serve() == 1);
    CHECK(world.serves(spoken));
}

TEST_CASE("a lifted limit lets the held ones in after a reload") {
    World world(one_of_each_source());
    const auto first = world.client(), second = world.client(), third = world.client();
    CHECK(world.serve() == 1);
    world.definition.limits->per_source.reset();
    world.intake.configure(world.definition);
    CHECK(world.serve() == 2);
    CHECK(world.intake.held() == 0);
}

}  // namespace superd::intake::held_tests
