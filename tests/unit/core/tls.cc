// SPDX-License-Identifier: MIT
// A definition's superd-tls that is taken over from another superd: this test is the process behind its channel.
#include "core/tls.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "catch.h"
#include "sys/descriptors.h"
#include "unit/core/steps.h"
#include "unit/intake/world.h"
#include "unit/lines.h"

namespace superd::core::tls_tests {

using namespace std::chrono_literals;
using admit::Refusal;

namespace {

struct Taken final : Tls::Host {
    Taken() {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        engine.null = sys::Fd(open("/dev/null", O_RDWR | O_CLOEXEC));
        definition.name = "test";
        definition.tls->on = true;
        definition.stop_timeout = 50ms;
        tls.emplace(engine, *this, definition);
    }
    ~Taken() override {
        if (process > 0) kill(process, SIGKILL);
        tls.reset();
        while (waitpid(-1, nullptr, 0) > 0) {
        }
    }
    intake::Intake& intake() override { return world.intake; }
    std::size_t end_cut_off(const std::string&) override { return 0; }
    void changed() override {}
    void left() override { ++lefts; }
    std::size_t running() const override { return 1; }
    void scarce(const Error&) override {}

    /// A child that stays whatever happens to its channel.
    void take_over(std::uint64_t version) {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        theirs = sys::Fd(ends[1]);
        process = fork();
        if (process == 0) {
            close(ends[0]);
            for (;;) pause();
        }
        core::TlsState state;
        state.id = 7;
        state.pid = process;
        state.given = {1, 2};
        state.waiting = {3};
        state.version = version;
        sys::Descriptors kept;
        state.channel = kept.keep(ends[0]);
        sys::Descriptors taken(kept.entries());
        REQUIRE(tls->go_on(state, taken));
    }
    bool is_closed() const {
        char byte;
        return recv(theirs.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
    }
    Refusal overdue(intake::Ticket ticket) const {
        intake::Entrant entrant;
        entrant.ticket = ticket;
        return tls->overdue(entrant);
    }
    void run(const std::vector<core::test::Step>& steps) {
        core::test::take_steps(loop, steps, [this] { core::test::reap_all(engine); });
    }

    sys::Loop loop = *sys::Loop::create();
    std::vector<std::string> said;
    Log log{std::make_unique<Lines>(said), Level::info};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    conf::Service definition;
    intake::World world;
    sys::Fd theirs;
    pid_t process = 0;
    int lefts = 0;
    std::optional<Tls> tls;
};

}  // namespace

TEST_CASE("one that speaks the same version goes on; only who has been given to it can be late") {
    Taken taken;
    taken.take_over(proc::kTlsVersion);
    CHECK(taken.tls->is_ready());
    CHECK_FALSE(taken.is_closed());
    CHECK(taken.overdue(1) == Refusal::handshake_timeout);
    CHECK(taken.overdue(3) == Refusal::tls);
}

TEST_CASE("one that speaks another version gets no more clients, is left to those that it has, and stays a child") {
    Taken taken;
    taken.take_over(proc::kTlsVersion + 1);
    CHECK_FALSE(taken.tls->is_ready());
    CHECK_FALSE(taken.tls->empty());
    taken.run({{[&] { return taken.lefts == 1 && taken.is_closed(); },
                [&] {
                    CHECK(kill(taken.process, 0) == 0);
                    kill(taken.process, SIGKILL);
                }},
               {[&] { return taken.tls->empty(); }}});
    CHECK(taken.overdue(1) == Refusal::tls);
}

TEST_CASE("one that has not left stop_timeout after superd's stop is killed, which is told") {
    Taken taken;
    taken.take_over(proc::kTlsVersion);
    taken.tls->stop();
    taken.run({{[&] { return taken.tls->empty(); }}});
    const auto killed = std::ranges::find_if(
        taken.said, [](const std::string& line) { return line.contains("has not left in 50ms and is killed"); });
    CHECK(killed != taken.said.end());
}

}  // namespace superd::core::tls_tests
