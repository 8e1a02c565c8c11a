// SPDX-License-Identifier: MIT
#include "core/stop_ladder.h"

#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "base/signal.h"
#include "catch.h"
#include "proc/parking.h"
#include "unit/lines.h"

namespace superd::core::stop_ladder_tests {

using Kind = Child::Kind;
using Verdict = Sight::Verdict;
using namespace std::chrono_literals;

namespace {

/// Children that do what the test wants. Time stands until it is moved.
struct World final : StopLadder::Host {
    struct Seen {
        Verdict verdict = Verdict::idle;
        bool stopped = false;
    };
    Child& add(pid_t pid, Kind kind) {
        Child& child = children[pid];
        child.kind = kind;
        child.serial = static_cast<std::uint64_t>(pid);
        return child;
    }
    /// A worker that reports and has room for one client.
    Child& add_reporting(pid_t pid) {
        Child& child = add(pid, Kind::worker);
        child.reports.add(0, 1);
        return child;
    }

    Child* known(pid_t pid) override { return children.contains(pid) ? &children.at(pid) : nullptr; }
    void hear(Child& child) override {
        if (unheard > 0) child.reports.add(std::exchange(unheard, 0), 0);
    }
    Sight look(pid_t pid, Child& child) override {
        hear(child);
        return {seen[pid].verdict, seen[pid].stopped, "has a client"};
    }
    int signal(pid_t pid, int number, Reach reach) override {
        if (number == SIGSTOP) seen[pid].stopped = true;
        if (number == SIGCONT) seen[pid].stopped = false;
        done.push_back(signal_name(number) + (reach == Reach::session ? " all of " : " ") + std::to_string(pid));
        return 0;
    }
    Instant now() const override { return time; }

    /// What is done until then.
    std::vector<std::string> until(Duration length) {
        done.clear();
        const Instant end = time + length;
        while (ladder.due() && *ladder.due() <= end) {
            time = std::max(time, *ladder.due());
            ladder.step();
        }
        time = end;
        return done;
    }

    sys::Loop loop = *sys::Loop::create();
    std::vector<std::string> said, done;
    Log log{std::make_unique<Lines>(said), Level::debug};
    const conf::Service definition = [] {
        conf::Service out;
        out.name = "test";
        out.stop_signal = SIGHUP;
        out.stop_timeout = 10s;
        out.max_lifetime = 60s;
        return out;
    }();
    std::map<pid_t, Child> children;
    std::map<pid_t, Seen> seen;
    int unheard = 0;  ///< clients that a worker says it has taken, once it is heard
    Instant time{100s};
    StopLadder ladder{loop, log, *this, definition};
};

using Done = std::vector<std::string>;

}  // namespace

TEST_CASE("a handler is asked to leave by stop_signal, and killed after stop_timeout") {
    World world;
    Child& child = world.add(1, Kind::handler);
    world.ladder.stop(1, child);
    CHECK(world.done == Done{"SIGCONT all of 1", "SIGHUP all of 1"});
    world.ladder.stop(1, child);
    CHECK(world.done.size() == 2);  // once
    CHECK(world.until(9'999ms).empty());
    CHECK(world.until(1ms) == Done{"SIGKILL all of 1"});
    CHECK(world.said == Done{"handler 1 did not leave in time and is killed"});
    CHECK(world.until(1h).empty());
}

TEST_CASE("a handler that is too old is stopped, and killed if it stays") {
    World world;
    Child& child = world.add(1, Kind::handler);
    world.ladder.limit(1, child);
    CHECK(world.until(59'999ms).empty());
    CHECK(world.until(1ms) == Done{"SIGCONT all of 1", "SIGHUP all of 1"});
    CHECK(child.stopping);
    CHECK(world.until(10s) == Done{"SIGKILL all of 1"});
    CHECK(world.said ==
          Done{"handler 1 is older than max_lifetime and is ended", "handler 1 did not leave in time and is killed"});
}

TEST_CASE("nothing is sent to a child that has left, nor to another that has its pid") {
    World world;
    Child& child = world.add(1, Kind::handler);
    world.ladder.limit(1, child);
    world.ladder.stop(1, child);
    world.children.clear();
    world.add(1, Kind::handler).serial = 2;
    CHECK(world.until(1h).empty());
}

TEST_CASE("a parked process is let go by its pair, and killed if it stays") {
    World world;
    Child& child = world.add(1, Kind::parked);
    auto pair = *proc::make_pair();
    child.pair = std::move(pair.ours);
    world.ladder.retire(1, child);
    CHECK_FALSE(child.pair);
    CHECK(world.until(9'999ms).empty());
    CHECK(world.until(1ms) == Done{"SIGKILL all of 1"});
}

TEST_CASE("a worker that reports hears of it by its pair, and is left alone while it has a client") {
    World world;
    Child& child = world.add_reporting(1);
    auto pair = *proc::make_pair();
    child.pair = std::move(pair.ours);
    world.unheard = 1;  // it took a client just before
    world.ladder.retire(1, child);
    char end = 0;
    CHECK(recv(pair.theirs.get(), &end, 1, MSG_DONTWAIT) == 0);
    CHECK(world.until(1h).empty());
    SECTION("it has a second to leave once it has none") {
        child.reports.add(0, 1);
        world.ladder.heard(1, child);
        CHECK(world.until(StopLadder::kHint - 1ms).empty());
        world.children.clear();
        CHECK(world.until(1h).empty());
    }
    SECTION("it is asked by stop_signal, and killed, if it has none and stays") {
        child.reports.add(0, 1);
        world.ladder.heard(1, child);
        CHECK(world.until(2s) == Done{"SIGSTOP 1", "SIGHUP 1", "SIGCONT 1"});
        CHECK(world.until(10s) == Done{"SIGSTOP 1", "SIGKILL all of 1", "SIGCONT 1"});
    }
}

TEST_CASE("what a worker says does not end it unless it is to leave") {
    World world;
    Child& child = world.add_reporting(1);
    world.ladder.heard(1, child);
    CHECK_FALSE(world.ladder.due());
}

TEST_CASE("a silent worker is asked when it is seen to be idle, and only the worker itself is killed") {
    World world;
    Child& child = world.add(1, Kind::worker);
    world.seen[1].verdict = Verdict::busy;
    world.ladder.retire(1, child);
    CHECK(world.until(1min).empty());
    CHECK(world.said == Done{"worker 1 should leave but stays, since it has a client"});
    world.seen[1].verdict = Verdict::idle;
    CHECK(world.until(10s) == Done{"SIGSTOP 1", "SIGHUP 1", "SIGCONT 1"});
    CHECK(world.until(20s) == Done{"SIGSTOP 1", "SIGKILL 1", "SIGCONT 1"});
}

TEST_CASE("a child that superd may not look at is asked, and never killed unseen") {
    World world;
    world.seen[1].verdict = Verdict::unknown;
    world.ladder.retire(1, world.add(1, Kind::owner));
    CHECK(world.until(1h) == Done{"SIGHUP 1"});
    CHECK(world.said ==
          Done{"handler 1 has been asked to leave but stays; it does not report, so it may have a client"});
}

TEST_CASE("a worker that is retired and then stopped is killed with its client") {
    World world;
    Child& child = world.add(1, Kind::worker);
    world.seen[1].verdict = Verdict::busy;
    world.ladder.retire(1, child);
    world.ladder.stop(1, child);
    CHECK(world.done == Done{"SIGCONT all of 1", "SIGHUP all of 1"});
    CHECK(world.until(10s) == Done{"SIGKILL all of 1"});
}

TEST_CASE("a worker that stands still for a look goes on before an upgrade") {
    World world;
    world.ladder.retire(1, world.add(1, Kind::worker));
    while (!world.seen[1].stopped) {
        world.time = world.ladder.due().value();
        world.ladder.step();
    }
    (void)world.ladder.write_down();
    CHECK_FALSE(world.seen[1].stopped);
}

TEST_CASE("a ladder goes on in another process where it was") {
    World before, after;
    before.ladder.limit(4, before.add(4, Kind::handler));
    before.ladder.stop(1, before.add(1, Kind::handler));
    before.ladder.retire(2, before.add_reporting(2));
    (void)before.until(500ms);
    after.time = before.time;
    Child& first = after.add(1, Kind::handler);
    Child& second = after.add_reporting(2);
    Child& third = after.add(3, Kind::worker);  // was being looked at
    after.add(4, Kind::handler);
    first.stopping = second.stopping = second.retired = third.stopping = third.retired = true;
    after.ladder.go_on(before.ladder.write_down());
    for (const auto& [pid, child] : after.children) after.ladder.go_on_with(pid, child);
    after.ladder.rest();
    CHECK(after.until(499ms).empty());
    CHECK(after.until(2ms) == Done{"SIGSTOP 2", "SIGHUP 2", "SIGCONT 2"});
    after.children.erase(2);
    CHECK(after.until(8'999ms) == Done{"SIGKILL all of 1"});
    after.children.erase(1);
    CHECK(after.until(1s) == Done{"SIGSTOP 3", "SIGHUP 3", "SIGCONT 3"});
    after.children.erase(3);
    CHECK(after.until(49s - 1ms).empty());
    CHECK(after.until(1s) == Done{"SIGCONT all of 4", "SIGHUP all of 4"});
}

namespace {

Child worker(int free, int busy) {
    Child child;
    child.kind = Kind::worker;
    if (free > 0) child.reports.add(0, free);
    if (busy > 0) child.reports.add(busy, 0);
    return child;
}

Verdict verdict(const Result<sys::ProcessView>& view, const Child& child) {
    return core::sight_of(view, child).verdict;
}

}  // namespace

TEST_CASE("only a refusal that will not change is a reason to end a worker unseen") {
    for (const int code : {EPERM, EACCES, ENOENT, EOPNOTSUPP})
        CHECK(verdict(fail_errno("look", code), worker(0, 0)) == Verdict::unknown);
    for (const int code : {EMFILE, ENOMEM, ESRCH, EAGAIN})
        CHECK(verdict(fail_errno("look", code), worker(0, 0)) == Verdict::busy);
}

TEST_CASE("a worker that says that it has a client is not ended unseen") {
    CHECK(verdict(fail_errno("look", EPERM), worker(1, 1)) == Verdict::busy);
    CHECK(verdict(fail_errno("look", EPERM), worker(1, 0)) == Verdict::unknown);
}

TEST_CASE("the word of a worker that reports counts, whatever it does, and a look that is not whole tells nothing") {
    sys::ProcessView view;
    view.threads = {{'T', -1}};
    view.whole = false;
    CHECK(verdict(view, worker(1, 1)) == Verdict::busy);
    CHECK(verdict(view, worker(1, 0)) == Verdict::unknown);
    view.whole = true;
    CHECK(verdict(view, worker(1, 0)) == Verdict::idle);
    CHECK(core::sight_of(view, worker(1, 0)).stopped);
}

}  // namespace superd::core::stop_ladder_tests
