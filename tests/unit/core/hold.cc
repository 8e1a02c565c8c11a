// SPDX-License-Identifier: MIT
// The process that keeps a sandbox: it becomes ready, fails, hangs, dies, and passes over an upgrade.
#include "core/hold.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "catch.h"
#include "proc/hold_message.h"
#include "unit/core/steps.h"
#include "unit/lines.h"

namespace superd::core::hold_tests {

using namespace std::chrono_literals;

namespace {

void tell(proc::HoldMessage::Word word, int code = 0, const char* what = "") {
    proc::HoldMessage message{};
    message.word = word;
    message.code = code;
    std::strncpy(message.what, what, sizeof message.what - 1);
    (void)!send(proc::kHoldChannel, &message, sizeof message, MSG_NOSIGNAL);
}

/// This program is superd-hold as well: what it does is the name of its service.
__attribute__((constructor)) void play(int argc, char** argv, char**) {
    using Word = proc::HoldMessage::Word;
    if (argc < 2 || std::strcmp(argv[0], "superd-hold") != 0) return;
    const std::string_view role = argv[1];
    if (role == "fails") tell(Word::failed, EPERM, "mount /x");
    if (role == "ends") _exit(3);
    if (role == "raves") (void)!send(proc::kHoldChannel, "?", 1, MSG_NOSIGNAL);
    if (role == "good" || role == "dies") tell(Word::ready);
    if (role == "dies") _exit(4);
    char nothing;
    (void)!read(proc::kHoldChannel, &nothing, 1);
    _exit(0);
}

struct World {
    explicit World(const char* role) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        engine.null = sys::Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
        engine.holder = sys::Fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
        definition.name = role;
        make();
    }
    ~World() {
        hold.reset();
        for (const pid_t pid : pids) kill(pid, SIGKILL);
        while (waitpid(-1, nullptr, 0) > 0) {
        }
    }
    void make() {
        hold.reset();
        hold.emplace(engine, definition, [this] { ++changes; });
    }
    using Step = core::test::Step;
    void run(const std::vector<Step>& steps) {
        core::test::take_steps(loop, steps, [this] {
            for (const auto& [pid, owner] : engine.children) pids.insert(pid);
            if (reaps) core::test::reap_all(engine);
        });
    }

    sys::Loop loop = *sys::Loop::create();
    std::vector<std::string> said;
    Log log{std::make_unique<Lines>(said), Level::info};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    conf::Service definition;
    std::set<pid_t> pids;  ///< all that there have been
    int changes = 0;
    bool reaps = true;
    std::optional<Hold> hold;
};

}  // namespace

TEST_CASE("it is started once, tells when it is ready, and goes with its generation") {
    World world("good");
    CHECK_FALSE(world.hold->is_ready());
    world.hold->begin();
    world.hold->begin();
    CHECK(world.hold->is_coming());
    CHECK(world.engine.unsettled == 1);
    world.run({{[&] { return world.hold->is_ready(); }}});
    CHECK(world.engine.unsettled == 0);
    CHECK(world.changes == 1);
    CHECK(world.hold->trouble().empty());
    world.hold->begin();
    CHECK(world.pids == std::set<pid_t>{world.hold->pid()});
    const pid_t pid = world.hold->pid();
    world.hold.reset();  // it hears that its channel closes
    int status = -1;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
}

TEST_CASE("what it cannot make is told once, with its words, and tried again after pauses that grow") {
    World world("fails");
    world.hold->begin();
    world.run({{[&] { return world.pids.size() == 3; }}});
    CHECK(world.hold->trouble() == "its sandbox cannot be made: mount /x: Operation not permitted");
    CHECK(world.said == std::vector<std::string>{world.hold->trouble() + "; clients wait"});
    CHECK(world.changes > 0);
    CHECK_FALSE(world.hold->is_ready());
    CHECK(world.hold->process() < 0);
}

TEST_CASE("one that ends without a word, or says what it should not, is tried again as well") {
    for (const auto& [role, why] : {std::pair("ends", "superd-hold ended"), {"raves", "before it was ready"}}) {
        World world(role);
        world.hold->begin();
        world.run({{[&] { return world.pids.size() == 2; }}});
        REQUIRE_FALSE(world.said.empty());
        CHECK(world.said.front().contains(why));
    }
}

TEST_CASE("where it is not installed, clients wait, and the reason is there") {
    World world("good");
    world.engine.holder.reset();
    world.hold->begin();
    CHECK(world.hold->trouble() == "its sandbox cannot be made: superd-hold is not installed");
    CHECK(world.pids.empty());
}

TEST_CASE("one that dies is told of and made again") {
    World world("dies");
    world.hold->begin();
    world.run({{[&] { return world.pids.size() == 3; }}});
    CHECK(world.said.front().contains("exit status 4"));
    CHECK(world.hold->trouble().starts_with("its sandbox "));
}

TEST_CASE("beside one that hangs and cannot die no other is started, nor after an upgrade; once it has gone, one is") {
    World world("fails");
    world.reaps = false;  // as far as superd knows, it is still there
    world.hold->begin();
    Instant since{};
    world.run({{[&] { return !world.said.empty(); }, [&] { since = now(); }},
               {[&] {
                    world.hold->begin();
                    return now() - since > 1500ms;  // several pauses
                },
                [&] {
                    CHECK(world.pids.size() == 1);
                    CHECK_FALSE(world.hold->is_ready());
                    sys::Descriptors none;
                    const core::HoldState state = world.hold->write_down(none);
                    CHECK(state.pid == 0);
                    CHECK(state.dying == std::vector<pid_t>(world.pids.begin(), world.pids.end()));
                    world.definition.name = "good";
                    world.make();
                    REQUIRE(world.hold->go_on(state, none));
                    world.hold->begin();
                    CHECK_FALSE(world.hold->is_coming());
                    CHECK(world.engine.children.size() == 1);
                    world.reaps = true;
                }},
               {[&] { return world.hold->is_ready(); }}});
    CHECK(world.pids.size() == 2);
}

TEST_CASE("an upgrade keeps it, and hears of its end") {
    World world("good");
    world.hold->begin();
    pid_t pid = 0;
    world.run({{[&] { return world.hold->is_ready(); },
                [&] {
                    pid = world.hold->pid();
                    sys::Descriptors before, kept;
                    core::HoldState state = world.hold->write_down(before);
                    CHECK(state.pid == pid);
                    CHECK(state.dying.empty());
                    state.channel = kept.keep(fcntl(state.channel, F_DUPFD_CLOEXEC, 3));
                    world.make();
                    sys::Descriptors after(kept.entries());
                    REQUIRE(world.hold->go_on(state, after));
                    CHECK(after.sound());
                    CHECK(world.hold->is_ready());
                    CHECK(world.hold->pid() == pid);
                    CHECK(world.engine.children.at(pid) == &*world.hold);
                    kill(pid, SIGKILL);
                }},
               {[&] { return world.hold->is_ready() && world.hold->pid() != pid; }}});
    CHECK(world.said.front().contains("ended: killed by SIGKILL; it is made again"));
}

TEST_CASE("a state that names a process of another's is refused") {
    World world("good");
    world.engine.children[4242] = nullptr;
    sys::Descriptors none;
    CHECK_FALSE(world.hold->go_on({4242, -1, {}}, none));
    world.engine.children.clear();
}

}  // namespace superd::core::hold_tests
