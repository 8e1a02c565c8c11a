// SPDX-License-Identifier: MIT
#include "core/generation.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "catch.h"

namespace superd::core::generation_tests {

using namespace std::chrono_literals;

namespace {

using Told = std::vector<std::string>;

struct EndsLoop final : LogSink {
    EndsLoop(Told& out, sys::Loop& of) : said(out), loop(of) {}
    void write(Level, std::string_view message, std::span<const Field>) override {
        said.emplace_back(message);
        loop.exit(0);
    }
    Told& said;
    sys::Loop& loop;
};

/// A service that notes what it is told. Time stands until it is moved.
struct FakeService final : core::GenerationHost {
    explicit FakeService(core::Engine& of) : engine(of) {}

    Instant now() const override { return time; }
    net::Listener* socket(std::size_t) override { return listener ? &*listener : nullptr; }
    void note_given(std::size_t) override { told.push_back("socket given"); }
    admit::Admission& admission() override { return places; }
    intake::Intake& intake() override { std::abort(); }  // none of these has a [tls]
    core::Stats& stats() override { return counts; }
    core::WarmCounts& warm_counts() override { return warm; }
    core::Replies& replies() override { return answers; }
    Result<sys::Fd> error_writer() override { return engine.null.duplicate(); }
    std::optional<model::Client> take(std::size_t) override { return std::exchange(next, std::nullopt); }
    void stall(model::Client client) override { stalled.push_back(std::move(client)); }
    void refuse(model::Client client) override { refused.push_back(std::move(client)); }
    void offended(const sys::Address&, const admit::SourceKey&, admit::Offence what) override {
        offences.push_back(what);
    }
    void reconcile() override {}
    bool is_shut() const override { return shut; }
    bool has_room_for(const Generation&) override { return places.has_room(); }
    bool others_running(const Generation&) const override { return false; }
    void back_off(const Error&) override { told.push_back("back off"); }
    void could_not_add(const Error&) override { told.push_back("could not add"); }
    void started() override { told.push_back("started"); }
    void started_well() override {
        if (short_of_memory) throw std::bad_alloc();
        told.push_back("started well");
    }
    void started_badly(const std::optional<admit::SourceKey>& client) override {
        if (short_of_memory) throw std::bad_alloc();
        told.push_back(client ? "failed its client" : "failed to start");
    }
    void could_not_start(Instant, std::string) override { told.push_back("could not start"); }
    void has_started(Instant) override { told.push_back("reached its program"); }
    void socket_came_back(const Generation&) override { told.push_back("socket came back"); }
    void child_left(const Generation&) override { told.push_back("left"); }
    void lingered(Generation&) override { told.push_back("lingered"); }
    void sandbox_changed(const Generation&) override { told.push_back("sandbox"); }

    core::Engine& engine;
    Instant time{1000s};
    admit::Admission places;
    core::Stats counts;
    core::WarmCounts warm;
    const std::string name = "test";
    core::Replies answers{engine, name, counts};
    std::optional<net::Listener> listener;
    std::optional<model::Client> next;
    std::vector<model::Client> stalled, refused;
    std::vector<admit::Offence> offences;
    Told told;
    bool shut = false, short_of_memory = false;
};

struct World {
    World() {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        engine.null = sys::Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
    }

    static conf::Service define(std::vector<std::string> words) {
        conf::Service out;
        out.name = "test";
        out.handler.path = words.front();
        out.handler.argv = std::move(words);
        out.handler.environment = {"PATH=/usr/bin:/bin"};
        return out;
    }
    static conf::Service define_pool(const std::string& script) {
        conf::Service out = define({"/bin/sh", "-c", script});
        out.model = conf::Model::prefork;
        out.handoff = conf::Handoff::listen;
        out.limits->instances = 1;
        return out;
    }
    void listen() {
        conf::Listen where;
        where.transport = conf::Transport::tcp;
        where.host = "127.0.0.1";
        service.listener.emplace(*net::Listener::open(where, {}));
    }
    Generation& begin(conf::Service what) {
        definition = std::move(what);
        service.places.configure(definition.limits, service.time);
        return generation.emplace(engine, service, definition, 1U);
    }
    model::Client client() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        ours = sys::Fd(ends[0]);
        model::Client client;
        client.connection = sys::GuardedFd(sys::Fd(ends[1]));
        client.charge = service.places.charge({}, service.time);
        return client;
    }
    pid_t serve() {
        const auto pid = generation->serve(client());
        REQUIRE(pid);
        return *pid;
    }
    /// Waits for a handler's first word to its client.
    void hear() const {
        char word = 0;
        REQUIRE(read(ours.get(), &word, 1) == 1);
    }
    /// As the supervisor does it, so long after the start.
    void reap(pid_t pid, Duration lived) {
        int status = 0;
        rusage used{};
        REQUIRE(wait4(pid, &status, 0, &used) == pid);
        service.time += lived;
        core::ChildOwner* const owner = engine.children.at(pid);
        engine.children.erase(pid);
        owner->exited(pid, status, used);
        owner->after_exit();
    }

    sys::Loop loop = *sys::Loop::create();
    Told said;
    Log log{std::make_unique<EndsLoop>(said, loop), Level::notice};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    FakeService service{engine};
    conf::Service definition;
    std::optional<Generation> generation;
    sys::Fd ours;
};

}  // namespace

TEST_CASE("a handler is known from its start to its end, and its place is free again") {
    World world;
    Generation& generation = world.begin(World::define({"/bin/cat"}));
    const pid_t pid = world.serve();
    CHECK(generation.running() == 1);
    CHECK(world.service.places.in_use() == 1);
    CHECK(world.engine.children.at(pid) == &generation);
    world.ours.reset();
    world.reap(pid, 5s);
    CHECK(generation.empty());
    CHECK(world.service.places.in_use() == 0);
    CHECK(world.service.told == Told{"started", "reached its program", "started well", "left"});
    CHECK(world.service.counts.exits.ok == 1);
    CHECK(world.said.empty());
}

TEST_CASE("the log says that a handler has failed, and the service that it started badly if it failed at once") {
    World world;
    world.begin(World::define({"/bin/sh", "-c", "exit 3"}));
    const pid_t first = world.serve();
    world.reap(first, 99ms);
    CHECK(world.service.told == Told{"started", "reached its program", "failed its client", "left"});
    const pid_t second = world.serve();
    world.service.told.clear();
    world.reap(second, 100ms);
    CHECK(world.service.told == Told{"reached its program", "started well", "left"});
    CHECK(world.service.counts.failures == 2);
    CHECK(world.said == Told{"handler " + std::to_string(first) + " ended after 99ms: exit status 3",
                             "handler " + std::to_string(second) + " ended after 100ms: exit status 3"});
}

TEST_CASE("a client whose handler is not there is refused, and its place goes with it") {
    World world;
    world.begin(World::define({"/nowhere/handler"}));
    world.reap(world.serve(), 0ms);
    REQUIRE(world.service.refused.size() == 1);
    CHECK(world.service.refused.front().connection);
    CHECK(world.service.places.in_use() == 1);
    world.service.refused.clear();
    CHECK(world.service.places.in_use() == 0);
    CHECK(world.service.counts.spawn_failures == 1);
    CHECK(world.service.told == Told{"started", "could not start", "failed to start", "left"});
    CHECK(world.said == Told{"cannot start /nowhere/handler: exec: No such file or directory"});
}

TEST_CASE("a handler that is stopped, or that an operator signals, is no failure") {
    World world;
    Generation& generation = world.begin(World::define({"/bin/sh", "-c", "echo; exec sleep 1000"}));
    const pid_t first = world.serve();
    world.hear();
    CHECK(generation.end_child(first, SIGUSR1));
    world.reap(first, 5s);
    const pid_t second = world.serve();
    world.hear();
    generation.stop();
    CHECK(generation.drained());
    world.reap(second, 5s);
    CHECK(world.service.counts.exits.stopped == 2);
    CHECK(world.service.counts.failures == 0);
    CHECK(world.said.empty());
    CHECK_FALSE(generation.end_child(first, SIGUSR1));
}

TEST_CASE("a handler that does not leave in time is killed, and the log says so") {
    World world;
    conf::Service stubborn = World::define({"/bin/sh", "-c", "trap '' TERM; echo; while :; do sleep 1000; done"});
    stubborn.stop_timeout = 1ms;
    Generation& generation = world.begin(stubborn);
    const pid_t pid = world.serve();
    world.hear();  // it ignores TERM by now
    world.service.time = now();
    generation.stop();
    REQUIRE(world.loop.run());  // until something is said
    CHECK(world.said == Told{"handler " + std::to_string(pid) + " did not leave in time and is killed"});
    world.reap(pid, 5s);
    CHECK(world.service.counts.exits.stopped == 1);
}

TEST_CASE("what a worker said before it ended counts, and its socket is looked at") {
    World world;
    world.listen();
    Generation& generation = world.begin(World::define_pool("printf 'idle\nbusy\nbusy\n' >&$SUPERD_STATUS_FD"));
    const auto pid = generation.start_worker(0);
    REQUIRE(pid);
    CHECK_FALSE(generation.start_worker(0));  // there is no place for it
    CHECK(generation.holders() == std::vector<pid_t>{*pid});
    generation.drain();
    world.reap(*pid, 5s);
    CHECK(world.service.counts.accepted == 2);
    CHECK(world.service.told == Told{"socket given", "started", "reached its program", "socket came back", "left"});
}

TEST_CASE("a worker that ends gives its place and its socket back before the model replaces it") {
    World world;
    world.listen();
    Generation& generation = world.begin(World::define_pool("exec sleep 1000"));
    generation.model().resume();
    REQUIRE(generation.holders().size() == 1);
    const pid_t first = generation.holders().front();
    kill(first, SIGKILL);
    world.service.told.clear();
    world.reap(first, 5s);
    REQUIRE(generation.holders().size() == 1);  // instances allows one
    CHECK(world.service.told == Told{"reached its program", "socket came back", "socket given", "started", "left"});
    const pid_t second = generation.holders().front();
    CHECK(second != first);
    generation.drain();
    kill(second, SIGKILL);
    world.reap(second, 5s);
}

TEST_CASE("the model hears of an end even if there is no memory to tell anybody else") {
    World world;
    conf::Service one = World::define({"/bin/true"});
    one.model = conf::Model::iterative;
    Generation& generation = world.begin(one);
    world.service.next = world.client();
    generation.model().ready(0);
    REQUIRE(world.engine.children.size() == 1);
    CHECK_FALSE(generation.model().wants(0));
    world.service.short_of_memory = true;
    CHECK_THROWS_AS(world.reap(world.engine.children.begin()->first, 5s), std::bad_alloc);
    CHECK(generation.model().wants(0));
    CHECK(world.service.places.in_use() == 0);
}

TEST_CASE("a worker is not started without its socket, nor while an access filter is missing") {
    World world;
    Generation& generation = world.begin(World::define_pool("exec sleep 1000"));
    CHECK_FALSE(generation.start_worker(0));
    world.listen();
    world.service.shut = true;
    CHECK_FALSE(generation.start_worker(0));
    CHECK(generation.empty());
    CHECK(world.service.told.empty());
    CHECK(world.service.places.in_use() == 0);
}

TEST_CASE("a generation that ends is not told of its children, and their places are free") {
    World world;
    world.begin(World::define({"/bin/sleep", "1000"}));
    const pid_t pid = world.serve();
    world.generation.reset();
    CHECK(world.engine.children.empty());
    CHECK(world.service.places.in_use() == 0);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, nullptr, 0) == pid);
    world.spawner->reaped(pid);
}

}  // namespace superd::core::generation_tests
