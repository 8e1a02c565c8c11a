// SPDX-License-Identifier: MIT
#include "proc/spawner.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "catch.h"
#include "proc/parking.h"
#include "sys/passed_rights.h"
#include "sys/process.h"
#include "unit/sys/poison.h"

namespace superd::proc::spawner_tests {

namespace {

conf::Handler handler(std::vector<std::string> words) {
    conf::Handler h;
    h.path = words.front();
    h.argv = std::move(words);
    h.environment = {"PATH=/usr/bin:/bin"};
    return h;
}

/// Until it goes, this process has a table of descriptors that is too large to be copied for each child.
struct LargeTable {
    LargeTable() : high(fcntl(0, F_DUPFD_CLOEXEC, 700)) {}
    sys::Fd high;
};

struct World {
    World() {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        spawner = *proc::Spawner::create(loop, [](pid_t) {});
    }
    /// What the child wrote to stdout until it exited, and how it exited.
    std::string run(const conf::Handler& what, proc::Environment environment = {}, bool listen_pid = false,
                    const conf::Sandbox& sandbox = {}) {
        const rlimit nofile{256, 1024};
        const proc::ExecPlan plan(what, sandbox, nofile);
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        sys::Fd ours(ends[0]);
        proc::Launch launch;
        launch.plan = &plan;
        launch.descriptors.emplace_back(ends[1]);
        launch.number = {0, 0, 0};
        launch.environment = std::move(environment);
        launch.listen_pid = listen_pid;
        pid = *spawner->spawn(launch);
        REQUIRE(waitpid(pid, &status, 0) == pid);
        failure = spawner->reaped(pid);
        given_back = failure && failure->connection;
        if (failure) failure->connection.reset();
        std::string text(4096, '\0');
        std::string all;
        for (ssize_t n; (n = read(ours.get(), text.data(), text.size())) > 0;) all.append(text, 0, std::size_t(n));
        return all;
    }
    sys::Loop loop = *sys::Loop::create();
    std::unique_ptr<proc::Spawner> spawner;
    std::optional<proc::SpawnFailure> failure;
    bool given_back = false;
    pid_t pid = 0;
    int status = 0;
};

}  // namespace

TEST_CASE("a child runs with the words, variables and descriptors it was given, and nothing else") {
    World world;
    proc::Environment extra;
    extra.set("CLIENT", "10.0.0.1");
    CHECK(world.run(handler({"/bin/sh", "-c", "echo $CLIENT $PATH; ls /proc/self/fd"}), extra) ==
          "10.0.0.1 /usr/bin:/bin\n0\n1\n2\n3\n");  // 3 belongs to ls itself
    CHECK_FALSE(world.failure);
    CHECK(world.status == 0);
}

TEST_CASE("the descriptor limit that superd was started with comes back") {
    World world;
    CHECK(world.run(handler({"/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"})) == "256\n1024\n");
}

TEST_CASE("LISTEN_PID is the child's own") {
    World world;
    CHECK(world.run(handler({"/bin/sh", "-c", "test $LISTEN_PID = $$ && echo same"}), {}, true) == "same\n");
}

TEST_CASE("a child leads its own session with an empty mask and default dispositions") {
    // What whoever started the tests ignores, a child would inherit; superd's main sees to it.
    for (int number = 1; number < NSIG; ++number)
        if (struct sigaction now {}; sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN)
            signal(number, SIG_DFL);
    World world;
    const auto text = world.run(
        handler({"/bin/sh", "-c", "cut -d' ' -f5,6 /proc/$$/stat; echo $$; grep -E 'Sig(Blk|Ign)' /proc/self/status"}));
    const auto own = std::to_string(world.pid);
    CHECK(text == own + " " + own + "\n" + own + "\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_CASE("umask, nice and working directory are set") {
    World world;
    auto h = handler({"/bin/sh", "-c", "umask; nice; pwd"});
    h.umask = 027;
    h.nice = 5;
    h.working_directory = "/tmp";
    CHECK(world.run(h) == "0027\n5\n/tmp\n");
}

TEST_CASE("the reason that keeps a child from its exec is reported with its step") {
    World world;
    world.run(handler({"/nonexistent/program"}));
    REQUIRE(world.failure);
    CHECK(world.failure->step == proc::Step::exec);
    CHECK(world.failure->code == ENOENT);
    CHECK(world.given_back);

    auto h = handler({"/bin/true"});
    h.working_directory = "/nonexistent";
    world.run(h);
    REQUIRE(world.failure);
    CHECK(world.failure->step == proc::Step::working_directory);
    CHECK(world.spawner->in_flight() == 0);
}

TEST_CASE("credentials are dropped completely", "[root]") {
    if (geteuid() != 0) return;
    World world;
    auto h = handler({"/bin/sh", "-c", "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm|CapAmb)' /proc/self/status"});
    h.identity = sys::Identity{65534, 65533, {65533, 65532}, "nobody"};
    CHECK(world.run(h) ==
          "Uid:\t65534\t65534\t65534\t65534\nGid:\t65533\t65533\t65533\t65533\nGroups:\t65532 65533 \n"
          "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n");
}

TEST_CASE("superd's copy of a connection is closed when spawn returns, if its table is small") {
    World world;
    const proc::ExecPlan plan(handler({"/bin/sleep", "60"}), conf::Sandbox{}, rlimit{256, 1024});
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const sys::Fd ours(ends[0]);
    proc::Launch launch;
    launch.plan = &plan;
    launch.descriptors.emplace_back(ends[1]);
    launch.number = {0, 0, 0};
    const pid_t pid = *world.spawner->spawn(launch);
    CHECK(fcntl(ends[1], F_GETFD) == -1);
    char nothing;
    CHECK(recv(ours.get(), &nothing, 1, MSG_DONTWAIT) == -1);  // but the child has it
    kill(pid, SIGKILL);
    REQUIRE(waitpid(pid, nullptr, 0) == pid);
    world.spawner->reaped(pid);
    CHECK(recv(ours.get(), &nothing, 1, 0) == 0);
}

TEST_CASE("a child of a process with many descriptors has only its own, and gives its connection back") {
    const LargeTable table;
    CHECK(sys::descriptor_table_size() > std::size_t(700));
    World world;
    CHECK(world.run(handler({"/bin/sh", "-c", "ls /proc/self/fd"})) == "0\n1\n2\n3\n");
    world.run(handler({"/nonexistent/program"}));
    REQUIRE(world.failure);
    CHECK(world.given_back);
    CHECK(world.spawner->in_flight() == 0);
}

TEST_CASE("a parked process that does not reach its program gives back the client that waits for it") {
    std::optional<LargeTable> table;
    if (GENERATE(false, true)) table.emplace();
    World world;
    const sys::Fd program(open("/etc/passwd", O_PATH | O_CLOEXEC));  // cannot be executed
    proc::ExecPlan plan(handler({"/bin/true"}), conf::Sandbox{}, rlimit{256, 1024});
    plan.start_by(program.get(), "superd-exec", proc::Start::parked);
    auto pair = proc::make_pair();
    REQUIRE(pair);
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    sys::Fd client(ends[0]), connection(ends[1]);
    proc::Launch launch;
    launch.plan = &plan;
    launch.waits_for_client = true;
    launch.descriptors.push_back(std::move(pair->theirs));
    launch.descriptors.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
    launch.number = {0, 1};
    const pid_t pid = *world.spawner->spawn(launch);
    REQUIRE(proc::send_client(pair->ours.get(), connection.get(), {}, false));
    connection.reset();
    REQUIRE(waitpid(pid, nullptr, 0) == pid);
    auto failure = world.spawner->reaped(pid);
    REQUIRE(failure);
    CHECK(failure->step == proc::Step::exec);
    REQUIRE(failure->connection);
    REQUIRE(write(failure->connection.get(), "here", 4) == 4);
    char word[4];
    REQUIRE(read(client.get(), word, 4) == 4);
    CHECK(std::string_view(word, 4) == "here");
    CHECK(world.spawner->in_flight() == 0);
}

TEST_CASE("a child does not wait for connections that were passed to its parent, if it is the last to close them") {
    std::optional<LargeTable> table;
    if (GENERATE(false, true)) table.emplace();
    World world;
    // On one processor the child runs after its parent has closed them.
    cpu_set_t every, one;
    REQUIRE(sched_getaffinity(0, sizeof every, &every) == 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    const proc::ExecPlan plan(handler({"/bin/true"}), conf::Sandbox{}, rlimit{256, 1024});
    for (int i = 0; i < 10; ++i) {
        Poison poison;
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
        sys::Fd theirs(ends[0]), ours(ends[1]);
        REQUIRE(poison.pass(theirs.get()) == 0);
        proc::Launch launch;
        launch.plan = &plan;
        launch.descriptors.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
        launch.number = {0, 0, 0};
        const Instant begun = now();
        const pid_t pid = *world.spawner->spawn(launch);
        {
            const sys::Dropping dropping;
            theirs.reset();
            ours.reset();
        }
        REQUIRE(waitpid(pid, nullptr, 0) == pid);
        CHECK_FALSE(world.spawner->reaped(pid));
        REQUIRE(now() - begun < std::chrono::seconds(kLinger / 2));
    }
    sched_setaffinity(0, sizeof every, &every);
}

TEST_CASE("none and base leave a handler what it needs, base without what only root's own programs use", "[root]") {
    if (geteuid() != 0) return;
    World world;
    auto h = handler({"/bin/sh", "-c", "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status"});
    h.identity = sys::Identity{65534, 65534, {}, "nobody"};
    const auto own = world.run(h, {}, false, conf::sandbox_of(conf::Preset::none));
    CHECK(own.ends_with("NoNewPrivs:\t0\nSeccomp:\t0\n"));
    const auto bounded = std::stoull(own.substr(own.find('\t') + 1), nullptr, 16);
    const auto base = world.run(h, {}, false, conf::sandbox_of(conf::Preset::base));
    const auto left = std::stoull(base.substr(base.find('\t') + 1), nullptr, 16);
    CHECK(left == (bounded & conf::bounding_set({}, false)));
    CHECK(left != bounded);
    CHECK(base.ends_with("NoNewPrivs:\t0\nSeccomp:\t0\n"));
    h.identity.reset();
    CHECK(world.run(h, {}, false, conf::sandbox_of(conf::Preset::base)) == own);
}

TEST_CASE("no_new_privileges and an empty bounding set hold for a handler", "[root]") {
    if (geteuid() != 0) return;
    World world;
    conf::Sandbox sandbox;
    sandbox.no_new_privileges = true;
    sandbox.capabilities = 0;
    const auto h = handler({"/bin/sh", "-c", "grep -E '^(CapPrm|CapBnd|NoNewPrivs):' /proc/self/status"});
    CHECK(world.run(h, {}, false, sandbox) == "CapPrm:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n");
}

TEST_CASE("a handler's user has its ambient capabilities and no others", "[root]") {
    if (geteuid() != 0) return;
    World world;
    conf::Sandbox sandbox;
    sandbox.ambient_capabilities = 1 << 10;  // NET_BIND_SERVICE
    auto h = handler({"/bin/sh", "-c", "grep -E '^Cap(Inh|Prm|Eff|Amb):' /proc/self/status"});
    h.identity = sys::Identity{65534, 65534, {}, "nobody"};
    CHECK(world.run(h, {}, false, sandbox) ==
          "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"
          "CapAmb:\t0000000000000400\n");
}

TEST_CASE("a step of the sandbox that fails names itself, and the client comes back", "[root]") {
    if (geteuid() != 0) return;
    World world;
    conf::Sandbox sandbox;
    sandbox.ambient_capabilities = std::uint64_t{1} << 62;  // no kernel knows it
    world.run(handler({"/bin/true"}), {}, false, sandbox);
    REQUIRE(world.failure);
    CHECK(std::string(proc::name_of(world.failure->step)) == "sandbox.ambient_capabilities");
    CHECK(world.given_back);
}

TEST_CASE("a thousand children leave no descriptor or slot behind") {
    World world;
    const int before = dup(0);
    close(before);
    for (int i = 0; i < 1000; ++i) world.run(handler({"/bin/true"}));
    const int after = dup(0);
    close(after);
    CHECK(after == before);
    CHECK(world.spawner->in_flight() == 0);
}

}  // namespace superd::proc::spawner_tests
