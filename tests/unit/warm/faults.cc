// SPDX-License-Identifier: MIT
// What others do to a warm process, and what it lacks.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstring>

#include "unit/warm/world.h"

namespace superd::tests::faults {

using Event = proc::WarmProcess::Event;
using proc::warm::Obstacle;

namespace {

std::string status_line(pid_t pid, const std::string& name) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with(name + ":")) return line.substr(name.size() + 2);
    return "";
}

/// Its tracer, once it runs its program under one.
pid_t tracer_of(pid_t pid) {
    for (;;) {
        const auto tracer = status_line(pid, "TracerPid");
        REQUIRE(!tracer.empty());
        if (tracer != "0" && status_line(pid, "Name") == "kinds") return std::stoi(tracer);
        sched_yield();
    }
}

/// What a process of that user may do to another, as bits.
int attack(uid_t user, pid_t victim) {
    const pid_t attacker = fork();
    if (attacker == 0) {
        if (setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0) _exit(128);
        int could = 0;
        const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, victim, 0));
        for (int fd = 0; fd < 8; ++fd)
            if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0) could |= 1;
        if (ptrace(PTRACE_SEIZE, victim, 0, 0) == 0) could |= 2;
        const std::string folder = "/proc/" + std::to_string(victim);
        if (open((folder + "/mem").c_str(), O_RDWR) >= 0) could |= 4;
        char byte;
        iovec here{&byte, 1}, there{&byte, 1};
        if (process_vm_readv(victim, &here, 1, &there, 1, 0) >= 0 || errno != EPERM) could |= 8;
        if (open((folder + "/fd/0").c_str(), O_RDWR) >= 0 || errno != EACCES) could |= 16;
        _exit(could);
    }
    int status = 0;
    waitpid(attacker, &status, 0);
    return WEXITSTATUS(status);
}

conf::Handler as_nobody(conf::Handler what) {
    what.identity = sys::Identity{kNobody, kNobody, {}, "nobody"};
    return what;
}

}  // namespace

TEST_CASE("a process of the same user takes neither template, copy nor channel", "[root]") {
    if (geteuid() != 0) return;
    World world;
    auto process = world.parked(as_nobody(kind("pid")));
    REQUIRE(status_line(process.pid(), "Uid").starts_with(std::to_string(kNobody)));
    CHECK(attack(kNobody, process.pid()) == 0);
    auto spare = World::copy(process);
    CHECK(attack(kNobody, spare.pid()) == 0);
    // Once it has its client it is what it would have been without this: a process like any other of its user.
    Client client;
    REQUIRE(spare.go(client.connection.get(), false));
    CHECK(World::next(spare).kind == Event::Kind::gone);
    int could = 0;  // soon: the channel closes first
    for (int i = 0; i < 1000 && could == 0; ++i) could = attack(kNobody, spare.pid()) & 1;
    CHECK(could == 1);
    client.ask();
    World::ended(spare.pid());
    CHECK(World::ask(process).ends_with(" 1 hello\n"));
}

TEST_CASE("nor its tracer, while it starts", "[root]") {
    if (geteuid() != 0) return;
    World world;
    auto process = world.start(as_nobody(kind("never")));
    CHECK(attack(kNobody, tracer_of(process.pid())) == 0);
    kill(process.pid(), SIGKILL);
    CHECK(World::next(process).kind == Event::Kind::refused);
    World::ended(process.pid());
}

TEST_CASE("a handler whose tracer dies does not stay half made") {
    World world;
    auto process = world.start(kind("never"));
    kill(tracer_of(process.pid()), SIGKILL);
    CHECK(World::next(process).kind == Event::Kind::refused);
    CHECK(process.obstacle() == Obstacle::tracer_ended);
    CHECK(WTERMSIG(World::ended(process.pid())) == SIGKILL);
}

TEST_CASE("threads that stand still go with their tracer, and nobody waits for them") {
    World world;
    auto process = world.parked(kind("threads"));
    bool found = false;
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(process.pid()) + "/task")) {
        const auto tracer = status_line(std::stoi(task.path().filename()), "TracerPid");
        if (tracer == "0" || found) continue;
        found = true;
        kill(std::stoi(tracer), SIGKILL);
    }
    CHECK(found);
    CHECK(World::next(process).kind == Event::Kind::gone);
    CHECK(WTERMSIG(World::ended(process.pid())) == SIGKILL);
    // And the tracer with them.
    auto other = world.parked(kind("threads"));
    kill(other.pid(), SIGKILL);
    CHECK(WTERMSIG(World::ended(other.pid())) == SIGKILL);
}

TEST_CASE("a handler with threads that is killed at any step to its stub is given up at once, and its tracer leaves") {
    World world;
    auto began = now();
    world.parked(kind("threads"));
    const Duration whole = now() - began;
    constexpr int kSteps = 100;
    for (int step = 0; step < kSteps; ++step) {
        began = now();
        auto process = world.start(kind("threads"));
        while (now() - began < whole * step / kSteps) sched_yield();
        kill(process.pid(), SIGKILL);
        // Its channel closes with the tracer, which would otherwise stay until the minute for its start is over.
        for (auto event = World::next(process); event.kind == Event::Kind::parked;) event = World::next(process);
        CHECK(process.obstacle() != Obstacle::untouched);
        CHECK(WTERMSIG(World::ended(process.pid())) == SIGKILL);
    }
}

TEST_CASE("a handler that is stopped while it starts is given up in time") {
    World world;
    auto process = world.start(kind("never"), 500);
    tracer_of(process.pid());
    kill(process.pid(), SIGSTOP);
    CHECK(World::next(process).kind == Event::Kind::refused);
    CHECK(process.obstacle() == Obstacle::untouched);
    World::ended(process.pid());
}

TEST_CASE("a template that is stopped, or dies, takes no client with it") {
    World world;
    auto process = world.parked(kind("read"));
    kill(process.pid(), SIGSTOP);
    Client client;
    REQUIRE(process.copy_for(client.connection.get(), false, 5));
    kill(process.pid(), SIGKILL);
    CHECK(World::next(process).kind == Event::Kind::gone);
    World::ended(process.pid());
    CHECK_FALSE(process.copy_for(client.connection.get(), false, 6));
    auto another = world.parked(kind("read"));
    REQUIRE(another.copy_for(client.connection.get(), false, 7));
    const auto event = World::next(another);
    REQUIRE(event.kind == Event::Kind::going);
    CHECK(client.ask() == "hello\n");
    World::ended(event.pid);
    CHECK(World::ask(another) == "hello\n");
}

TEST_CASE("a parked process whose channel closes leaves; signals do not wake it, but KILL") {
    World world;
    auto process = world.parked(kind("waits"));
    kill(process.pid(), SIGTERM);
    kill(process.pid(), SIGUSR1);
    auto spare = World::copy(process);
    CHECK(World::ask(spare) == "not hello\n");
    const pid_t pid = process.pid();
    process = {0, sys::Fd()};
    CHECK(World::ended(pid) == 0);
}

TEST_CASE("a signal that came while it was parked is delivered with its client") {
    World world;
    auto process = world.parked(kind("waits"));
    kill(process.pid(), SIGUSR1);
    CHECK(World::ask(process) == "told hello\n");
}

TEST_CASE("a limit on processes is told, when it is parked and when it is copied", "[root]") {
    if (geteuid() != 0) return;
    World world;
    auto what = kind("read");
    const auto user = static_cast<uid_t>(1'000'000 + getpid());  // nobody else's processes are to count
    what.identity = sys::Identity{user, user, {}, "somebody"};
    what.rlimits = {{RLIMIT_NPROC, 1, 1}};
    CHECK(world.refused(what) == "it cannot be traced: Resource temporarily unavailable");
    what.rlimits = {{RLIMIT_NPROC, 3, 3}};  // itself, and the tracer's two
    auto process = world.parked(what);
    std::vector<proc::WarmProcess> copies;
    Event event{};
    for (int i = 0; i < 3 && event.kind != Event::Kind::failed; ++i) {
        auto copy = process.copy(9);
        REQUIRE(copy);
        if (World::next(*copy).kind == Event::Kind::parked)
            copies.push_back(std::move(*copy));
        else
            event = World::next(process);
    }
    CHECK(event.kind == Event::Kind::failed);
    CHECK(event.serial == 9);
    CHECK(event.code == EAGAIN);
    for (auto& copy : copies) CHECK(World::ask(copy) == "hello\n");
    CHECK(World::ask(process) == "hello\n");
}

TEST_CASE("two hundred clients at once have a copy each") {
    World world;
    auto process = world.parked(kind("read"));
    std::vector<Client> clients(200);
    for (auto& client : clients)
        REQUIRE(process.copy_for(client.connection.get(), false, static_cast<std::uint32_t>(&client - clients.data())));
    std::vector<pid_t> pids;
    for (std::size_t i = 0; i < clients.size(); ++i) {
        const auto event = World::next(process);
        REQUIRE(event.kind == Event::Kind::going);
        pids.push_back(event.pid);
    }
    for (auto& client : clients) {
        const auto text = std::to_string(&client - clients.data()) + "\n";
        CHECK(client.ask(text) == text);
    }
    for (const pid_t pid : pids) World::ended(pid);
    kill(process.pid(), SIGKILL);
    World::ended(process.pid());
}

TEST_CASE("what no stub says ends the conversation, and names no process but superd's own") {
    const auto say = [](const auto& message, std::size_t size) {
        auto pair = proc::make_channel(std::nullopt);
        REQUIRE(pair);
        REQUIRE(send(pair->theirs.get(), &message, size, 0) == static_cast<ssize_t>(size));
        return proc::WarmProcess(0, std::move(pair->ours));
    };
    using proc::warm::Word;
    // This process, which sends it, is no child of its own.
    auto copy = say(proc::warm::Answer{Word::parked, 0, 0}, sizeof(proc::warm::Answer));
    CHECK(copy.next()->kind == Event::Kind::gone);
    copy = say(proc::warm::Answer{Word::going, 0, 0}, sizeof(proc::warm::Answer));
    CHECK(copy.next()->kind == Event::Kind::gone);
    copy = say(proc::warm::Answer{static_cast<Word>(77), 0, 0}, sizeof(proc::warm::Answer));
    CHECK(copy.next()->kind == Event::Kind::gone);
    copy = say(proc::warm::Answer{Word::parked, 0, 0}, 3);
    CHECK(copy.next()->kind == Event::Kind::gone);
    proc::warm::Report report{};
    report.word = Word::report;
    report.obstacle = static_cast<Obstacle>(999);
    std::memset(report.detail, '\n', sizeof report.detail);  // no end
    copy = say(report, sizeof report);
    CHECK(copy.next()->kind == Event::Kind::refused);
    CHECK(describe(copy).starts_with("it told something unknown (\\n\\n"));
    CHECK(describe(copy).find('\n') == std::string::npos);
}

}  // namespace superd::tests::faults
