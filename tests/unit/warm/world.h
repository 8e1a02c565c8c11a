// SPDX-License-Identifier: MIT
#pragma once
// A superd in small: starts warm processes as superd does and asks them as clients do.

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.h"
#include "proc/spawner.h"
#include "proc/warm_process.h"

namespace superd::tests {

constexpr uid_t kNobody = 65534;

inline conf::Handler handler(std::vector<std::string> words) {
    conf::Handler h;
    h.path = words.front();
    h.argv = std::move(words);
    h.environment = {"PATH=/usr/bin:/bin"};
    return h;
}

inline conf::Handler kind(std::string name, std::string file = "", const char* form = "") {
    return handler({std::string(SUPERD_KINDS) + form, std::move(name), std::move(file)});
}

/// A folder that anybody may look into, gone at the end.
struct Folder {
    Folder() {
        char name[] = "/tmp/superd-warm.XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
        std::filesystem::permissions(path, std::filesystem::perms(0755));
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream(path + "/" + name) << text;
        return path + "/" + name;
    }
    std::string path;
};

/// A connection and its client.
struct Client {
    Client() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        client.reset(ends[0]);
        connection.reset(ends[1]);
    }
    /// Says `text` and no more; returns all that comes back.
    std::string ask(const std::string& text = "hello\n") {
        connection.reset();
        send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);  // it may have gone unasked
        shutdown(client.get(), SHUT_WR);
        std::string all, some(65536, '\0');
        for (ssize_t n; (n = read(client.get(), some.data(), some.size())) > 0;) all.append(some, 0, std::size_t(n));
        return all;
    }
    sys::Fd client, connection;
};

struct World {
    World() {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);  // as superd's are; who runs the tests may have left some
        spawner = *proc::Spawner::create(loop, [](pid_t) {});
        program.reset(open(SUPERD_WARM, O_PATH | O_CLOEXEC));
        REQUIRE(program);
    }
    proc::WarmProcess start(const conf::Handler& what, unsigned within_ms = 60'000, bool errors_to_client = false,
                            int family = AF_UNIX) {
        plan.emplace(what, conf::Sandbox{}, rlimit{1024, 4096});
        plan->start_by(program.get(), "superd-warm", proc::Start::warm);
        auto pair = proc::make_channel(proc::warm::Order{within_ms, errors_to_client ? 1U : 0U});
        REQUIRE(pair);
        proc::Launch launch;
        launch.plan = &*plan;
        launch.descriptors.push_back(*proc::make_placeholder(family));
        launch.descriptors.push_back(sys::Fd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)));
        launch.descriptors.push_back(std::move(pair->theirs));
        launch.number = {0, 0, errors_to_client ? 0 : 1, 2};
        const pid_t pid = *spawner->spawn(launch);
        REQUIRE(spawner->settle(std::chrono::seconds(60)));
        return {pid, std::move(pair->ours)};
    }
    /// Waits for its next word.
    static proc::WarmProcess::Event next(proc::WarmProcess& process) {
        for (;;) {
            if (auto event = process.next()) return *event;
            pollfd readable{process.channel(), POLLIN, 0};
            REQUIRE(poll(&readable, 1, 120'000) == 1);
        }
    }
    proc::WarmProcess parked(const conf::Handler& what, bool errors_to_client = false, int family = AF_UNIX) {
        auto process = start(what, 60'000, errors_to_client, family);
        const auto event = next(process);
        INFO(describe(process));
        REQUIRE(event.kind == proc::WarmProcess::Event::Kind::parked);
        return process;
    }
    /// Why it cannot be parked; it has ended by then.
    std::string refused(const conf::Handler& what, unsigned within_ms = 60'000) {
        auto process = start(what, within_ms);
        REQUIRE(next(process).kind == proc::WarmProcess::Event::Kind::refused);
        REQUIRE(waitpid(process.pid(), nullptr, 0) == process.pid());
        return describe(process);
    }
    static int ended(pid_t pid) {
        int status = -1;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        return status;
    }
    /// A client of a copy that goes at once.
    static std::string ask_copy(proc::WarmProcess& process, const std::string& text = "hello\n",
                                bool errors_to_client = false, pid_t* pid = nullptr) {
        Client client;
        REQUIRE(process.copy_for(client.connection.get(), errors_to_client, 7));
        const auto event = next(process);
        REQUIRE(event.kind == proc::WarmProcess::Event::Kind::going);
        CHECK(event.serial == 7);
        if (pid != nullptr) *pid = event.pid;
        const auto answer = client.ask(text);
        CHECK(ended(event.pid) == 0);
        return answer;
    }
    /// A client of the process itself.
    static std::string ask(proc::WarmProcess& process, const std::string& text = "hello\n",
                           bool errors_to_client = false) {
        Client client;
        REQUIRE(process.go(client.connection.get(), errors_to_client));
        const auto answer = client.ask(text);
        CHECK(next(process).kind == proc::WarmProcess::Event::Kind::gone);
        CHECK(ended(process.pid()) == 0);
        return answer;
    }
    static proc::WarmProcess copy(proc::WarmProcess& process) {
        auto copied = process.copy(1);
        REQUIRE(copied);
        REQUIRE(next(*copied).kind == proc::WarmProcess::Event::Kind::parked);
        CHECK(copied->pid() != process.pid());
        return std::move(*copied);
    }
    /// Two that go at once, one that was parked, one that is a copy's copy, and the template itself.
    std::vector<std::string> all(const conf::Handler& what, const std::string& text = "hello\n") {
        auto process = parked(what);
        INFO(describe(process));
        REQUIRE(process.obstacle() == proc::warm::Obstacle::none);
        std::vector<std::string> answers{ask_copy(process, text), ask_copy(process, text)};
        auto spare = copy(process);
        answers.push_back(ask_copy(spare, text));
        answers.push_back(ask(spare, text));
        answers.push_back(ask(process, text));
        return answers;
    }
    void serves(const conf::Handler& what, const std::string& answer, const std::string& text = "hello\n") {
        INFO(what.path << ' ' << (what.argv.size() > 1 ? what.argv[1] : ""));
        CHECK(all(what, text) == std::vector<std::string>(5, answer));
    }
    /// One that can be parked but not copied: why, and what its only client gets.
    std::pair<std::string, std::string> serves_once(const conf::Handler& what) {
        auto process = parked(what);
        auto why = describe(process);
        Client refused;
        REQUIRE(process.copy_for(refused.connection.get(), false, 3));
        const auto event = next(process);
        CHECK(event.kind == proc::WarmProcess::Event::Kind::failed);
        CHECK(event.serial == 3);
        return {why, ask(process)};
    }

    sys::Loop loop = *sys::Loop::create();
    std::unique_ptr<proc::Spawner> spawner;
    std::optional<proc::ExecPlan> plan;
    sys::Fd program;
};

}  // namespace superd::tests
