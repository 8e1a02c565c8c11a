// SPDX-License-Identifier: MIT
#include "net/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "catch.h"

namespace superd::net::listener_tests {

namespace {

conf::Listen tcp(std::string host, std::uint32_t port = 0) {
    conf::Listen where;
    where.host = std::move(host);
    where.port = port;
    return where;
}

struct Folder {
    Folder() { path = mkdtemp(name); }
    ~Folder() { std::filesystem::remove_all(path); }
    conf::Listen socket(const std::string& file) const {
        conf::Listen where;
        where.transport = conf::Transport::unix_stream;
        where.path = path + "/" + file;
        return where;
    }
    char name[32] = "/tmp/superd-net-XXXXXX";
    std::string path;
};

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(fd, level, name, &value, &size);
    return value;
}

}  // namespace

TEST_CASE("port 0 becomes the port that the kernel chose") {
    auto listener = net::Listener::open(tcp("127.0.0.1"), {});
    REQUIRE(listener);
    CHECK(listener->address().port() != 0);
    CHECK(listener->uri() == "tcp://127.0.0.1:" + std::to_string(listener->address().port()));
}

TEST_CASE("listeners are high in the descriptor table and closed on exec") {
    auto listener = net::Listener::open(tcp("127.0.0.1"), {});
    REQUIRE(listener);
    CHECK(listener->fd() >= sys::Fd::kLongLived);
    CHECK((fcntl(listener->fd(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a taken address is EADDRINUSE, and named") {
    auto first = net::Listener::open(tcp("127.0.0.1"), {});
    REQUIRE(first);
    auto second = net::Listener::open(tcp("127.0.0.1", first->address().port()), {});
    REQUIRE_FALSE(second);
    CHECK(second.error().code == EADDRINUSE);
    CHECK(second.error().text == "bind " + first->address().text() + ": Address already in use");
}

TEST_CASE("an address that the machine lacks fails unless freebind") {
    auto without = net::Listener::open(tcp("198.51.100.7"), {});
    REQUIRE_FALSE(without);
    CHECK(without.error().code == EADDRNOTAVAIL);
    conf::SocketOptions options;
    options.freebind = true;
    CHECK(net::Listener::open(tcp("198.51.100.7"), options));
}

TEST_CASE("an address that overlaps an older one of ours can be bound before that closes") {
    auto wide = net::Listener::open(tcp("0.0.0.0"), {});
    REQUIRE(wide);
    const auto port = wide->address().port();
    REQUIRE_FALSE(net::Listener::open(tcp("127.0.0.1", port), {}));
    wide->allow_overlap(true);
    conf::SocketOptions options;
    options.reuse_port = true;
    CHECK(net::Listener::open(tcp("127.0.0.1", port), options));
}

TEST_CASE("socket options reach the kernel, at creation and on a live socket") {
    conf::SocketOptions options;
    options.keepalive = true;
    options.receive_buffer = 32768;
    options.priority = 3;
    auto listener = net::Listener::open(tcp("127.0.0.1"), options);
    REQUIRE(listener);
    CHECK(option(listener->fd(), SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option(listener->fd(), SOL_SOCKET, SO_RCVBUF) == 65536);  // socket(7): the kernel doubles it
    CHECK(option(listener->fd(), SOL_SOCKET, SO_PRIORITY) == 3);
    options.keepalive = false;
    options.priority.reset();
    CHECK(listener->can_become(options));
    CHECK(listener->become(options));
    CHECK(option(listener->fd(), SOL_SOCKET, SO_KEEPALIVE) == 0);
    CHECK(option(listener->fd(), SOL_SOCKET, SO_PRIORITY) == 0);
    options.reuse_port = true;
    CHECK_FALSE(listener->can_become(options));
}

TEST_CASE("a unix path has its mode, is removed with its socket, and a stale one is replaced") {
    const Folder folder;
    const auto where = folder.socket("a/b/sock");
    conf::SocketOptions options;
    options.mode = 0640;
    {
        auto listener = net::Listener::open(where, options);
        REQUIRE(listener);
        struct stat status {};
        REQUIRE(stat(where.path.c_str(), &status) == 0);
        CHECK((status.st_mode & 07777) == 0640);
    }
    CHECK_FALSE(std::filesystem::exists(where.path));
    {
        const sys::Fd dead(socket(AF_UNIX, SOCK_STREAM, 0));
        const auto address = *sys::Address::local(where.path);
        REQUIRE(bind(dead.get(), address.data(), address.size()) == 0);
    }
    REQUIRE(std::filesystem::exists(where.path));
    CHECK(net::Listener::open(where, options));
}

TEST_CASE("a unix path in use is not stolen, and another's path is not removed") {
    const Folder folder;
    const auto where = folder.socket("sock");
    auto first = net::Listener::open(where, {});
    REQUIRE(first);
    auto second = net::Listener::open(where, {});
    REQUIRE_FALSE(second);
    CHECK(second.error().code == EADDRINUSE);
    CHECK(std::filesystem::exists(where.path));
    std::filesystem::rename(where.path, where.path + ".old");
    auto third = net::Listener::open(where, {});
    REQUIRE(third);
    { auto gone = std::move(*first); }
    CHECK(std::filesystem::exists(where.path));
}

TEST_CASE("a passed socket keeps its settings") {
    const sys::Fd raw(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto any = *sys::Address::inet("127.0.0.1", 0);
    REQUIRE(bind(raw.get(), any.data(), any.size()) == 0);
    conf::Listen where;
    where.transport = conf::Transport::inherited;
    where.name = "x";
    sys::PassedSocket passed{"x", raw.duplicate()};
    auto listener = net::Listener::adopt(passed, where, {});
    REQUIRE(listener);
    CHECK(listener->type() == conf::SocketType::datagram);
    CHECK(listener->inherited());
    CHECK(listener->uri() == "systemd:x");
}

}  // namespace superd::net::listener_tests
