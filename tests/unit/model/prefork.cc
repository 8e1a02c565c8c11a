// SPDX-License-Identifier: MIT
#include "model/prefork.h"

#include "catch.h"
#include "tests/unit/model/fake_host.h"

namespace superd::model::prefork_tests {

using namespace std::chrono_literals;

TEST_CASE("prefork keeps min_spare parked, hands over to them first and serves the rest directly") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 2;
    settings.max_spare = 8;
    PreforkConnection pool(host, settings);
    pool.resume();
    CHECK(host.parked.size() == 2);
    host.clients = 3;
    pool.ready(0);
    CHECK(host.handed.size() == 2);
    CHECK(host.direct.size() == 1);
    CHECK(pool.spare() == 0);
    host.pass(pool);
    CHECK(pool.spare() == 4);  // the burst doubled it
}

TEST_CASE("prefork passes a client on when its parked process has died") {
    FakeHost host;
    conf::Prefork settings;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.parked.erase(host.parked.begin());
    host.clients = 1;
    pool.ready(0);
    CHECK(host.handed.size() == 1);
    CHECK(host.clients == 0);
}

TEST_CASE("prefork shrinks to min_spare when no burst comes") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 1;
    settings.max_spare = 8;
    settings.max_idle = 10s;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.clients = 16;
    pool.ready(0);
    host.time += FakeHost::kPause;
    pool.refill();
    CHECK(pool.spare() == 8);
    for (int i = 0; i < 4; ++i) {
        host.time += 10s;
        pool.woken();
    }
    CHECK(pool.spare() == 1);
    CHECK(host.retired.size() == 7);
}

TEST_CASE("prefork whose parked processes die at once retries at growing intervals") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 1;
    PreforkConnection pool(host, settings);
    pool.resume();
    const pid_t first = *host.parked.begin();
    pool.exited(first, End::badly);
    CHECK(pool.spare() == 0);
    REQUIRE(host.wake);
    const auto wait = *host.wake - host.time;
    host.pass(pool);
    CHECK(pool.spare() == 1);
    pool.exited(*host.parked.rbegin(), End::badly);
    CHECK(*host.wake - host.time > wait);
}

TEST_CASE("a drained pool lets every process without a client go") {
    FakeHost host;
    conf::Prefork settings;
    PreforkConnection pool(host, settings);
    pool.resume();
    pool.drain();
    CHECK(host.retired.size() == 2);
    pool.refill();
    CHECK(pool.spare() == 0);
}

TEST_CASE("a pool that cannot park continues to hand over, and tries again when it is woken") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 4;
    settings.max_spare = 4;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.places = 0;
    host.clients = 3;
    pool.ready(0);
    CHECK(host.handed.size() == 3);
    host.pass(pool);
    CHECK(pool.spare() == 1);
    REQUIRE(host.wake);
    const Instant retry = *host.wake;
    const auto wait = retry - host.time;
    CHECK(wait > 0s);
    host.clients = 1;
    pool.ready(0);
    CHECK(host.handed.size() == 4);
    CHECK(host.direct.empty());
    while (host.time < retry) host.pass(pool);
    CHECK(pool.spare() == 0);
    REQUIRE(host.wake);
    CHECK(*host.wake - host.time > wait);
    host.places = 4;
    host.pass(pool);
    CHECK(pool.spare() == 4);
    // Success ends the back-off: the next time starts afresh.
    host.places = 0;
    host.clients = 1;
    pool.ready(0);
    host.pass(pool);
    REQUIRE(host.wake);
    CHECK(*host.wake - host.time < wait * 3 / 2);  // whatever the jitter
}

TEST_CASE("a pool without places is filled when a handler gives its own back") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 2;
    settings.max_spare = 2;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.places = 0;
    host.clients = 1;
    pool.ready(0);
    host.time += FakeHost::kPause;
    pool.refill();
    CHECK(pool.spare() == 1);
    host.places = 1;
    host.time += FakeHost::kPause;
    host.idle_asked = false;
    pool.exited(*host.handed.begin(), End::well);
    CHECK(host.idle_asked);
    host.time += FakeHost::kPause;
    pool.refill();
    CHECK(pool.spare() == 2);
}

TEST_CASE("prefork directly serves a client that no parked process takes") {
    FakeHost host;
    conf::Prefork settings;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.refuses_hand_over = true;
    host.clients = 1;
    pool.ready(0);
    CHECK(host.direct.size() == 1);
    CHECK(host.clients == 0);
    host.refuses_hand_over = false;
    host.time += FakeHost::kPause;
    pool.refill();
    host.clients = 1;
    pool.ready(0);
    CHECK(host.handed.size() == 1);
}

TEST_CASE("while clients come without a pause no process is parked, whatever asks for it") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 2;
    settings.max_spare = 8;
    PreforkConnection pool(host, settings);
    pool.resume();
    const auto parked = host.last;
    for (int i = 0; i < 100; ++i) {
        host.time += 4ms;
        host.clients = 1;
        pool.ready(0);
        if (!host.direct.empty()) pool.exited(*host.direct.begin(), End::well);
        if (host.wake && *host.wake <= host.time) host.pass(pool);
        host.calm(pool);
    }
    CHECK(host.direct.size() == 98);
    CHECK(host.last == parked + 98);
    while (pool.spare() == 0) host.pass(pool);
    CHECK(pool.spare() == 8);
}

TEST_CASE("processes that take their time to park count towards the pool, and serve once they are there") {
    FakeHost host;
    host.slow = true;
    conf::Prefork settings;
    settings.min_spare = 2;
    settings.max_spare = 2;
    PreforkConnection pool(host, settings);
    pool.resume();
    pool.refill();
    CHECK(host.coming == 2);
    CHECK(pool.spare() == 0);
    host.clients = 1;
    pool.ready(0);
    CHECK(host.direct.size() == 1);
    host.parked.insert(7);
    pool.parked(7);
    CHECK(pool.spare() == 1);
    host.clients = 1;
    pool.ready(0);
    CHECK(host.handed == std::set<pid_t>{7});
    host.pass(pool);
    CHECK(host.coming == 3);
}

TEST_CASE("a process that does not come to park is tried again at growing intervals") {
    FakeHost host;
    host.slow = true;
    conf::Prefork settings;
    settings.min_spare = 1;
    PreforkConnection pool(host, settings);
    pool.resume();
    pool.park_failed();
    REQUIRE(host.wake);
    const auto wait = *host.wake - host.time;
    CHECK(wait > 0s);
    host.pass(pool);
    CHECK(host.coming == 2);
    pool.park_failed();
    REQUIRE(host.wake);
    CHECK(*host.wake - host.time > wait);
}

TEST_CASE("a pool whose processes are out of date lets them go and waits until others can be parked") {
    FakeHost host;
    conf::Prefork settings;
    settings.min_spare = 2;
    PreforkConnection pool(host, settings);
    pool.resume();
    host.starting = true;
    pool.stale();
    CHECK(host.retired.size() == 2);
    CHECK(pool.spare() == 0);
    pool.refill();
    CHECK_FALSE(host.wake);
    host.starting = false;
    pool.resume();
    CHECK(pool.spare() == 2);
}

TEST_CASE("a process that parks in a drained pool is let go") {
    FakeHost host;
    host.slow = true;
    conf::Prefork settings;
    settings.min_spare = 1;
    PreforkConnection pool(host, settings);
    pool.resume();
    pool.drain();
    pool.parked(7);
    CHECK(host.retired == std::vector<pid_t>{7});
    CHECK(pool.spare() == 0);
}

}  // namespace superd::model::prefork_tests
