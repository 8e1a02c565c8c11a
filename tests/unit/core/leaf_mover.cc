// SPDX-License-Identifier: MIT
// Children are moved into their leaves while the loop runs on. A pipe stands for cgroup.procs: a full one makes its
// writer wait, as the kernel does.
#include "core/leaf_mover.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.h"
#include "unit/lines.h"

namespace superd::core::leaf_mover_tests {

using namespace std::chrono_literals;

namespace {

struct Leaf {
    Leaf() {
        int ends[2];
        REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
        read = sys::Fd(ends[0]);
        write = sys::Fd(ends[1]);
    }
    void fill() const {
        REQUIRE(fcntl(write.get(), F_SETPIPE_SZ, 4096) == 4096);
        const std::string page(4096, '-');
        REQUIRE(::write(write.get(), page.data(), page.size()) == 4096);
    }
    std::string take(std::size_t most) const {
        std::string out(most, '\0');
        const ssize_t n = ::read(read.get(), out.data(), most);
        out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        return out;
    }
    sys::Fd read, write;
};

struct World {
    World() { signal(SIGPIPE, SIG_IGN); }
    /// Reaps the one that moves, as the supervisor does, if it has ended or if `wait`.
    bool reap(bool wait) {
        REQUIRE(engine.children.size() == 1);
        const auto [pid, owner] = *engine.children.begin();
        int status = 0;
        rusage used{};
        if (wait4(pid, &status, wait ? 0 : WNOHANG, &used) != pid) return false;
        engine.children.clear();
        owner->exited(pid, status, used);
        owner->after_exit();
        return true;
    }

    sys::Loop loop = *sys::Loop::create();
    Log log{std::make_unique<NoLines>(), Level::info};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    std::vector<std::pair<pid_t, bool>> moved;
    int overs = 0;
    core::LeafMover mover{engine, [this](pid_t pid, bool there) { moved.emplace_back(pid, there); },
                          [this] { ++overs; }};
};
using Moved = std::vector<std::pair<pid_t, bool>>;

}  // namespace

TEST_CASE("a move that takes its time makes nobody wait, and those that come meanwhile go together afterwards") {
    World world;
    const Leaf slow, quick;
    slow.fill();
    REQUIRE(world.mover.move(1234, slow.write.duplicate()));
    REQUIRE(world.mover.move(1235, quick.write.duplicate()));
    REQUIRE(world.mover.move(1236, quick.write.duplicate()));
    CHECK_FALSE(world.mover.empty());
    CHECK(world.engine.unsettled == 1);  // an upgrade waits
    for (int i = 0; i < 20; ++i) CHECK_FALSE(world.reap(false));
    CHECK(world.moved.empty());
    CHECK(slow.take(4096) == std::string(4096, '-'));
    CHECK(slow.take(64) == "1234");
    REQUIRE(world.reap(true));
    CHECK(world.moved == Moved{{1234, true}});
    REQUIRE(world.reap(true));
    CHECK(world.moved == Moved{{1234, true}, {1235, true}, {1236, true}});
    CHECK(quick.take(64) == "12351236");
    CHECK(world.overs == 2);
    CHECK(world.mover.empty());
    CHECK(world.engine.unsettled == 0);
    CHECK(world.engine.unanswered.empty());
}

TEST_CASE("one that cannot be moved is told of, and so are all if the one that moves is killed") {
    World world;
    Leaf gone;
    gone.read.reset();
    const Leaf there;
    REQUIRE(world.mover.move(5, gone.write.duplicate()));
    REQUIRE(world.reap(true));
    CHECK(world.moved == Moved{{5, false}});
    there.fill();
    REQUIRE(world.mover.move(6, there.write.duplicate()));
    kill(world.engine.children.begin()->first, SIGKILL);
    REQUIRE(world.reap(true));
    CHECK(world.moved == Moved{{5, false}, {6, false}});
}

TEST_CASE("a child that ends is not reaped before its move is over, nor moved after that") {
    World world;
    const Leaf slow, quick;
    slow.fill();
    REQUIRE(world.mover.move(1, slow.write.duplicate()));
    REQUIRE(world.mover.move(2, quick.write.duplicate()));
    CHECK(world.engine.unanswered.contains(&world.mover));
    world.mover.before_reaping(2);
    const pid_t reader = fork();
    if (reader == 0) {
        usleep(20'000);
        (void)slow.take(4096);
        _exit(0);
    }
    world.mover.before_reaping(1);
    CHECK(slow.take(8) == "1");
    REQUIRE(world.reap(false));
    CHECK(world.moved == Moved{{1, true}});
    CHECK(world.mover.empty());
    CHECK(waitpid(reader, nullptr, 0) == reader);
}

TEST_CASE("it does not go before the one that moves: that runs in its memory") {
    auto world = std::make_unique<World>();
    const Leaf slow;
    slow.fill();
    REQUIRE(world->mover.move(1, slow.write.duplicate()));
    const pid_t child = world->engine.children.begin()->first;
    const pid_t reader = fork();
    if (reader == 0) {
        usleep(20'000);
        (void)slow.take(4096);
        _exit(0);
    }
    world.reset();
    CHECK(waitpid(child, nullptr, WNOHANG) == -1);
    CHECK(waitpid(reader, nullptr, 0) == reader);
}

}  // namespace superd::core::leaf_mover_tests
