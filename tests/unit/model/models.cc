// SPDX-License-Identifier: MIT
#include "catch.h"
#include "model/delayed.h"
#include "model/fork.h"
#include "model/iterative.h"
#include "tests/unit/model/fake_host.h"

namespace superd::model::models_tests {

using namespace std::chrono_literals;

TEST_CASE("fork starts a handler for each waiting client, a batch at a time") {
    FakeHost host;
    Fork fork(host);
    host.clients = kBatch + 5;
    fork.ready(0);
    CHECK(host.direct.size() == kBatch);
    CHECK(fork.wants(0));
    fork.ready(0);
    CHECK(host.direct.size() == kBatch + 5);
}

TEST_CASE("iterative wants no client while one is served") {
    FakeHost host;
    Iterative iterative(host, conf::Handoff::connection);
    host.clients = 3;
    iterative.ready(0);
    CHECK(host.direct.size() == 1);
    CHECK_FALSE(iterative.wants(0));
    iterative.ready(0);
    CHECK(host.direct.size() == 1);
    iterative.exited(*host.direct.begin(), End::well);
    CHECK(iterative.wants(0));
}

TEST_CASE("iterative waits for handlers of an earlier definition") {
    FakeHost host;
    Iterative iterative(host, conf::Handoff::connection);
    host.others = true;
    CHECK_FALSE(iterative.wants(0));
    host.others = false;
    CHECK(iterative.wants(0));
}

TEST_CASE("iterative with handoff listen gives the socket away, and after a failing owner waits before the next") {
    FakeHost host;
    Iterative iterative(host, conf::Handoff::listen);
    iterative.ready(0);
    REQUIRE(host.owners.size() == 1);
    iterative.exited(*host.owners.begin(), End::badly);
    CHECK_FALSE(iterative.wants(0));
    REQUIRE(host.wake);
    CHECK(*host.wake > host.time);
    iterative.woken();
    CHECK(iterative.wants(0));
    iterative.ready(0);
    iterative.exited(*host.owners.rbegin(), End::well);
    CHECK(iterative.wants(0));
}

TEST_CASE("iterative that could not start its handler still wants its client") {
    FakeHost host;
    Iterative iterative(host, conf::Handoff::connection);
    host.clients = 1;
    host.scarce = true;
    iterative.ready(0);
    CHECK(iterative.wants(0));
    host.scarce = false;
    iterative.ready(0);
    CHECK(host.direct.size() == 1);
}

TEST_CASE("delayed holds the next client back for delay and no longer") {
    FakeHost host;
    Delayed delayed(host, 250ms);
    delayed.resume();
    host.clients = 2;
    delayed.ready(0);
    CHECK(host.direct.size() == 1);
    CHECK_FALSE(delayed.wants(0));
    REQUIRE(host.wake);
    CHECK(*host.wake == host.time + 250ms);
    delayed.woken();
    CHECK(delayed.wants(0));
    delayed.ready(0);
    CHECK(host.direct.size() == 2);
    CHECK_FALSE(delayed.wants(0));
    // The first, long one ends: the second is still young.
    delayed.exited(*host.direct.begin(), End::well);
    CHECK_FALSE(delayed.wants(0));
    delayed.exited(*host.direct.rbegin(), End::well);
    CHECK(delayed.wants(0));
}

TEST_CASE("delayed treats handlers of an earlier definition as young, once") {
    FakeHost host;
    host.others = true;
    Delayed delayed(host, 250ms);
    delayed.resume();
    CHECK_FALSE(delayed.wants(0));
    delayed.woken();
    CHECK(delayed.wants(0));
    delayed.resume();
    CHECK(delayed.wants(0));
}

}  // namespace superd::model::models_tests
