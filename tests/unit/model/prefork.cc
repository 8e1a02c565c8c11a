// SPDX-License-Identifier: MIT
#include "model/prefork.h"

#include "catch.h"
#include "tests/unit/model/fake_host.h"

using namespace superd;
using namespace superd::model;
using namespace std::chrono_literals;

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

TEST_CASE("a pool that cannot park goes on handing over, and tries again when it is woken") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 4;
    settings.max_spare = 4;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.places = 0;
    host.waiting = 3;
    pool.ready(0);
    CHECK(host.handed.size() == 3);
    pool.refill();
    CHECK(pool.spare() == 1);
    REQUIRE(host.wake);
    const auto wait = *host.wake - host.time;
    CHECK(wait > 0s);
    host.waiting = 1;
    pool.ready(0);
    CHECK(host.handed.size() == 4);
    CHECK(host.direct.empty());
    host.pass_to_wake();
    pool.woken();
    CHECK(pool.spare() == 0);
    REQUIRE(host.wake);
    CHECK(*host.wake - host.time > wait);
    host.places = 4;
    host.pass_to_wake();
    pool.woken();
    CHECK(pool.spare() == 4);
    // What went well ends the back-off: the next time begins anew.
    host.places = 0;
    host.waiting = 1;
    pool.ready(0);
    pool.refill();
    REQUIRE(host.wake);
    CHECK(*host.wake - host.time < wait * 3 / 2);  // whatever chance adds
}

TEST_CASE("a pool without places is filled when a handler gives its own back") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 2;
    settings.max_spare = 2;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.places = 0;
    host.waiting = 1;
    pool.ready(0);
    pool.refill();
    CHECK(pool.spare() == 1);
    host.places = 1;
    host.idle_asked = false;
    pool.exited(*host.handed.begin(), false);
    CHECK(host.idle_asked);
    pool.refill();
    CHECK(pool.spare() == 2);
}

TEST_CASE("prefork serves a client directly that no parked process takes") {
    FakeHost host;
    conf::Prefork settings;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.refuses_hand_over = true;
    host.waiting = 1;
    pool.ready(0);
    CHECK(host.direct.size() == 1);
    CHECK(host.waiting == 0);
    host.refuses_hand_over = false;
    pool.refill();
    host.waiting = 1;
    pool.ready(0);
    CHECK(host.handed.size() == 1);
}

TEST_CASE("workers: each listener has one before any has two, when places are few") {
    FakeHost host;
    host.listener_count = 3;
    host.places = 4;
    conf::Service definition;
    definition.prefork.min_spare = 2;
    PreforkListen pool(host, definition);
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 2, 0});
    REQUIRE(host.wake);
    host.places = 1;
    host.pass_to_wake();
    pool.woken();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 2, 0, 1});
}

TEST_CASE("workers: each listener has one before any has two, when instances are few") {
    FakeHost host;
    host.listener_count = 3;
    conf::Service definition;
    definition.prefork.min_spare = 2;
    definition.limits.instances = 4;
    PreforkListen pool(host, definition);
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 2, 0});
}

TEST_CASE("a worker past max_age that frees its place only by leaving is replaced then, generation after generation") {
    FakeHost host;
    host.places = 2;
    conf::Service definition;
    definition.prefork.min_spare = 2;
    definition.prefork.max_age = 60s;
    definition.limits.instances = 2;
    PreforkListen pool(host, definition);
    pool.resume();
    CHECK(pool.spare() == 2);
    for (std::size_t generation = 1; generation <= 5; ++generation) {
        REQUIRE(host.wake);
        CHECK(*host.wake == host.time + 60s);
        host.pass_to_wake();
        pool.woken();
        REQUIRE(host.retired.size() == 2 * generation);
        CHECK(host.workers.size() == 2 * generation);
        for (std::size_t i = 0; i < 2; ++i) {
            ++host.places;
            pool.exited(host.retired[2 * generation - 2 + i], false);
            CHECK(host.workers.size() == 2 * generation + i + 1);
        }
        CHECK(pool.spare() == 2);
    }
}
