// SPDX-License-Identifier: MIT
#include "core/warm.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "catch.h"
#include "core/warm_state.h"
#include "proc/parked/message.h"
#include "proc/warm_message.h"
#include "unit/core/steps.h"
#include "unit/lines.h"

namespace superd::core::warm_tests {

using namespace proc::warm;
using namespace std::chrono_literals;
using Outcome = model::Parking::Outcome;

namespace {

struct FakeModel final : model::Model {
    bool wants(std::size_t) const override { return true; }
    void ready(std::size_t) override {}
    void exited(pid_t, model::End) override {}
    void parked(pid_t pid) override { waiting.push_back(pid); }
    void park_failed() override { ++failed; }
    void stale() override { ++outdated; }
    void resume() override { ++resumed; }
    std::vector<pid_t> waiting;
    int failed = 0, outdated = 0, resumed = 0;
};

/// In a process of its own: what a tracer and then a stub would tell.
struct Actor {
    int channel;
    void report(Obstacle obstacle) const {
        Report report{};
        report.word = Word::report;
        report.obstacle = obstacle;
        report.threads = 1;
        (void)!send(channel, &report, sizeof report, MSG_NOSIGNAL);
    }
    void answer(Word word, std::uint32_t serial = 0, int code = 0) const {
        const Answer answer{word, serial, code};
        (void)!send(channel, &answer, sizeof answer, MSG_NOSIGNAL);
    }
    /// 0: superd has closed.
    std::uint32_t command(Word& word, sys::Fd& descriptor) const {
        Command command{};
        char control[64];
        iovec part{&command, sizeof command};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        if (recvmsg(channel, &header, 0) <= 0) return 0;
        if (const cmsghdr* passed = CMSG_FIRSTHDR(&header))
            descriptor.reset(*reinterpret_cast<const int*>(CMSG_DATA(passed)));
        word = command.word;
        return command.serial;
    }
};

/// A template as it should be: copies wait, or answer their client by "c" and end.
void obey(const Actor& actor) {
    actor.report(Obstacle::none);
    actor.answer(Word::parked);
    for (;;) {
        Word word{};
        sys::Fd descriptor;
        const std::uint32_t serial = actor.command(word, descriptor);
        if (serial == 0) _exit(0);
        if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) != 0) continue;
        if (word == Word::copy) {
            Actor{descriptor.get()}.answer(Word::parked);
            char nothing;
            (void)!read(descriptor.get(), &nothing, 1);
            _exit(0);
        }
        actor.answer(Word::going, serial);
        (void)!write(descriptor.get(), "c", 1);
        _exit(0);
    }
}

struct World final : Warm::Host {
    explicit World(std::function<void(const Actor&)> role) : play(std::move(role)) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        engine.null = sys::Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
        engine.warmer = engine.null.duplicate();
        definition.name = "test";
        definition.prefork->warm = conf::Warm::clone;
        warm.emplace(engine, *this, definition);
    }
    ~World() override {
        warm->kill_all();
        for (const auto& one : ours) kill(one, SIGKILL);
        warm.reset();
        while (waitpid(-1, nullptr, 0) > 0) {
        }
    }
    Result<pid_t> start(core::ChildOwner& owner, sys::Fd channel) override {
        if (!startable) return fail_errno("start", EAGAIN);
        const pid_t pid = fork();
        if (pid == 0) {
            Order order;
            (void)!recv(channel.get(), &order, sizeof order, 0);
            play(Actor{channel.get()});
            for (;;) pause();
        }
        engine.children[pid] = &owner;
        return pid;
    }
    bool is_ready() const override { return ready; }
    bool waits(std::unique_ptr<proc::WarmProcess> process, pid_t of) override {
        ours.push_back(process->pid());
        copy_of = of;
        const pid_t pid = process->pid();
        kept.push_back(std::move(process));
        pool.parked(pid);
        return true;
    }
    void stale() override { pool.stale(); }
    void serves(pid_t pid, pid_t of, model::Client) override {
        serving.push_back(pid);
        copy_of = of;
    }
    void serve_cold(model::Client one) override { cold.push_back(std::move(one)); }
    model::Model& model() override { return pool; }
    void could_not_add(const Error&) override { ++scarce; }
    void left() override { ++lefts; }
    core::WarmCounts& counts() override { return numbers; }

    using Step = core::test::Step;
    void run(const std::vector<Step>& steps) {
        core::test::take_steps(loop, steps, [this] {
            if (reaps) core::test::reap_all(engine, [this] { warm->hear_all({}); });
        });
    }
    pid_t copied() const { return warm->report().pid; }
    bool has_template() const { return copied() != 0; }
    /// A client whose other end is `client`.
    bool serve() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        client = sys::Fd(ends[0]);
        model::Client one;
        one.connection = sys::GuardedFd(sys::Fd(ends[1]));
        return warm->serve(one);
    }

    std::function<void(const Actor&)> play;
    sys::Loop loop = *sys::Loop::create();
    std::vector<std::string> said;
    Log log{std::make_unique<Lines>(said), Level::notice};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    conf::Service definition;
    FakeModel pool;
    core::WarmCounts numbers;
    std::vector<std::unique_ptr<proc::WarmProcess>> kept;
    std::vector<pid_t> ours, serving;
    std::vector<model::Client> cold;
    pid_t copy_of = 0;
    int scarce = 0, lefts = 0;
    bool startable = true, ready = true, reaps = true;
    sys::Fd client;
    std::optional<Warm> warm;
};

}  // namespace

TEST_CASE("clone: a template is started by itself; copies of it wait for clients, or take them at once") {
    World world(obey);
    CHECK_FALSE(world.serve());
    world.warm->begin();
    pid_t first = 0;
    world.run({{[&] { return world.has_template(); },
                [&] {
                    CHECK(world.pool.resumed == 1);
                    first = world.copied();
                    CHECK(world.warm->park()->outcome == Outcome::coming);
                    CHECK(world.warm->park()->outcome == Outcome::coming);
                    CHECK(world.warm->coming() == 2);
                    CHECK_FALSE(world.warm->settled());
                }},
               {[&] { return world.pool.waiting.size() == 2; },
                [&] {
                    CHECK(world.copy_of == first);
                    CHECK(world.warm->settled());
                    REQUIRE(world.serve());
                    CHECK(world.engine.unanswered.contains(&*world.warm));
                }},
               {[&] { return !world.serving.empty(); }}});
    char answer = 0;
    CHECK(read(world.client.get(), &answer, 1) == 1);
    CHECK(world.engine.unanswered.empty());
    CHECK(world.numbers.copies == 3);
    CHECK(world.warm->report().served == 1);
    CHECK(world.cold.empty());
}

TEST_CASE("while an address is missing nobody is started, and that is no failure") {
    World world(obey);
    world.ready = false;
    world.warm->begin();
    CHECK(world.engine.children.empty());
    CHECK(world.scarce == 0);
    CHECK(std::string(world.warm->report().in_force) == "clone");
    world.ready = true;
    world.warm->begin();
    world.run({{[&] { return world.has_template(); }}});
}

TEST_CASE("a process that never tells anything is given up, even one that cannot be reaped") {
    World world([](const Actor&) {});
    world.definition.prefork->warm_within = 10ms;
    world.reaps = GENERATE(true, false);
    world.warm->begin();
    world.run({{[&] { return std::string(world.warm->report().in_force) == "off"; }}});
    CHECK(world.warm->report().reason == "it was not ready in time");
    CHECK(world.said == std::vector<std::string>{"clients are served as with prefork.warm = \"off\" instead of "
                                                 "\"clone\": it was not ready in time"});
    CHECK(world.warm->empty());
    CHECK(world.engine.children.empty());
}

TEST_CASE("clone: clients of a template that dies, and has not answered, are served by fork, and another follows") {
    World world([](const Actor& actor) {
        actor.report(Obstacle::none);
        actor.answer(Word::parked);
        Word word{};
        sys::Fd descriptor;
        (void)actor.command(word, descriptor);
        raise(SIGKILL);
    });
    world.warm->begin();
    pid_t first = 0;
    world.run({{[&] { return world.has_template(); },
                [&] {
                    first = world.copied();
                    REQUIRE(world.serve());
                }},
               {[&] { return world.cold.size() == 1; }, [&] { CHECK(world.cold[0].connection); }},
               {[&] { return world.has_template() && world.copied() != first; }}});
    CHECK(world.numbers.renewals[static_cast<int>(core::WarmRenewal::ended)] == 1);
    CHECK(world.pool.outdated == 1);
}

TEST_CASE("clone: a template that does not answer is killed, and its clients are served by fork") {
    World world([](const Actor& actor) {
        actor.report(Obstacle::none);
        actor.answer(Word::parked);
    });
    world.warm->begin();
    Instant asked;
    world.run({{[&] { return world.has_template(); },
                [&] {
                    asked = now();
                    REQUIRE(world.serve());
                }},
               {[&] { return now() > asked + Warm::kKeepsUp; }, [&] { CHECK_FALSE(world.serve()); }},
               {[&] { return world.cold.size() == 1; }}});
    CHECK(now() - asked >= Warm::kPatience);
    CHECK(world.said.back().find("does not answer and is killed") != std::string::npos);
}

TEST_CASE("clone: a client that a copy could not take is served by fork") {
    World world([](const Actor& actor) {
        actor.report(Obstacle::none);
        actor.answer(Word::parked);
        Word word{};
        sys::Fd descriptor;
        for (std::uint32_t serial; (serial = actor.command(word, descriptor)) != 0;)
            actor.answer(Word::failed, serial, EAGAIN);
        _exit(0);
    });
    world.warm->begin();
    pid_t first = 0;
    world.run({{[&] { return world.has_template(); },
                [&] {
                    first = world.copied();
                    REQUIRE(world.serve());
                    REQUIRE(world.warm->park());
                }},
               {[&] { return world.cold.size() == 1 && world.pool.failed == 1; }}});
    CHECK(world.copied() == first);  // which is not to blame
}

TEST_CASE("clone: who cannot be copied serves one client, and the next make their own start") {
    World world([](const Actor& actor) {
        actor.report(Obstacle::threads);
        actor.answer(Word::parked);
    });
    world.warm->begin();
    world.run({{[&] { return world.pool.waiting.size() == 1; },
                [&] {
                    CHECK(world.copy_of == 0);
                    CHECK(world.warm->report().in_force == std::string("start"));
                    CHECK(world.said.back().find("\"start\" instead of \"clone\": it has threads") !=
                          std::string::npos);
                    REQUIRE(world.warm->park());
                }},
               {[&] { return world.pool.waiting.size() == 2; }}});
    CHECK(world.said.size() == 1);
    CHECK_FALSE(world.serve());
}

TEST_CASE("clone: who cannot be parked is served without, which is told once, and tried again later") {
    World world([](const Actor& actor) {
        actor.report(Obstacle::forked);
        _exit(0);
    });
    world.warm->begin();
    world.run({{[&] { return world.warm->report().in_force == std::string("off"); }}});
    CHECK_FALSE(world.warm->park());
    CHECK(world.pool.resumed >= 1);
    CHECK(world.said.size() == 1);
    CHECK(world.numbers.fallbacks[static_cast<std::size_t>(core::because_of(Obstacle::forked))] == 1);
    world.warm->begin();
    CHECK(world.warm->processes() == 0);
}

TEST_CASE("warm handlers that cannot be started are tried again, and clients are served by fork meanwhile") {
    World world(obey);
    world.startable = false;
    world.warm->begin();
    CHECK(world.scarce == 1);
    CHECK(world.warm->park()->outcome == Outcome::later);
    CHECK_FALSE(world.serve());
    world.startable = true;
    world.run({{[&] { return world.has_template(); }}});
}

TEST_CASE("a drained definition lets its template go once that has answered") {
    World world(obey);
    world.warm->begin();
    world.run({{[&] { return world.has_template(); },
                [&] {
                    REQUIRE(world.serve());
                    world.warm->drain();
                    CHECK_FALSE(world.warm->empty());
                }},
               {[&] { return world.warm->empty(); }}});
    CHECK(world.serving.size() + world.cold.size() == 1);
    CHECK(world.lefts >= 1);
}

TEST_CASE("a copy that crashes has its template replaced, one of an earlier template does not") {
    World world(obey);
    world.warm->begin();
    pid_t first = 0;
    world.run({{[&] { return world.has_template(); },
                [&] {
                    first = world.copied();
                    world.warm->crashed(first);
                }},
               {[&] { return world.has_template(); },
                [&] {
                    const pid_t second = world.copied();
                    CHECK(second != first);
                    world.warm->crashed(first);
                    CHECK(world.copied() == second);
                }}});
}

}  // namespace superd::core::warm_tests
