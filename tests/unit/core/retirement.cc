// SPDX-License-Identifier: MIT
#include "core/retirement.h"

#include <signal.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "catch.h"

namespace superd::core::retirement_tests {

using Verdict = Sight::Verdict;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// Workers as the test wants them to look; time stands still until the test moves it.
struct World {
    struct Worker {
        Verdict verdict = Verdict::idle;
        bool stopped = false;
        bool stops = true;     ///< when it is sent a stop
        bool is_busy = false;  ///< what is seen once it is stopped
    };
    std::map<pid_t, Worker> workers;
    std::vector<std::string> done;
    Instant time{seconds(100)};
    int looks = 0;
    int fails = 0;  ///< how many signals fail
    sys::Loop loop = *sys::Loop::create();
    Retirement retirement{
        loop,
        {[this](pid_t pid, std::uint64_t) { return workers.contains(pid); },
         [this](pid_t pid) {
             ++looks;
             const Worker& worker = workers.at(pid);
             const bool caught = worker.stopped && worker.is_busy;
             return Sight{caught ? Verdict::busy : worker.verdict, worker.stopped, "has a client"};
         },
         [this](pid_t pid, Verdict verdict) { note(verdict == Verdict::unknown ? "end unseen" : "end", pid); },
         [this](pid_t pid, const char* why) { note(std::string("stays: ") + why, pid); },
         [this](pid_t pid, int number) {
             if (fails > 0) return --fails, errno = EPERM, -1;
             Worker& worker = workers.at(pid);
             if (number == SIGSTOP) worker.stopped = worker.stops;
             if (number == SIGCONT) worker.stopped = false;
             note(number == SIGSTOP ? "stop" : "continue", pid);
             return 0;
         },
         [this] { return time; }}};

    void note(const std::string& what, pid_t pid) { done.push_back(what + " " + std::to_string(pid)); }
    /// What happens until then.
    std::vector<std::string> until(Duration length) {
        done.clear();
        const Instant end = time + length;
        while (retirement.due() && *retirement.due() <= end) {
            time = std::max(time, *retirement.due());
            retirement.step();
        }
        time = end;
        return done;
    }
};

using Done = std::vector<std::string>;

}  // namespace

TEST_CASE("an idle worker is stopped, looked at again, signalled, and continued to its end") {
    World world;
    world.workers[1];
    world.retirement.add(1, 1);
    world.retirement.add(1, 1);
    CHECK(world.done.empty());  // not from there
    CHECK(world.until(milliseconds(10)) == Done{"stop 1", "end 1", "continue 1"});
    CHECK_FALSE(world.retirement.due());
}

TEST_CASE("a busy worker is looked at less and less often, never stopped, and reported once") {
    World world;
    world.workers[1].verdict = Verdict::busy;
    world.retirement.add(1, 1);
    CHECK(world.until(seconds(5)).empty());
    CHECK(world.looks >= 5);
    CHECK(world.until(seconds(60)) == Done{"stays: has a client 1"});
    world.looks = 0;
    CHECK(world.until(seconds(100)).empty());
    CHECK(world.looks == 10);
    world.workers[1].verdict = Verdict::idle;
    CHECK(world.until(seconds(10)) == Done{"stop 1", "end 1", "continue 1"});
}

TEST_CASE("a worker that took a client before it stopped continues, and is not stopped again for ten seconds") {
    World world;
    world.workers[1].is_busy = true;
    world.retirement.add(1, 1);
    CHECK(world.until(milliseconds(9990)) == Done{"stop 1", "continue 1"});
    world.workers[1].is_busy = false;
    CHECK(world.until(milliseconds(100)) == Done{"stop 1", "end 1", "continue 1"});
}

TEST_CASE("a worker that does not stop is continued after a moment") {
    World world;
    world.workers[1].stops = false;
    world.retirement.add(1, 1);
    CHECK(world.until(Retirement::kStopTime - milliseconds(2)) == Done{"stop 1"});
    CHECK(world.until(seconds(5)) == Done{"continue 1"});
}

TEST_CASE("if superd may not look or may not stop, the worker is signalled without a look") {
    World world;
    world.workers[1].verdict = Verdict::unknown;
    world.retirement.add(1, 1);
    CHECK(world.until(seconds(1)) == Done{"end unseen 1"});
    world.workers[2];
    world.fails = 1;
    world.retirement.add(2, 1);
    CHECK(world.until(seconds(1)) == Done{"end unseen 2"});
}

TEST_CASE("a worker that someone else has stopped stays stopped with a client, and is ended without one") {
    World world;
    world.workers[1] = {Verdict::busy, true};
    world.retirement.add(1, 1);
    CHECK(world.until(seconds(5)).empty());
    world.workers[1].verdict = Verdict::idle;
    CHECK(world.until(seconds(10)) == Done{"end 1", "continue 1"});
}

TEST_CASE("after an upgrade no worker is stopped for ten seconds") {
    World world;
    world.workers[1];
    world.retirement.add(1, 1);
    world.retirement.rest();
    CHECK(world.until(milliseconds(9990)).empty());
    CHECK(world.until(milliseconds(100)) == Done{"stop 1", "end 1", "continue 1"});
}

TEST_CASE("before an upgrade a stopped worker continues, even if the first try fails") {
    World world;
    world.workers[1], world.workers[2];
    world.retirement.add(1, 1);
    world.retirement.add(2, 1);
    CHECK(world.until(Duration::zero()) == Done{"stop 1", "stop 2"});
    world.workers.erase(2);  // it was killed, and its pid may belong to another process
    world.done.clear();
    world.fails = 1;
    world.retirement.let_go();
    CHECK(world.done == Done{"continue 1"});
    CHECK(world.until(milliseconds(9990)).empty());
    CHECK(world.until(milliseconds(20)) == Done{"stop 1", "end 1", "continue 1"});
}

TEST_CASE("many workers are looked at one at a time") {
    World world;
    for (pid_t pid = 1; pid <= 5; ++pid) {
        world.workers[pid].verdict = Verdict::busy;
        world.retirement.add(pid, 1);
    }
    world.retirement.step();
    CHECK(world.looks == 1);
    world.until(milliseconds(1));
    CHECK(world.looks == 5);
}

}  // namespace superd::core::retirement_tests
