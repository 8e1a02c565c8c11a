// SPDX-License-Identifier: MIT
// A definition's launcher: who is given to it, and what becomes of them whatever it does.
#include "core/launcher.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "catch.h"
#include "unit/core/steps.h"
#include "unit/lines.h"

namespace superd::core::launcher_tests {

using namespace proc::launch;
using namespace std::chrono_literals;

namespace {

/// In a process of its own: what superd-launch and those that it starts would do.
struct Actor {
    int channel;
    void answer(Word word, std::uint32_t serial = 0, int code = 0) const {
        const Answer message{word, serial, code};
        (void)!send(channel, &message, sizeof message, MSG_NOSIGNAL);
    }
    /// The number of the next order; superd has closed: there is none, and it ends.
    std::uint32_t order(sys::Fd& connection) const {
        Order order{};
        char control[64];
        iovec part{&order, sizeof order};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        if (recvmsg(channel, &header, 0) <= 0) _exit(0);
        if (const cmsghdr* passed = CMSG_FIRSTHDR(&header))
            connection.reset(*reinterpret_cast<const int*>(CMSG_DATA(passed)));
        return order.serial;
    }
    static bool is_new_process() { return syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0; }
};

/// As it should be: a process answers its client by "s" and ends.
void obey(const Actor& actor) {
    actor.answer(Word::ready);
    for (;;) {
        sys::Fd connection;
        const auto serial = actor.order(connection);
        if (!Actor::is_new_process()) continue;
        actor.answer(Word::going, serial);
        (void)!write(connection.get(), "s", 1);
        _exit(0);
    }
}

struct World final : Launcher::Host {
    explicit World(std::function<void(const Actor&)> role) : play(std::move(role)) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        engine.null = sys::Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
        engine.launcher = engine.null.duplicate();
        definition.name = "test";
        launcher.emplace(engine, *this, definition);
    }
    ~World() override {
        for (const pid_t pid : started) kill(pid, SIGKILL);
        launcher.reset();
        while (waitpid(-1, nullptr, 0) > 0) {
        }
    }
    Result<pid_t> start(core::ChildOwner& owner, sys::Fd channel) override {
        if (!startable) return fail_errno("start", EAGAIN);
        const pid_t pid = fork();
        if (pid == 0) {
            play(Actor{channel.get()});
            for (;;) pause();
        }
        started.push_back(pid);
        engine.children[pid] = &owner;
        return pid;
    }
    void serves(pid_t pid, model::Client) override { serving.push_back(pid); }
    bool not_executed(pid_t pid, int code, sys::GuardedFd connection) override {
        if (std::ranges::find(serving, pid) == serving.end()) return false;
        failed = code;
        returned = std::move(connection);
        return true;
    }
    void serve_directly(model::Client one) override { cold.push_back(std::move(one)); }
    void left() override { ++lefts; }

    using Step = core::test::Step;
    void run(const std::vector<Step>& steps) {
        core::test::take_steps(loop, steps, [this] {
            if (reaps) core::test::reap_all(engine, [this] { launcher->hear_all({}); });
        });
    }
    /// A client whose other end is `client`.
    bool serve() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        client = sys::Fd(ends[0]);
        model::Client one;
        one.connection = sys::GuardedFd(sys::Fd(ends[1]));
        const bool taken = launcher->serve(one);
        CHECK(taken != static_cast<bool>(one.connection));
        return taken;
    }
    /// The first step of most: starts it, and waits until it is ready.
    Step ready(std::function<void()> then) {
        CHECK_FALSE(serve());
        return {[this] { return launcher->pid() != 0; }, std::move(then)};
    }
    bool has_said(std::string_view what) const {
        return std::ranges::any_of(said, [&](const std::string& line) { return line.contains(what); });
    }

    std::function<void(const Actor&)> play;
    sys::Loop loop = *sys::Loop::create();
    std::vector<std::string> said;
    Log log{std::make_unique<Lines>(said), Level::info};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    conf::Service definition;
    std::vector<pid_t> started, serving;
    std::vector<model::Client> cold;
    int failed = 0, lefts = 0;
    sys::GuardedFd returned;
    bool startable = true, reaps = true;
    sys::Fd client;
    std::optional<Launcher> launcher;
};

}  // namespace

TEST_CASE("the first client starts it and is served otherwise; once it is ready it gets those that come") {
    World world(obey);
    CHECK_FALSE(world.serve());
    CHECK(world.started.size() == 1);
    CHECK(world.launcher->pid() == 0);
    world.run({{[&] { return world.launcher->pid() != 0; },
                [&] {
                    CHECK(world.launcher->pid() == world.started.front());
                    REQUIRE(world.serve());
                    CHECK(world.engine.unanswered.contains(&*world.launcher));
                }},
               {[&] { return !world.serving.empty(); }}});
    char word = 0;
    CHECK(read(world.client.get(), &word, 1) == 1);
    CHECK(word == 's');
    CHECK(world.serving.front() != world.started.front());
    CHECK(world.engine.unanswered.empty());
    CHECK(world.started.size() == 1);
}

TEST_CASE("where it cannot be started, or is not installed, clients are served otherwise") {
    World world(obey);
    world.startable = false;
    CHECK_FALSE(world.serve());
    CHECK_FALSE(world.serve());
    CHECK(world.launcher->empty());
    world.startable = true;
    CHECK_FALSE(world.serve());  // it waits before it tries again
    CHECK(world.started.empty());
    World another(obey);
    another.engine.launcher.reset();
    CHECK_FALSE(another.serve());
    CHECK(another.started.empty());
}

TEST_CASE("a client that it cannot begin for is served otherwise; one whose program cannot be executed comes back") {
    World world([](const Actor& actor) {
        actor.answer(Word::ready);
        sys::Fd first, second;
        actor.answer(Word::failed, actor.order(first), EDQUOT);
        const auto serial = actor.order(second);
        if (!Actor::is_new_process()) return;
        actor.answer(Word::going, serial);
        const Answer message{Word::failed, serial, ENOENT};
        iovec part{const_cast<Answer*>(&message), sizeof message};
        (void)!proc::parked::send_with_descriptor(actor.channel, &part, 1, second.get(), 0);
        _exit(127);
    });
    world.run({world.ready([&] { REQUIRE(world.serve()); }),
               {[&] { return world.cold.size() == 1; }, [&] { REQUIRE(world.serve()); }},
               {[&] { return world.failed != 0; }}});
    CHECK(world.failed == ENOENT);
    CHECK(world.returned);
    CHECK(world.launcher->pid() == world.started.front());
}

TEST_CASE("one that dies loses no client, is told of once, and is started again after a pause that grows") {
    World world([](const Actor& actor) {
        actor.answer(Word::ready);
        sys::Fd connection;
        (void)actor.order(connection);
        raise(SIGKILL);
    });
    Instant ended{};
    world.run({world.ready([&] { REQUIRE(world.serve()); }),
               {[&] { return world.cold.size() == 1 && world.launcher->empty(); },
                [&] {
                    CHECK(world.lefts > 0);
                    CHECK(world.has_said("ended: killed by SIGKILL; handlers are started without it meanwhile"));
                    ended = now();
                    for (int i = 0; i < 10; ++i) CHECK_FALSE(world.serve());
                    CHECK(world.started.size() == 1);
                }},
               {[&] {
                    (void)world.serve();
                    return world.started.size() == 2;
                },
                [&] { CHECK(now() - ended > 500ms); }},
               {[&] { return world.launcher->pid() != 0 && world.serve(); }},
               {[&] { return world.cold.size() == 2 && world.launcher->empty(); }}});
    CHECK(std::ranges::count_if(world.said, [](const auto& line) { return line.contains("ended:"); }) == 1);
}

TEST_CASE("one that does not answer is ended, and who waits for it is served otherwise") {
    World world([](const Actor& actor) {
        actor.answer(Word::ready);
        for (;;) pause();
    });
    std::size_t taken = 0;
    world.run({world.ready([] {}),
               {[&] {
                   if (!world.serve()) return true;  // it does not keep up
                   ++taken;
                   return false;
               }},
               {[&] { return world.cold.size() == taken && world.launcher->empty(); }}});
    CHECK(taken > 0);
    CHECK(world.has_said("does not answer and is killed"));
    CHECK(world.started.size() == 1);
}

TEST_CASE("one that says what it cannot know is ended") {
    for (const Word word : {Word::going, Word::failed, static_cast<Word>(99)}) {
        World world([word](const Actor& actor) {
            actor.answer(Word::ready);
            actor.answer(word, 77, EPERM);
            for (;;) pause();
        });
        CHECK_FALSE(world.serve());
        world.run({{[&] { return world.launcher->empty(); }}});
        CHECK(world.serving.empty());
    }
}

TEST_CASE("drained, it answers for the last client, takes no other, and goes") {
    World world(obey);
    world.run({world.ready([&] {
                   REQUIRE(world.serve());
                   world.launcher->drain();
                   CHECK_FALSE(world.serve());
               }),
               {[&] { return world.launcher->empty(); }}});
    CHECK(world.serving.size() == 1);
    CHECK(world.cold.empty());
    CHECK(world.lefts > 0);
    CHECK(world.started.size() == 1);
}

TEST_CASE("an upgrade keeps it; one of another version is replaced, but not before the upgrade is certain") {
    World world(obey);
    pid_t first = 0;
    const auto hand_over = [&](int version) {
        sys::Descriptors before, kept;
        core::LauncherState state = world.launcher->write_down(before);
        CHECK(state.pid == first);
        CHECK(state.version == kVersion);
        state.version = version;
        state.channel = kept.keep(fcntl(state.channel, F_DUPFD_CLOEXEC, 3));
        world.launcher.reset();
        world.launcher.emplace(world.engine, world, world.definition);
        world.engine.children.erase(first);
        sys::Descriptors after(kept.entries());
        REQUIRE(world.launcher->go_on(state, after));
        CHECK(after.sound());
        CHECK(world.launcher->pid() == first);
        CHECK(kill(first, 0) == 0);
        world.launcher->take_up();
    };
    world.run({world.ready([&] {
                   first = world.launcher->pid();
                   hand_over(kVersion);
                   CHECK(world.launcher->pid() == first);
                   REQUIRE(world.serve());
               }),
               {[&] { return world.serving.size() == 1; },
                [&] {
                    CHECK(world.said.empty());
                    hand_over(kVersion + 1);
                    CHECK(world.has_said("is of another version and is replaced"));
                    CHECK(world.launcher->pid() == 0);
                    CHECK_FALSE(world.serve());
                }},
               {[&] { return world.launcher->pid() != 0 && world.started.size() == 2; },
                [&] {
                    CHECK(world.launcher->pid() != first);
                    REQUIRE(world.serve());
                }},
               {[&] { return world.serving.size() == 2; }}});
}

}  // namespace superd::core::launcher_tests
