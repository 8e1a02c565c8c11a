// SPDX-License-Identifier: MIT
#include "core/exit.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "catch.h"

namespace superd::core::exit_tests {

using Kind = ChildRecord::Kind;
using model::End;
using namespace std::chrono_literals;

namespace {

constexpr Instant kStart{1000s};
constexpr int kKilled = SIGSEGV, kFailed = 3 << 8, kWell = 0;

ChildRecord child(Kind kind, std::uint64_t clients = 0) {
    ChildRecord record;
    record.kind = kind;
    record.started = kStart;
    if (clients > 0) record.reports = {1, 1, clients};
    return record;
}

proc::SpawnFailure failure(int code, bool with_connection) {
    proc::SpawnFailure out;
    out.step = proc::Step::exec;
    out.code = code;
    if (with_connection) out.connection = sys::GuardedFd(sys::Fd(dup(0)));
    return out;
}

End end(const ChildRecord& record, int status, Duration lived, bool unread = false, bool counts = false) {
    return Exit(record, status, {}, kStart + lived).end(unread, counts);
}

}  // namespace

TEST_CASE("a worker or parked process that leaves at once has ended badly; a handler or owner may leave") {
    for (const Kind kind : {Kind::worker, Kind::parked}) {
        CHECK(end(child(kind), kWell, 99ms) == End::badly);
        CHECK(end(child(kind), kWell, 100ms) == End::well);
    }
    for (const Kind kind : {Kind::handler, Kind::owner}) CHECK(end(child(kind), kWell, 0ms) == End::well);
}

TEST_CASE("a child that fails within a second and has had no client has ended badly") {
    for (const Kind kind : {Kind::handler, Kind::owner, Kind::worker, Kind::parked})
        for (const int status : {kFailed, kKilled}) {
            CHECK(end(child(kind), status, 999ms) == End::badly);
            CHECK(end(child(kind), status, 1s) == End::well);
            CHECK(end(child(kind, 1), status, 0ms) == End::well);
        }
}

TEST_CASE("a silent worker that counts its requests may have served them all within a moment") {
    CHECK(end(child(Kind::worker), kWell, 0ms, false, true) == End::hasty);
    CHECK(end(child(Kind::worker), kFailed, 0ms, false, true) == End::badly);
    auto reporting = child(Kind::worker);
    reporting.reports = {1, 1, 0};
    CHECK(end(reporting, kWell, 0ms, false, true) == End::badly);
    CHECK(end(child(Kind::parked), kWell, 0ms, false, true) == End::badly);
}

TEST_CASE("an owner that leaves its datagram unread has ended badly; a child that was told to leave never has") {
    CHECK(end(child(Kind::owner), kWell, 10s, true) == End::badly);
    auto told = child(Kind::owner);
    told.stopping = true;
    CHECK(end(told, kFailed, 0ms, true) == End::well);
}

TEST_CASE("a handler has started well unless it fails at once or does not get to its program") {
    const auto well = [](const ChildRecord& record, int status, Duration lived) {
        return Exit(record, status, {}, kStart + lived).started_well();
    };
    CHECK(well(child(Kind::handler), kWell, 0ms) == true);
    CHECK(well(child(Kind::handler), kFailed, 99ms) == false);
    CHECK(well(child(Kind::handler), kFailed, 100ms) == true);
    CHECK_FALSE(well(child(Kind::worker), kFailed, 0ms));
    auto told = child(Kind::handler);
    told.stopping = true;
    CHECK(well(told, kKilled, 0ms) == true);
    const auto record = child(Kind::handler);
    CHECK(Exit(record, kFailed, failure(ENOENT, true), kStart + 1h).started_well() == false);
}

TEST_CASE(
    "scarcity is not the handler's fault while the client is there, and stays what it was after the client is taken "
    "back") {
    const auto record = child(Kind::handler);
    Exit scarce(record, kFailed, failure(ENOMEM, true), kStart);
    CHECK(scarce.is_scarcity());
    scarce.failure()->connection.reset();
    CHECK(scarce.is_scarcity());
    CHECK_FALSE(scarce.started_well());
    CHECK_FALSE(Exit(record, kFailed, failure(ENOMEM, false), kStart).is_scarcity());
    CHECK_FALSE(Exit(record, kFailed, failure(ENOENT, true), kStart).is_scarcity());
}

TEST_CASE("an end is counted once, and by whether it was asked for") {
    const auto counted = [](const ChildRecord& record, int status) {
        core::Stats stats;
        Exit(record, status, {}, kStart + 1s).count(stats);
        return std::array{stats.exits.ok, stats.exits.failed, stats.exits.stopped, stats.exits.killed, stats.failures};
    };
    using All = std::array<std::uint64_t, 5>;
    auto sent = child(Kind::handler), told = child(Kind::worker);
    sent.sent = SIGUSR1;
    told.stopping = true;
    CHECK(counted(child(Kind::handler), kWell) == All{1, 0, 0, 0, 0});
    CHECK(counted(child(Kind::handler), kFailed) == All{0, 1, 0, 0, 1});
    CHECK(counted(child(Kind::handler), kKilled) == All{0, 0, 0, 1, 1});
    CHECK(counted(sent, SIGUSR1) == All{0, 0, 1, 0, 0});
    CHECK(counted(sent, SIGUSR2) == All{0, 0, 0, 1, 1});
    CHECK(counted(told, kFailed) == All{0, 0, 1, 0, 0});
    CHECK(counted(child(Kind::parked), kFailed) == All{0, 0, 0, 0, 1});
}

TEST_CASE("the time of those that serve a client counts, not that of workers and parked processes") {
    const auto time = [](Kind kind) {
        core::Stats stats;
        const auto record = child(kind);
        Exit(record, kWell, {}, kStart + 1s).count(stats);
        return stats.handler_time.sum();
    };
    CHECK(time(Kind::handler) == 1s);
    CHECK(time(Kind::owner) == 1s);
    CHECK(time(Kind::worker) == 0s);
    CHECK(time(Kind::parked) == 0s);
}

TEST_CASE("an end is told by its signal or its exit status") {
    const auto record = child(Kind::handler);
    CHECK(Exit(record, kFailed, {}, kStart).how() == "exit status 3");
    CHECK(Exit(record, kKilled, {}, kStart).how() == "killed by SIGSEGV");
    CHECK(Exit(record, kFailed, {}, kStart).number() == 3);
    CHECK(Exit(record, kKilled, {}, kStart).by_signal());
}

TEST_CASE("a client answers for a handler that failed or crashed, and for no other end") {
    const auto offence = [](const ChildRecord& record, int status, std::optional<proc::SpawnFailure> failed = {}) {
        return Exit(record, status, std::move(failed), kStart + 1s).offence();
    };
    const ChildRecord handler = child(Kind::handler);
    CHECK(offence(handler, kWell) == std::nullopt);
    CHECK(offence(handler, kFailed) == admit::Offence::failed);
    CHECK(offence(handler, kKilled) == admit::Offence::crashed);
    CHECK(offence(handler, SIGKILL) == admit::Offence::crashed);
    CHECK(offence(handler, SIGPIPE) == std::nullopt);  // its client had left
    CHECK(offence(handler, kFailed, failure(ENOEXEC, true)) == std::nullopt);
    CHECK(offence(handler, kFailed, failure(ENOMEM, true)) == std::nullopt);
    Exit starved(handler, SIGKILL, {}, kStart + 1s);
    starved.note_for_memory(true);
    CHECK(starved.offence() == std::nullopt);
    ChildRecord told = handler;
    told.stopping = true;
    CHECK(offence(told, kFailed) == std::nullopt);
    CHECK(offence(told, SIGKILL) == std::nullopt);
    ChildRecord sent = handler;
    sent.sent = SIGKILL;
    CHECK(offence(sent, SIGKILL) == std::nullopt);
    CHECK(offence(sent, SIGSEGV) == admit::Offence::crashed);
    for (const Kind kind : {Kind::owner, Kind::worker, Kind::parked})
        CHECK(offence(child(kind), kKilled) == std::nullopt);
}

}  // namespace superd::core::exit_tests
