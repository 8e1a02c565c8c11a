// SPDX-License-Identifier: MIT
#include "catch.h"
#include "model/delayed.h"
#include "model/fork.h"
#include "model/iterative.h"
#include "model/prefork.h"
#include "tests/unit/model/fake_host.h"

using namespace superd;
using namespace superd::model;
using namespace std::chrono_literals;

TEST_CASE("fork starts a handler for each waiting client, a batch at a time") {
    FakeHost host;
    Fork fork(host);
    host.waiting = kBatch + 5;
    fork.ready(0);
    CHECK(host.direct.size() == kBatch);
    CHECK(fork.wants(0));
    fork.ready(0);
    CHECK(host.direct.size() == kBatch + 5);
}

TEST_CASE("iterative wants no client while one is served") {
    FakeHost host;
    Iterative iterative(host, conf::Handoff::connection);
    host.waiting = 3;
    iterative.ready(0);
    CHECK(host.direct.size() == 1);
    CHECK_FALSE(iterative.wants(0));
    iterative.ready(0);
    CHECK(host.direct.size() == 1);
    iterative.exited(*host.direct.begin(), false);
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
    iterative.exited(*host.owners.begin(), true);
    CHECK_FALSE(iterative.wants(0));
    REQUIRE(host.wake);
    CHECK(*host.wake > host.time);
    iterative.woken();
    CHECK(iterative.wants(0));
    iterative.ready(0);
    iterative.exited(*host.owners.rbegin(), false);
    CHECK(iterative.wants(0));
}

TEST_CASE("iterative that could not start its handler wants its client still") {
    FakeHost host;
    Iterative iterative(host, conf::Handoff::connection);
    host.waiting = 1;
    host.scarce = true;
    iterative.ready(0);
    CHECK(iterative.wants(0));
    host.scarce = false;
    iterative.ready(0);
    CHECK(host.direct.size() == 1);
}

TEST_CASE("delayed holds the next client back for delay and not longer") {
    FakeHost host;
    Delayed delayed(host, 250ms);
    delayed.resume();
    host.waiting = 2;
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
    delayed.exited(*host.direct.begin(), false);
    CHECK_FALSE(delayed.wants(0));
    delayed.exited(*host.direct.rbegin(), false);
    CHECK(delayed.wants(0));
}

TEST_CASE("delayed takes handlers of an earlier definition for young ones, once") {
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

TEST_CASE("prefork keeps min_spare parked, hands over to them first and serves the rest directly") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 2;
    settings.max_spare = 8;
    PreforkConnection pool(host, settings);
    pool.resume();
    CHECK(host.parked.size() == 2);
    host.waiting = 3;
    pool.ready(0);
    CHECK(host.handed.size() == 2);
    CHECK(host.direct.size() == 1);
    CHECK(host.idle_asked);
    pool.refill();
    CHECK(pool.spare() == 4);  // the burst doubled it
}

TEST_CASE("prefork passes a client on when its parked process has died") {
    FakeHost host;
    conf::Prefork settings;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.parked.erase(host.parked.begin());
    host.waiting = 1;
    pool.ready(0);
    CHECK(host.handed.size() == 1);
    CHECK(host.waiting == 0);
}

TEST_CASE("prefork shrinks to min_spare when no burst comes") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 1;
    settings.max_spare = 8;
    settings.max_idle = 10s;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.waiting = 16;
    pool.ready(0);
    pool.refill();
    CHECK(pool.spare() == 8);
    for (int i = 0; i < 4; ++i) {
        host.time += 10s;
        pool.woken();
    }
    CHECK(pool.spare() == 1);
    CHECK(host.retired.size() == 7);
}

TEST_CASE("prefork whose parked processes die at once tries again later and later") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 1;
    PreforkConnection pool(host, settings);
    pool.resume();
    const pid_t first = *host.parked.begin();
    pool.exited(first, true);
    CHECK(pool.spare() == 0);
    REQUIRE(host.wake);
    const auto wait = *host.wake - host.time;
    pool.woken();
    CHECK(pool.spare() == 1);
    pool.exited(*host.parked.rbegin(), true);
    CHECK(*host.wake - host.time > wait);
}

TEST_CASE("a drained pool lets everybody go who has no client") {
    FakeHost host;
    conf::Prefork settings;
    PreforkConnection pool(host, settings);
    pool.resume();
    pool.drain();
    CHECK(host.retired.size() == 2);
    pool.refill();
    CHECK(pool.spare() == 0);
}

TEST_CASE("workers: min_spare on each listener, replaced when they leave, never more than instances") {
    FakeHost host;
    host.listener_count = 2;
    conf::Service definition;
    definition.prefork.min_spare = 3;
    definition.limits.instances = 5;
    PreforkListen pool(host, definition);
    pool.resume();
    CHECK(host.workers.size() == 5);
    pool.exited(*host.workers.begin(), false);
    CHECK(host.workers.size() == 6);
    CHECK(pool.spare() == 5);
}

TEST_CASE("workers that report are spare when they say idle") {
    FakeHost host;
    conf::Service definition;
    PreforkListen pool(host, definition);
    pool.resume();
    const pid_t worker = *host.workers.begin();
    pool.reported(worker, true);
    pool.reported(worker, true);
    CHECK(pool.spare() == 1);
    pool.reported(worker, false);
    CHECK(pool.spare() == 1);
    pool.reported(worker, false);
    CHECK(pool.spare() == 2);
    pool.reported(worker, false);  // one too many changes nothing
    CHECK(pool.spare() == 2);
}

TEST_CASE("a worker that dies at once is not replaced at once") {
    FakeHost host;
    conf::Service definition;
    definition.prefork.min_spare = 1;
    PreforkListen pool(host, definition);
    pool.resume();
    pool.exited(*host.workers.begin(), true);
    CHECK(host.workers.size() == 1);
    pool.woken();
    CHECK(host.workers.size() == 2);
}

TEST_CASE("a worker past max_age has its successor before it leaves") {
    FakeHost host;
    conf::Service definition;
    definition.prefork.min_spare = 1;
    definition.prefork.max_age = 60s;
    PreforkListen pool(host, definition);
    pool.resume();
    REQUIRE(host.wake);
    CHECK(*host.wake == host.time + 60s);
    host.time += 60s;
    pool.woken();
    CHECK(host.retired.size() == 1);
    CHECK(host.workers.size() == 2);
}
