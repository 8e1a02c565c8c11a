// SPDX-License-Identifier: MIT
// Handlers of every kind, parked and served over real sockets, or not parked for the reason that is told.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>

#include "unit/warm/world.h"

namespace superd::tests::kinds {

using Kind = proc::WarmProcess::Event::Kind;
using proc::warm::Obstacle;

TEST_CASE("a handler is parked at its first touch of the client, whatever it touches with") {
    World world;
    for (const char* name : {"read", "recv", "readv", "poll", "asks-and-polls", "select", "stdio", "dups", "nonblock"})
        world.serves(kind(name), "hello\n");
    world.serves(kind("writes"), "first hello\n");
    world.serves(kind("closes"), "closed");
    world.serves(kind("peer"), "0 hello\n");
    world.serves(kind("asks-kind"), "hello\n");
}

TEST_CASE("whatever a client sends comes back byte for byte") {
    World world;
    std::string bytes(3'000'000, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 13);
    auto process = world.parked(kind("read"));
    for (int i = 0; i < 2; ++i) {
        Client client;
        REQUIRE(process.copy_for(client.connection.get(), false, 0));
        const pid_t pid = World::next(process).pid;
        client.connection.reset();
        const pid_t writer = fork();  // both at once, or the buffers are full
        if (writer == 0) {
            for (std::size_t at = 0; at < bytes.size();) {
                const ssize_t n = write(client.client.get(), bytes.data() + at, bytes.size() - at);
                if (n <= 0) _exit(1);
                at += static_cast<std::size_t>(n);
            }
            shutdown(client.client.get(), SHUT_WR);
            _exit(0);
        }
        std::string all, some(65536, '\0');
        for (ssize_t n; (n = read(client.client.get(), some.data(), some.size())) > 0;)
            all.append(some, 0, std::size_t(n));
        CHECK(World::ended(writer) == 0);
        CHECK((all == bytes));
        CHECK(World::ended(pid) == 0);
    }
    kill(process.pid(), SIGKILL);
    World::ended(process.pid());
}

TEST_CASE("static and other C libraries make no difference") {
    World world;
    for (const char* form : {"-static-pie", "-musl"}) {
        if (access((std::string(SUPERD_KINDS) + form).c_str(), X_OK) != 0) {
            WARN("not built: " << form);
            continue;
        }
        world.serves(kind("read", "", form), "hello\n");
        world.serves(kind("stdio", "", form), "hello\n");
        world.serves(kind("registers", "", form), "kept hello\n");
    }
    world.serves(kind("raises", "", "-static-pie"), "raised hello\n");
}

TEST_CASE("over TCP, getpeername tells each copy its own client") {
    World world;
    auto process = world.parked(kind("peer"), false, AF_INET);
    sys::Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(listener.get(), 8) == 0);
    REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    for (int i = 0; i < 3; ++i) {
        Client client;
        client.client.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(connect(client.client.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
        client.connection.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        sockaddr_in own{};
        REQUIRE(getsockname(client.client.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
        REQUIRE(process.copy_for(client.connection.get(), false, 0));
        const auto event = World::next(process);
        REQUIRE(event.kind == Kind::going);
        CHECK(client.ask() == std::to_string(ntohs(own.sin_port)) + " hello\n");
        World::ended(event.pid);
    }
    kill(process.pid(), SIGKILL);
    World::ended(process.pid());
}

TEST_CASE("registers, flags, red zone and the signal mask are as they were at the call") {
    World world;
    world.serves(kind("registers"), "kept hello\n");
    world.serves(kind("mask"), "100 hello\n");
    world.serves(kind("cloexec"), "10 hello\n");
}

TEST_CASE("a copy has a number, a session and descriptors of its own, and nothing of superd's") {
    World world;
    auto process = world.parked(kind("pid"));
    pid_t pid = 0;
    const auto answer = World::ask_copy(process, "hello\n", false, &pid);
    CHECK(answer == std::to_string(pid) + " 1 hello\n");
    CHECK(World::ask(process) == std::to_string(process.pid()) + " 1 hello\n");
    world.serves(kind("raises"), "raised hello\n");
    world.serves(kind("descriptors"), "3 hello\n");
}

TEST_CASE("files that are open stand where they stood, for each copy by itself") {
    World world;
    const Folder folder;
    const auto file = folder.write("data", "aaaabbbbccccdddd");
    CHECK(world.all(kind("seeks", file)) == std::vector<std::string>(5, "bbbb"));
    // Also when the file has another name, or none, by then.
    auto process = world.parked(kind("seeks", file));
    std::filesystem::remove(file);
    CHECK(World::ask_copy(process) == "bbbb");
    CHECK(World::ask(process) == "bbbb");
}

TEST_CASE("stderr is the client's where it is to be, and a touch of it parks") {
    World world;
    auto process = world.parked(kind("errors"), true);
    CHECK(World::ask_copy(process, "hello\n", true) == "first hello\n");
    CHECK(World::ask(process, "hello\n", true) == "first hello\n");
}

TEST_CASE("what copies would share makes a handler serve one client, and is told") {
    World world;
    const Folder folder;
    const auto file = folder.write("data", "data");
    using Pair = std::pair<std::string, std::string>;
    CHECK(world.serves_once(kind("timer")) == Pair("it has a timer", "hello\n"));
    CHECK(world.serves_once(kind("lock", file)) ==
          Pair("it has a lock on a file (descriptor 3: " + file + ")", "hello\n"));
    CHECK(world.serves_once(kind("writing", file)) ==
          Pair("it has an open file that copies cannot share (descriptor 3: " + file + ")", "hello\n"));
    CHECK(world.serves_once(kind("shared", file)) ==
          Pair("it has memory that copies would share (" + file + ")", "hello\n"));
    const auto with_pipe = world.serves_once(kind("pipe"));
    CHECK(with_pipe.first.starts_with("it has an open file that copies cannot share (descriptor 3: pipe:["));
    CHECK(with_pipe.second == "hello\n");
    CHECK(world.serves_once(kind("epoll")) ==
          Pair("it has an open file that copies cannot share (descriptor 3: anon_inode:[eventpoll])", "hello\n"));
}

TEST_CASE("threads stand still until the client is there, and go on then") {
    World world;
    using Pair = std::pair<std::string, std::string>;
    CHECK(world.serves_once(kind("threads")) == Pair("it has threads", "hello\n"));
    CHECK(world.serves_once(kind("thread-reads")) == Pair("it has threads", "hello\n"));
}

TEST_CASE("a handler that cannot be parked is not, and says why") {
    World world;
    CHECK(world.refused(kind("ends")) == "it ended before it touched its client (status 3)");
    CHECK(world.refused(kind("forks")) == "it started another process before it touched its client");
    CHECK(world.refused(kind("uring")) == "it uses io_uring or asynchronous I/O");
    CHECK(world.refused(kind("never"), 300) == "it did not touch its client in time");
    CHECK(world.refused(kind("fills")) == "it refused the memory that parking takes: Cannot allocate memory");
    CHECK(world.refused(handler({"/etc/passwd"})) == "it cannot be executed: Permission denied");
    CHECK(world.refused(handler({"/nonexistent"})) == "it cannot be executed: No such file or directory");
}

TEST_CASE("a program that execs another is followed into it; one with set-id bits is not started") {
    World world;
    world.serves(kind("execs"), "hello\n");
    const Folder folder;
    const std::string copy = folder.path + "/setuid";
    std::filesystem::copy_file(SUPERD_KINDS, copy);
    REQUIRE(chmod(copy.c_str(), 04755) == 0);
    const std::string why = "it has a program with set-id bits or capabilities, which it would lose";
    CHECK(world.refused(handler({copy, "read"})) == why);
    if (access("/bin/dash", X_OK) == 0)
        CHECK(world.refused(handler({"/bin/dash", "-c", "exec " + copy + " read"})) == why);
}

TEST_CASE("what it has of its own accord is told, and which files it is made of") {
    World world;
    const auto facts = [&](const conf::Handler& what) {
        auto process = world.parked(what);
        const auto found = process.facts();
        kill(process.pid(), SIGKILL);
        World::ended(process.pid());
        return found;
    };
    CHECK(facts(kind("read")) == 0);
    CHECK(facts(kind("random")) == proc::warm::kDrewRandom);
    CHECK(facts(kind("asks-and-polls")) == proc::warm::kAskedPid);
    CHECK(facts(kind("asks-kind")) == proc::warm::kAskedPid);
    const Folder folder;
    const auto file = folder.write("data", "aaaabbbb");
    auto process = world.parked(kind("seeks", file));
    const auto has = [&](const std::string& path) {
        return std::ranges::find(process.files(), path, &proc::WarmFile::path) != process.files().end();
    };
    CHECK(has(file));
    CHECK(has(SUPERD_KINDS));
    CHECK(std::ranges::any_of(process.files(), [](const auto& f) { return f.path.contains("/libc.so.6"); }));
    CHECK(std::ranges::any_of(process.files(), [](const auto& f) { return f.path.contains("/ld-linux"); }));
    CHECK(std::ranges::all_of(process.files(), [](const auto& f) { return f.is_as_it_was(""); }));
    folder.write("data", "aaaabbbbcccc");
    CHECK(std::ranges::count_if(process.files(), [](const auto& f) { return !f.is_as_it_was(""); }) == 1);
    kill(process.pid(), SIGKILL);
    World::ended(process.pid());
}

TEST_CASE("interpreters are parked where their scripts read, and each copy goes on from there by itself") {
    World world;
    const Folder folder;
    std::string lines = "read line\n";
    for (int i = 0; i < 300; ++i) lines += "n=$((n + 1)) # a shell reads its script as it goes\n";
    const auto shell = folder.write("count.sh", lines + "echo \"$line $n $(echo started)\"\n");
    const auto perl = folder.write("seek.pl",
                                   "open(F, '<', $0); my $first = <F>; my $l = <STDIN>;\n"
                                   "my $second = <F>; print $l, $second;\n");
    const auto python = folder.write("up.py", "import sys\nfor line in sys.stdin:\n    print(line.upper(), end='')\n");
    struct {
        std::vector<std::string> words;
        std::string answer;
    } cases[] = {
        {{"/bin/dash", shell}, "hello 300 started\n"},
        {{"/bin/bash", shell}, "hello 300 started\n"},
        {{"/usr/bin/perl", perl}, "hello\nmy $second = <F>; print $l, $second;\n"},
        {{"/usr/bin/python3", python}, "HELLO\n"},
        {{"/bin/cat"}, "hello\n"},
    };
    for (const auto& c : cases) {
        if (access(c.words[0].c_str(), X_OK) == 0)
            world.serves(handler(c.words), c.answer);
        else
            WARN("not installed: " << c.words[0]);
    }
}

}  // namespace superd::tests::kinds
