// SPDX-License-Identifier: MIT
// Who is taken from the kernel, in which order, and what becomes of a client that cannot be served.
#include <sys/resource.h>

#include "world.h"

namespace superd::intake::intake_tests {

using admit::Refusal;
using conf::Excess;
using Kind = model::Client::Kind;

TEST_CASE("clients are served in the order in which they came, and one that was stalled before them") {
    World world;
    const auto first = world.client(), second = world.client(), third = world.client();
    auto taken = world.intake.take(&world.socket, 7);
    REQUIRE(taken);
    CHECK(taken->kind == Kind::connection);
    CHECK(taken->listener == 7);
    CHECK(taken->accepted == world.time);
    CHECK(world.intake.admission().in_use() == 1);
    world.intake.stall(std::move(*taken));
    CHECK(world.intake.admission().in_use() == 0);
    CHECK(world.serve() == 3);
    CHECK(world.served[0].peer == sys::Address::of_socket(first.get()));
    CHECK(world.served[1].peer == sys::Address::of_socket(second.get()));
    CHECK(world.served[2].peer == sys::Address::of_socket(third.get()));
    CHECK(world.accepts == 3);
    CHECK(world.intake.admission().in_use() == 3);
}

TEST_CASE("under queue, clients past instances stay in the backlog until a handler ends") {
    World world(limits(Excess::queue, 1));
    const auto first = world.client(), second = world.client();
    CHECK(world.serve() == 1);
    CHECK(world.intake.closed() == Refusal::instances);
    CHECK_FALSE(world.intake.is_open());
    CHECK_FALSE(world.wake);  // time alone changes nothing
    CHECK(net::waiting(world.socket) == 1);
    CHECK(world.serve() == 0);
    world.end();
    CHECK_FALSE(world.intake.closed());
    CHECK(world.serve() == 1);
    CHECK(world.serves(second));
    CHECK(world.refused() == 0);
}

TEST_CASE("under close, reset and reject, clients past instances are told at once, and counted") {
    const auto seen = [](Excess on_excess) {
        World world(limits(on_excess, 1));
        const auto first = world.client(), second = world.client();
        CHECK(world.serve() == 1);
        CHECK(world.serves(first));
        CHECK(world.count(Refusal::instances) == 1);
        CHECK(world.refused() == 1);
        CHECK(world.accepts == 2);
        CHECK(world.lines.at(0).find("refused: instances") != std::string::npos);
        return seen_by(second);
    };
    CHECK(seen(Excess::close) == "FIN");
    CHECK(seen(Excess::reset) == "RST");
    CHECK(seen(Excess::reject) == "busy\nFIN");
}

TEST_CASE("past the rate clients wait in the backlog, whatever on_excess is; a pause is counted once") {
    for (const Excess on_excess : {Excess::queue, Excess::reject}) {
        auto all = limits(on_excess);
        all.rate = conf::Rate{1s, 2};
        World world(all);
        const auto a = world.client(), b = world.client(), c = world.client();
        CHECK(world.serve() == 2);
        CHECK(world.intake.closed() == Refusal::rate);
        CHECK_FALSE(world.intake.is_open());
        CHECK(world.serve() == 0);
        CHECK(world.count(Refusal::rate) == 1);
        REQUIRE(world.wake);
        CHECK(*world.wake == world.time + 1s);
        world.pass(1s - 1us);
        CHECK(world.changes == 0);
        CHECK(world.serve() == 0);
        world.pass(1us);
        CHECK(world.changes == 1);
        CHECK(world.serve() == 1);
        CHECK(world.serves(c));
        CHECK(world.count(Refusal::rate) == 2);
        CHECK(world.refused() == 2);
    }
}

TEST_CASE("to ask changes nothing") {
    auto all = limits();
    all.rate = conf::Rate{1s, 1};
    all.max_load = 1;
    World world(all);
    const auto first = world.client(), second = world.client();
    auto taken = world.intake.take(&world.socket, 0);
    REQUIRE(taken);
    world.load = 2;
    const Intake& asked = world.intake;
    std::vector<Explanation::Step> steps;
    for (int i = 0; i < 100; ++i) {
        CHECK(asked.closed() == Refusal::rate);
        CHECK_FALSE(asked.is_open());
        asked.explain(taken->peer, {}, true, Kind::connection, steps);
    }
    CHECK(world.refused() == 0);
    CHECK_FALSE(world.wake);
    CHECK(world.changes == 0);
    CHECK(world.accepts == 1);
}

TEST_CASE("above max_load clients wait, and the load is looked at each second; under reject they are told") {
    auto all = limits();
    all.max_load = 1.5;
    World world(all);
    world.load = 1.6;
    const auto first = world.client();
    CHECK(world.serve() == 0);
    CHECK(world.intake.closed() == Refusal::max_load);
    world.pass(1s);
    CHECK(world.changes == 1);
    CHECK(world.serve() == 0);
    world.load = 1.5;
    world.pass(1s);
    CHECK(world.changes == 2);
    CHECK(world.serve() == 1);
    CHECK(world.refused() == 0);

    all.on_excess = Excess::reject;
    World telling(all);
    telling.load = 2;
    const auto second = telling.client();
    CHECK(telling.serve() == 0);
    CHECK(telling.count(Refusal::max_load) == 1);
    CHECK(seen_by(second) == "busy\nFIN");
}

TEST_CASE("per_source and per_source_rate, where nobody queues, tell the client") {
    for (const bool by_rate : {false, true}) {
        const auto seen = [by_rate](Excess on_excess) {
            auto all = limits(on_excess);
            if (by_rate)
                all.per_source_rate = conf::Rate{1s, 1};
            else
                all.per_source = 1;
            World world(all);
            const auto first = world.client(), second = world.client(), other = world.client("127.0.0.2");
            CHECK(world.serve() == 2);
            CHECK(world.serves(first));
            CHECK(world.serves(other));
            CHECK(world.count(by_rate ? Refusal::per_source_rate : Refusal::per_source) == 1);
            CHECK(world.intake.held() == 0);
            return seen_by(second);
        };
        CHECK(seen(Excess::close) == "FIN");
        CHECK(seen(Excess::reset) == "RST");
        CHECK(seen(Excess::reject) == "busy\nFIN");
    }
}

TEST_CASE("a denied client ends as on_deny says, under queue as well, and its place is nobody's") {
    const auto seen = [](conf::Denial on_deny, Refusal why) {
        conf::Access access;
        access.on_deny = on_deny;
        if (why == Refusal::denied)
            access.deny = {*sys::parse_prefix("127.0.0.2")};
        else
            access.times = {{0, 0, 1}};  // on no day
        World world(limits(), access);
        const auto client = world.client("127.0.0.2");
        CHECK(world.serve() == 0);
        CHECK(world.count(why) == 1);
        CHECK(world.intake.held() == 0);
        CHECK(world.intake.admission().in_use() == 0);
        return seen_by(client);
    };
    for (const Refusal why : {Refusal::denied, Refusal::time}) {
        CHECK(seen(conf::Denial::close, why) == "FIN");
        CHECK(seen(conf::Denial::reset, why) == "RST");
    }
}

TEST_CASE("a flood of refused clients does not keep the loop from the others") {
    conf::Access access;
    access.deny = {*sys::parse_prefix("127.0.0.0/8")};
    World world(limits(), access);
    std::vector<sys::Fd> clients;
    for (int i = 0; i < 70; ++i) clients.push_back(world.client());
    CHECK_FALSE(world.intake.take(&world.socket, 0));
    CHECK(world.accepts == 64);
    CHECK_FALSE(world.intake.take(&world.socket, 0));
    CHECK(world.accepts == 70);
    CHECK(world.count(Refusal::denied) == 70);
}

TEST_CASE("of many refusals five are logged, and the others counted in one line when ten seconds are over") {
    World world(limits(Excess::close, 0));
    std::vector<sys::Fd> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(world.client());
    CHECK(world.serve() == 0);
    CHECK(world.lines.size() == 5);
    world.pass(10s - 1us);
    CHECK(world.lines.size() == 5);
    world.pass(1us);
    REQUIRE(world.lines.size() == 6);
    CHECK(world.lines[5] == "3 more refused: instances");
    world.pass(60s);
    CHECK(world.lines.size() == 6);
    clients.push_back(world.client());
    world.serve();
    CHECK(world.lines.size() == 7);
}

TEST_CASE("a refused client that goes on sending is let go after a second") {
    World world(limits(Excess::reject, 0));
    const auto client = world.client();
    CHECK(world.serve() == 0);
    CHECK(seen_by(client) == "busy\nFIN");
    world.pass(1s - 1us);
    CHECK(send(client.get(), "x", 1, MSG_NOSIGNAL) == 1);
    pollfd ended{client.get(), 0, 0};  // by the reset that follows a close with something unread
    CHECK(poll(&ended, 1, 0) == 0);
    world.pass(1us);
    CHECK(poll(&ended, 1, 10000) == 1);
    CHECK((ended.revents & POLLERR) != 0);
}

TEST_CASE("from a socket that is about to be closed everybody is taken who is not denied, full or not") {
    for (const Excess on_excess : {Excess::queue, Excess::reset}) {
        conf::Access access;
        access.deny = {*sys::parse_prefix("127.0.0.9")};
        World world(limits(on_excess, 1), access);
        const auto first = world.client();
        CHECK(world.serve() == 1);
        const auto second = world.client(), denied = world.client("127.0.0.9"), third = world.client();
        world.intake.take_all(world.socket, 0);
        CHECK(net::waiting(world.socket) == 0);
        CHECK(world.intake.stalled() == 2);
        CHECK(world.count(Refusal::denied) == 1);
        CHECK(seen_by(denied) == "FIN");
        CHECK(world.serve() == 0);
        CHECK(is_connected(second));
        world.end();
        CHECK(world.serve() == 1);
        CHECK(world.serves(second));
        world.end();
        CHECK(world.serve() == 1);
        CHECK(world.serves(third));
        CHECK(world.refused() == 1);
    }
}

TEST_CASE("a client that comes first where nobody is let in from the kernel does not overtake one in line") {
    World world(limits(Excess::queue, 1));
    const auto first = world.client();
    world.intake.take_all(world.socket, 0);
    const auto second = world.client();
    auto taken = world.intake.take(&world.socket, 0);
    REQUIRE(taken);
    CHECK(taken->peer == sys::Address::of_socket(first.get()));
}

TEST_CASE("where descriptors are short the host is told, and the client is there when there are some again") {
    World world;
    const auto client = world.client();
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int highest = dup(client.get());
    close(highest);
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(highest);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    const auto taken = world.serve();
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(taken == 0);
    CHECK(world.lacks == std::vector<int>{EMFILE});
    CHECK(world.accepts == 0);
    CHECK(world.refused() == 0);
    CHECK(world.serve() == 1);
    CHECK(world.serves(client));
}

TEST_CASE("nobody is taken while the host has not what a start needs; who is in line is, since that frees something") {
    World world;
    const auto first = world.client();
    auto stalled = world.intake.take(&world.socket, 0);
    REQUIRE(stalled);
    world.intake.stall(std::move(*stalled));
    const auto second = world.client();
    world.cannot_accept = true;
    CHECK(world.intake.take(&world.socket, 0));
    CHECK(world.lacks.empty());
    CHECK_FALSE(world.intake.take(&world.socket, 0));
    CHECK(world.lacks == std::vector<int>{EMFILE});
    world.cannot_accept = false;
    CHECK(world.intake.take(&world.socket, 0));
}

TEST_CASE("a datagram is a client of its own kind: its bytes and both addresses; one too many is dropped") {
    auto all = limits();
    all.per_source = 1;
    World world(all, {}, conf::Transport::udp);
    const auto client = world.client();
    REQUIRE(send(client.get(), "", 0, 0) == 0);
    REQUIRE(send(client.get(), "two", 3, 0) == 3);
    for (int i = 0; i < 5000 && world.accepts < 2; ++i) {
        world.serve();
        usleep(1000);
    }
    CHECK(world.served.size() == 1);
    const model::Client& first = world.served.at(0);
    CHECK(first.kind == Kind::datagram);
    CHECK_FALSE(first.connection);
    CHECK(first.datagram.empty());  // and is a client all the same
    CHECK(first.peer == sys::Address::of_socket(client.get()));
    CHECK(first.local == world.socket.address());
    CHECK(world.count(Refusal::per_source) == 1);
    CHECK(world.intake.held() == 0);
    world.end();
    REQUIRE(send(client.get(), "three", 5, 0) == 5);
    pollfd there{world.socket.fd(), POLLIN, 0};
    CHECK(poll(&there, 1, 10000) == 1);
    CHECK(world.serve() == 1);
    CHECK(world.served.at(0).datagram == "three");
}

TEST_CASE("whoever is here can be taken without a limit, those in line first, until nobody is left") {
    auto all = limits();
    all.per_source = 1;
    World world(all);
    const auto first = world.client(), held = world.client(), other = world.client("127.0.0.2");
    CHECK(world.serve() == 2);
    world.intake.stall(std::move(world.served[1]));
    world.served.pop_back();
    CHECK(world.intake.held() == 1);
    auto next = world.intake.take_here();
    REQUIRE(next);
    CHECK(next->peer == sys::Address::of_socket(other.get()));
    world.served.push_back(std::move(*next));
    next = world.intake.take_here();
    REQUIRE(next);
    CHECK(next->peer == sys::Address::of_socket(held.get()));
    CHECK(world.intake.admission().in_use() == 3);
    CHECK_FALSE(world.intake.take_here());
}

}  // namespace superd::intake::intake_tests
