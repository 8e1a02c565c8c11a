// SPDX-License-Identifier: MIT
#include "model/workers.h"

#include <map>
#include <set>

#include "catch.h"
#include "tests/unit/model/fake_host.h"

namespace superd::model::workers_tests {

using namespace std::chrono_literals;

TEST_CASE("workers: min_spare on each listener, replaced when they leave, never more than instances") {
    FakeHost host;
    host.listener_count = 2;
    conf::Service definition;
    definition.prefork->min_spare = 3;
    definition.limits->instances = 5;
    Workers pool(host, definition);
    pool.resume();
    CHECK(host.workers.size() == 5);
    pool.exited(*host.workers.begin(), End::well);
    CHECK(host.workers.size() == 6);
    CHECK(pool.spare() == 5);
}

namespace {

using Said = std::map<pid_t, Reports>;

void report(Workers& pool, Said& said, pid_t pid, int busy, int idle) {
    said[pid].add(busy, idle, busy > 0);  // if they come together, "busy" comes first
    pool.reported(pid, said[pid]);
}

/// A pool with one listener whose workers report ready as soon as they are started.
struct Reporting {
    explicit Reporting(conf::Service with) : definition(std::move(with)), pool(host, definition) { pool.resume(); }
    void report(pid_t pid, int busy, int idle) { workers_tests::report(pool, said, pid, busy, idle); }
    void announce() {
        for (const pid_t pid : host.workers)
            if (announced.insert(pid).second) report(pid, 0, 1);
    }
    /// What the loop does: refills when asked to, and lets new workers get ready.
    void settle() {
        announce();
        while (host.idle_asked) {
            host.idle_asked = false;
            pool.refill();
            announce();
        }
    }
    void pass() {
        host.pass_to_wake();
        pool.woken();
        settle();
    }
    /// So much later, with all that happens until then.
    void go_on(Duration length) {
        const Instant end = host.time + length;
        while (host.wake && *host.wake <= end) pass();
        host.time = end;
    }
    std::size_t alive() const { return host.workers.size() - host.retired.size(); }

    FakeHost host;
    conf::Service definition;
    Workers pool;
    Said said;
    std::set<pid_t> announced;
};

conf::Service spares(int least, int most) {
    conf::Service definition;
    definition.model = conf::Model::prefork;
    definition.prefork->min_spare = least;
    definition.prefork->max_spare = most;
    return definition;
}

}  // namespace

TEST_CASE("workers that report decide themselves whether they are spare, whether or not they first report idle") {
    Reporting r(spares(2, 8));
    r.settle();
    CHECK(r.pool.spare() == 2);
    const pid_t worker = *r.host.workers.begin();
    r.report(worker, 1, 0);
    CHECK(r.pool.spare() == 1);
    r.report(worker, 0, 1);
    CHECK(r.pool.spare() == 2);
    r.report(worker, 7, 7);  // many at once
    CHECK(r.pool.spare() == 2);

    Said said;
    FakeHost host;
    Workers modest(host, spares(1, 8));
    modest.resume();
    report(modest, said, 101, 1, 1);  // read together
    CHECK(modest.spare() == 1);
    for (int i = 0; i < 3; ++i) {
        report(modest, said, 101, 1, 0);
        CHECK(modest.spare() == 0);
        report(modest, said, 101, 0, 1);
        CHECK(modest.spare() == 1);
    }
}

TEST_CASE("each thread of a worker counts: one worker may provide enough spares") {
    Said said;
    FakeHost host;
    Workers pool(host, spares(4, 8));
    pool.resume();
    CHECK(host.workers.size() == 4);
    report(pool, said, 101, 0, 8);
    CHECK(pool.spare() == 8 + 3);
    report(pool, said, 101, 5, 0);
    CHECK(pool.spare() == 3 + 3);
}

namespace {

/// Whoever is ready takes one of those that wait, and keeps it.
void take_long_clients(Reporting& r, std::set<pid_t>& busy) {
    for (const pid_t pid : std::set(r.host.workers))
        if (r.host.queue > 0 && busy.insert(pid).second) {
            --r.host.queue;
            r.report(pid, 1, 0);
        }
    r.settle();
}

}  // namespace

TEST_CASE("a busy worker has a spare one started in its place, and each client that waits one more, up to instances") {
    auto definition = spares(2, 200);
    definition.limits->instances = 120;
    Reporting r(definition);
    r.settle();
    r.report(101, 1, 0);
    r.settle();
    CHECK(r.alive() == 2);  // it may be done soon
    r.go_on(Workers::kReportedGrowAfter);
    CHECK(r.alive() == 3);
    r.host.queue = 200;
    const Instant burst = r.host.time;
    std::set<pid_t> busy{101};
    while (r.alive() < 120 && r.host.time - burst < 1s) {
        take_long_clients(r, busy);
        if (r.host.wake) r.pass();
    }
    CHECK(r.alive() == 120);
    CHECK(r.host.time - burst <= 2 * Workers::kReportedGrowAfter);
    take_long_clients(r, busy);
    CHECK(r.host.queue == 200 - 119);
}

TEST_CASE("workers that are soon done with all that wait are left to it, and long clients end that") {
    Reporting r(spares(2, 8));
    r.settle();
    r.host.queue = 28;
    r.pool.ready(0);
    // Both are always at work, and say every 5 ms what they have done.
    for (const pid_t pid : {101, 102}) r.report(pid, 1, 0);
    for (int i = 0; i < 100; ++i) {
        r.go_on(5ms);
        for (const pid_t pid : {101, 102}) r.report(pid, 20, 20);
        r.settle();
    }
    CHECK(r.alive() == 2);
    r.go_on(2 * Workers::kReportedGrowAfter);  // neither has said anything more
    CHECK(r.alive() == 2 + 28 + 2);
}

TEST_CASE("a shortage that ends within grow_after is none, and what was reported before its end counts") {
    auto definition = spares(1, 8);
    definition.prefork->grow_after = 40ms;
    Reporting r(definition);
    r.settle();
    for (int i = 0; i < 10; ++i) {
        r.report(101, 1, 0);
        r.go_on(39ms);
        r.report(101, 0, 1);
        r.settle();
    }
    CHECK(r.alive() == 1);
    r.report(101, 1, 0);
    const Instant end = r.host.time + 40ms;
    while (r.host.time < end) {
        r.host.pass_to_wake();
        r.pool.woken();
    }
    // Only now does the loop read what was said before.
    r.report(101, 2, 2);
    r.settle();
    CHECK(r.alive() == 1);
    r.go_on(40ms);
    CHECK(r.alive() == 2);
}

TEST_CASE("one long client of a pool without spare ones wakes nobody, and the next client brings another worker") {
    Reporting r(spares(0, 8));
    r.host.queue = 1;
    r.pool.ready(0);
    r.host.queue = 0;
    r.settle();
    r.report(101, 1, 0);
    r.go_on(1s);
    CHECK_FALSE(r.host.wake);
    r.host.queue = 1;
    r.pool.ready(0);
    r.go_on(Workers::kReportedGrowAfter);
    CHECK(r.alive() == 2);
}

TEST_CASE("a shortage goes on in the superd that takes over") {
    Reporting r(spares(2, 8));
    r.settle();
    r.report(101, 1, 0);
    sys::Archive written;
    r.pool.pass(written);
    FakeHost host;
    host.last = r.host.last;
    Workers successor(host, spares(2, 8));
    sys::Archive read(std::move(written).text());
    successor.pass(read);
    REQUIRE(read.fault().empty());
    host.wake = r.host.wake;
    successor.resume();
    CHECK(host.workers.empty());
    while (host.workers.empty() && host.wake && host.time - r.host.time < 1s) host.pass(successor);
    CHECK(host.workers.size() == 1);
    CHECK(host.time - r.host.time <= 2 * Workers::kReportedGrowAfter);
}

TEST_CASE(
    "what reports leaves down to max_spare soon after a burst, down to min_spare after max_idle, then all is quiet") {
    auto definition = spares(2, 4);
    definition.prefork->max_idle = 10s;
    Reporting r(definition);
    r.settle();
    r.host.queue = 18;
    std::set<pid_t> busy;
    for (int round = 0; round < 3; ++round) {
        take_long_clients(r, busy);
        r.go_on(Workers::kReportedGrowAfter);
    }
    const auto most = r.alive();
    CHECK(most == 20);
    for (const pid_t pid : busy) r.report(pid, 0, 1);
    r.settle();
    CHECK(r.alive() == most);
    const Instant idle = r.host.time;
    while (r.host.wake && r.alive() > 4) r.pass();
    CHECK(r.alive() == 4);
    CHECK(r.host.time - idle <= 2 * Workers::kOverMost);
    while (r.host.wake) r.pass();
    CHECK(r.alive() == 2);
    CHECK(r.host.time - idle >= 10s);
    CHECK(r.pool.spare() == 2);
}

TEST_CASE("a busy worker is not let go as surplus, and no worker is while a client waits") {
    auto definition = spares(1, 8);
    definition.prefork->max_idle = 10s;
    Reporting r(definition);
    r.settle();
    for (const pid_t pid : {101, 102}) {
        r.report(pid, 1, 0);
        r.go_on(Workers::kReportedGrowAfter);
    }
    CHECK(r.alive() == 3);
    r.report(102, 0, 1);  // now two are idle
    r.host.queue = 1;
    r.go_on(10s);
    CHECK(r.host.retired.empty());
    r.host.queue = 0;
    while (r.host.wake) r.pass();
    CHECK(r.alive() == 2);
    CHECK(r.host.retired.front() != 101);
}

TEST_CASE("a worker that reports is renewed after max_requests, whether or not it counts itself") {
    auto definition = spares(1, 8);
    definition.prefork->max_requests = 3;
    Reporting r(definition);
    r.settle();
    for (int i = 0; i < 3; ++i) {
        CHECK(r.host.retired.empty());
        r.report(101, 1, 1);
    }
    CHECK(r.host.retired == std::vector<pid_t>{101});
    r.settle();
    CHECK(r.alive() == 1);
    r.pool.exited(101, End::well);
    r.settle();
    CHECK(r.host.workers.size() == 2);
}

TEST_CASE("min_spare = 0: the first client brings the first worker, and after max_idle none is left") {
    auto definition = spares(0, 8);
    definition.prefork->max_idle = 10s;
    Reporting r(definition);
    CHECK(r.host.workers.empty());
    CHECK(r.pool.wants(0));
    r.host.queue = 1;
    r.pool.ready(0);
    CHECK(r.host.workers.size() == 1);
    CHECK_FALSE(r.pool.wants(0));  // it is on its way
    r.host.queue = 0;
    r.settle();
    r.report(101, 1, 0);
    r.report(101, 0, 1);
    while (r.host.wake) r.pass();
    CHECK(r.host.retired == std::vector<pid_t>{101});
    CHECK(r.pool.wants(0));
}

TEST_CASE(
    "workers that do not report: more while clients have waited for grow_after, doubling, half of them less later") {
    auto definition = spares(1, 8);
    definition.prefork->grow_after = 40ms;
    definition.prefork->max_idle = 10s;
    FakeHost host;
    Workers pool(host, definition);
    pool.resume();
    CHECK(host.workers.size() == 1);
    CHECK(pool.wants(0));
    host.queue = 100;
    pool.ready(0);
    CHECK_FALSE(pool.wants(0));
    const Instant begin = host.time;
    std::vector<std::size_t> sizes;
    while (host.workers.size() < 16) {
        const auto before = host.workers.size();
        host.pass_to_wake();
        pool.woken();
        if (host.workers.size() != before) sizes.push_back(host.workers.size());
    }
    CHECK(sizes == std::vector<std::size_t>{2, 4, 8, 16});
    CHECK(host.time - begin == 4 * 40ms);
    host.queue = 0;
    host.pass_to_wake();
    pool.woken();
    CHECK(pool.wants(0));  // to notice the next client
    std::vector<std::size_t> left;
    while (host.wake) {
        const auto before = host.retired.size();
        host.pass_to_wake();
        pool.woken();
        if (host.retired.size() != before) left.push_back(host.workers.size() - host.retired.size());
    }
    CHECK(left == std::vector<std::size_t>{8, 4, 2, 1});
}

TEST_CASE(
    "a queue that empties in between does not make the pool grow, and no more workers are started than clients wait") {
    auto definition = spares(1, 8);
    definition.prefork->grow_after = 40ms;
    FakeHost host;
    Workers pool(host, definition);
    pool.resume();
    for (int i = 0; i < 20; ++i) {
        host.queue = 5;
        pool.ready(0);
        host.pass_to_wake();
        pool.woken();
        host.queue = 0;
        host.pass_to_wake();
        pool.woken();
    }
    CHECK(host.workers.size() == 1);
    host.queue = 2;  // and no worker ever takes them
    pool.ready(0);
    for (const Instant begin = host.time; host.time - begin < 900ms;) {
        host.pass_to_wake();
        pool.woken();
    }
    CHECK(host.workers.size() == 3);
}

TEST_CASE("delayed: one worker, another once clients have waited for the delay, and back to one") {
    auto definition = spares(3, 8);
    definition.model = conf::Model::delayed;
    definition.delay = 250ms;
    definition.prefork->max_idle = 10s;
    for (const bool reports : {false, true}) {
        Said said;
        FakeHost host;
        Workers pool(host, definition);
        pool.resume();
        CHECK(host.workers.size() == 1);
        if (reports) report(pool, said, 101, 0, 1);
        if (reports) report(pool, said, 101, 1, 0);
        pool.refill();
        CHECK(host.workers.size() == 1);
        host.queue = 1;
        pool.ready(0);
        const Instant begin = host.time;
        while (host.workers.size() < 2) {
            host.pass_to_wake();
            pool.woken();
        }
        CHECK(host.time - begin == 250ms);
        host.queue = 0;
        if (reports) report(pool, said, 102, 1, 1);
        if (reports) report(pool, said, 101, 0, 1);
        if (reports) report(pool, said, 102, 0, 1);
        while (host.wake) {
            host.pass_to_wake();
            pool.woken();
        }
        CHECK(host.workers.size() - host.retired.size() == 1);
    }
}

TEST_CASE("a worker that dies at once is not replaced at once") {
    FakeHost host;
    conf::Service definition;
    definition.prefork->min_spare = 1;
    Workers pool(host, definition);
    pool.resume();
    pool.exited(*host.workers.begin(), End::badly);
    CHECK(host.workers.size() == 1);
    host.pass_to_wake();
    pool.woken();
    CHECK(host.workers.size() == 2);
}

TEST_CASE("workers that die at once are tried one by one, however many clients wait") {
    FakeHost host;
    conf::Service definition;
    definition.prefork->min_spare = 1;
    Workers pool(host, definition);
    pool.resume();
    host.queue = 20;
    pool.ready(0);
    for (int i = 0; i < 8; ++i) {
        const auto before = host.workers.size();
        pool.exited(host.last, End::badly);
        while (host.workers.size() == before) host.pass(pool);
        CHECK(host.workers.size() == before + 1);
    }
    // The last one lives, and those who still wait after grow_after bring more.
    const auto tried = host.workers.size();
    while (host.wake && host.workers.size() < tried + 3) host.pass(pool);
    CHECK(host.workers.size() >= tried + 3);
}

TEST_CASE("a worker past max_age leaves once its successor has proved to live, and stays if that dies") {
    FakeHost host;
    conf::Service definition;
    definition.prefork->min_spare = 1;
    definition.prefork->max_age = 60s;
    Workers pool(host, definition);
    pool.resume();
    const Instant begin = host.time;
    while (host.workers.size() < 2) host.pass(pool);
    CHECK(host.time == begin + 60s);
    CHECK(host.retired.empty());
    pool.exited(102, End::badly);
    while (host.workers.size() < 3) host.pass(pool);
    CHECK(host.retired.empty());
    while (host.retired.empty()) host.pass(pool);
    CHECK(host.retired == std::vector<pid_t>{101});
    CHECK(host.time - begin < 62s);
}

TEST_CASE("workers: each listener has one before any has two, if places are few") {
    FakeHost host;
    host.listener_count = 3;
    host.places = 4;
    conf::Service definition;
    definition.prefork->min_spare = 2;
    Workers pool(host, definition);
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 2, 0});
    REQUIRE(host.wake);
    host.places = 1;
    host.pass_to_wake();
    pool.woken();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 2, 0, 1});
}

TEST_CASE("workers: each listener has one before any has two, if instances are few") {
    FakeHost host;
    host.listener_count = 3;
    conf::Service definition;
    definition.prefork->min_spare = 2;
    definition.limits->instances = 4;
    Workers pool(host, definition);
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 2, 0});
}

TEST_CASE("a worker past max_age that frees its place only by leaving is then replaced, generation after generation") {
    FakeHost host;
    host.places = 2;
    conf::Service definition;
    definition.prefork->min_spare = 2;
    definition.prefork->max_age = 60s;
    definition.limits->instances = 2;
    Workers pool(host, definition);
    pool.resume();
    CHECK(pool.spare() == 2);
    const Instant begin = host.time;
    for (std::size_t gone = 1; gone <= 10; ++gone) {
        while (host.retired.size() < gone) host.pass(pool);
        CHECK(pool.spare() == 1);  // one after the other
        ++host.places;
        pool.exited(host.retired.back(), End::well);
        CHECK(host.workers.size() == 2 + gone);
        CHECK(pool.spare() == 2);
    }
    CHECK(host.time - begin > 299s);
    CHECK(host.time - begin < 310s);
}

TEST_CASE("a listener that has lost its worker comes before one that wants another") {
    FakeHost host;
    host.listener_count = 2;
    auto definition = spares(2, 8);
    definition.limits->instances = 2;
    Workers pool(host, definition);
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 1});
    pool.exited(102, End::well);
    CHECK(host.started_on == std::vector<std::size_t>{0, 1, 1});
}

TEST_CASE("a listener whose address is not available does not hold up the others") {
    FakeHost host;
    host.listener_count = 2;
    host.absent = {1};
    Workers pool(host, spares(2, 8));
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 0});
    CHECK(pool.wants(0));
    CHECK_FALSE(host.wake);
    host.absent.clear();
    pool.resume();
    CHECK(host.started_on == std::vector<std::size_t>{0, 0, 1, 1});
}

TEST_CASE(
    "many long clients at once: each waiting client has a worker on its way, however many have been started before") {
    FakeHost host;
    auto definition = spares(1, 8);
    definition.prefork->grow_after = 40ms;
    Workers pool(host, definition);
    pool.resume();
    host.queue = 20;
    pool.ready(0);
    const Instant begin = host.time;
    std::size_t before = 1;
    while (host.queue > 0) {
        host.pass(pool);
        host.queue -= static_cast<int>(std::min<std::size_t>(host.workers.size() - before, 20));
        before = host.workers.size();
    }
    CHECK(host.time - begin < 400ms);
}

TEST_CASE("min_spare = 0, workers that report: each waiting client has one on its way") {
    auto definition = spares(0, 8);
    Reporting r(definition);
    r.host.queue = 6;
    r.pool.ready(0);
    r.settle();
    r.host.queue = 5;
    r.report(101, 1, 0);
    r.go_on(Workers::kReportedGrowAfter);
    CHECK(r.alive() == 6);
}

TEST_CASE("workers that leave early always have successors soon") {
    FakeHost host;
    auto definition = spares(1, 8);
    definition.prefork->max_requests = 1;
    Workers pool(host, definition);
    pool.resume();
    for (int i = 0; i < 20; ++i) {
        pool.exited(host.last, End::hasty);
        const Instant before = host.time;
        host.pass(pool);
        CHECK(host.workers.size() == static_cast<std::size_t>(i) + 2);
        CHECK(host.time - before == Workers::kHaste);
    }
}

TEST_CASE("pools forget early ends once their workers work") {
    auto definition = spares(1, 8);
    Reporting r(definition);
    for (int i = 0; i < 12; ++i) {
        r.settle();
        const Instant before = r.host.time;
        r.pool.exited(r.host.last, End::badly);
        r.pass();
        CHECK(r.host.time - before <= 20ms);
        r.report(r.host.last, 1, 1);
    }
}

TEST_CASE("no worker is let go for age or requests while no successor can be started") {
    auto definition = spares(2, 8);
    definition.prefork->max_age = 60s;
    definition.prefork->max_requests = 5;
    Reporting r(definition);
    r.settle();
    r.host.scarce = true;
    r.pool.exited(102, End::well);  // and none can be started in its place
    for (const Instant begin = r.host.time; r.host.time - begin < 120s;) r.pass();
    r.report(101, 9, 9);
    CHECK(r.host.retired.empty());
    r.host.scarce = false;
    while (r.host.retired.empty()) r.pass();
    CHECK(r.host.retired == std::vector<pid_t>{101});
    CHECK(r.alive() >= 2);
}

TEST_CASE("an idle pool whose one worker has more room than max_spare is quiet") {
    FakeHost host;
    Said said;
    Workers pool(host, spares(1, 8));
    pool.resume();
    report(pool, said, 101, 0, 16);
    CHECK_FALSE(host.wake);
    report(pool, said, 101, 1, 0);
    report(pool, said, 101, 0, 1);
    CHECK_FALSE(host.wake);
}

}  // namespace superd::model::workers_tests
