// SPDX-License-Identifier: MIT
#include "net/health.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "catch.h"
#include "net/listener.h"

namespace superd::net::health_tests {

namespace {

conf::Listen loopback(conf::Transport transport) {
    conf::Listen where;
    where.transport = transport;
    where.host = "127.0.0.1";
    return where;
}

struct Folder {
    Folder() { path = mkdtemp(name); }
    ~Folder() { std::filesystem::remove_all(path); }
    conf::Listen socket(conf::Transport transport = conf::Transport::unix_stream) const {
        conf::Listen where;
        where.transport = transport;
        where.path = path + "/sock";
        return where;
    }
    char name[32] = "/tmp/superd-net-XXXXXX";
    std::string path;
};

/// As a handler gets it.
net::Listener given(const conf::Listen& where, const conf::SocketOptions& options = {}) {
    auto listener = net::Listener::open(where, options);
    REQUIRE(listener);
    listener->note_given();
    CHECK(listener->examine().wrong.empty());
    return std::move(*listener);
}

sys::Fd dial(const net::Listener& listener) {
    const int type = listener.type() == conf::SocketType::datagram ? SOCK_DGRAM : SOCK_STREAM;
    sys::Fd client(socket(listener.address().family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(client.get(), listener.address().data(), listener.address().size()) != 0 && errno != EINPROGRESS)
        client.reset();
    return client;
}

bool comes(const net::Listener& listener) {
    pollfd ready{listener.fd(), POLLIN, 0};
    return poll(&ready, 1, 2000) == 1 && ready.revents == POLLIN;
}

bool takes_clients(const net::Listener& listener) {
    const sys::Fd client = dial(listener);
    if (!client || (listener.type() == conf::SocketType::datagram && send(client.get(), "x", 1, 0) != 1)) return false;
    if (!comes(listener)) return false;
    char byte = 0;
    if (listener.type() == conf::SocketType::datagram) return recv(listener.fd(), &byte, 1, MSG_DONTWAIT) == 1;
    return static_cast<bool>(sys::Fd(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC)));
}

void put(int fd, int level, int option, int value) {
    CHECK(setsockopt(fd, level, option, &value, sizeof value) == 0);
}

net::filter::Program program(std::uint32_t verdict) {
    return {sock_filter{BPF_RET | BPF_K, 0, 0, verdict}};
}

}  // namespace

TEST_CASE("changes by a holder of a stream listener are seen, named and put right on the socket") {
    const std::pair<const char*, std::function<void(int)>> attacks[] = {
        {"not listening", [](int fd) { shutdown(fd, SHUT_RDWR); }},
        {"not listening",
         [](int fd) {
             const sockaddr nobody{AF_UNSPEC, {}};
             connect(fd, &nobody, sizeof nobody);
         }},
        {"without its address",
         [](int fd) {
             shutdown(fd, SHUT_RDWR);
             listen(fd, 5);
         }},
        {"SO_RCVBUF", [](int fd) { put(fd, SOL_SOCKET, SO_RCVBUF, 1); }},
        {"SO_BINDTODEVICE", [](int fd) { CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0); }},
        {"SO_LINGER",
         [](int fd) {
             const linger now{1, 0};
             setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
         }},
        {"TCP_NODELAY", [](int fd) { put(fd, IPPROTO_TCP, TCP_NODELAY, 1); }},
        {"IP_MINTTL", [](int fd) { put(fd, IPPROTO_IP, IP_MINTTL, 255); }},
        {"its filter was changed", [](int fd) { CHECK(net::filter::attach(fd, net::filter::deny_all())); }},
    };
    for (const auto& [name, attack] : attacks) {
        INFO(name);
        auto listener = given(loopback(conf::Transport::tcp));
        attack(listener.fd());
        const auto health = listener.examine();
        CHECK(health.wrong == name);
        CHECK_FALSE(health.left);
        CHECK(listener.examine().wrong.empty());
        CHECK(takes_clients(listener));
    }
}

TEST_CASE("a datagram socket that a holder has connected keeps its port and again receives from everyone") {
    auto listener = given(loopback(conf::Transport::udp));
    const auto address = listener.address().text();
    const auto other = *sys::Address::inet("127.0.0.1", 9);
    REQUIRE(connect(listener.fd(), other.data(), other.size()) == 0);
    CHECK_FALSE(takes_clients(listener));
    const auto health = listener.examine();
    CHECK(health.wrong == "connected to a peer");
    CHECK_FALSE(health.left);
    CHECK(sys::Address::of_socket(listener.fd()).text() == address);
    CHECK(takes_clients(listener));
}

TEST_CASE("a filter that a holder has removed is noticed, and superd's own removal is not") {
    auto listener = given(loopback(conf::Transport::tcp));
    REQUIRE(listener.set_filter(program(0xffffffff)));
    CHECK(listener.examine().wrong.empty());
    REQUIRE(net::filter::detach(listener.fd()));
    const auto health = listener.examine();
    CHECK(health.filter);
    CHECK(health.wrong == "its filter was changed");
}

TEST_CASE("a socket that cannot be put right is replaced by a new one, with its filter and its waiting clients") {
    auto old = given(loopback(conf::Transport::tcp));
    const sys::Fd holder = sys::Fd(dup(old.fd()));
    const sys::Fd waiting = dial(old);
    REQUIRE(comes(old));
    put(old.fd(), SOL_SOCKET, SO_LOCK_FILTER, 1);
    const auto health = old.examine();
    REQUIRE(health.left);
    CHECK(health.renewable);
    CHECK_FALSE(health.deaf);
    auto next = old.renew(program(0xffffffff));
    REQUIRE(next);
    CHECK(next->address() == old.address());
    CHECK(net::filter_print(next->fd()) != std::uint64_t{0});
    CHECK(old.lead_to(*next) == (geteuid() == 0));
    old.hand_on_to(&*next);
    if (geteuid() == 0) {  // only then may it make the kernel move them
        CHECK(comes(*next));
        CHECK(sys::Fd(accept4(next->fd(), nullptr, nullptr, SOCK_CLOEXEC)));
    }
    for (int i = 0; i < 50; ++i) REQUIRE(takes_clients(*next));
    // The holder of the old one gets none of them any more.
    CHECK((listen(holder.get(), 5) != 0 || sys::Address::of_socket(holder.get()).port() != next->address().port()));
}

TEST_CASE("a datagram socket that was shut down is renewed, and its holder receives nothing") {
    auto old = given(loopback(conf::Transport::udp));
    shutdown(old.fd(), SHUT_RDWR);
    const auto health = old.examine();
    REQUIRE(health.left);
    CHECK(health.wrong == "shut down");
    CHECK(health.deaf);
    auto next = old.renew(std::nullopt);
    REQUIRE(next);
    old.hand_on_to(&*next);
    for (int i = 0; i < 50; ++i) REQUIRE(takes_clients(*next));
}

TEST_CASE("a unix path that was removed or replaced is taken again") {
    const Folder folder;
    auto old = given(folder.socket());
    const std::string path = folder.path + "/sock";
    SECTION("removed") {
        std::filesystem::remove(path);
    }
    SECTION("renamed") {
        std::filesystem::rename(path, path + ".away");
    }
    SECTION("its folder removed") {
        std::filesystem::remove_all(folder.path);
    }
    SECTION("a dead socket in its place") {
        std::filesystem::remove(path);
        const sys::Fd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const auto address = *sys::Address::local(path);
        REQUIRE(bind(dead.get(), address.data(), address.size()) == 0);
    }
    SECTION("shut down, where nobody meets a missing path") {
        shutdown(old.fd(), SHUT_RDWR);
    }
    REQUIRE(old.examine().left);
    auto next = old.renew(std::nullopt);
    REQUIRE(next);
    { auto gone = std::move(old); }
    CHECK(takes_clients(*next));
    CHECK(next->examine().wrong.empty());
}

TEST_CASE("a file in place of a unix path is left alone unless it is a dead socket") {
    const Folder folder;
    auto old = given(folder.socket());
    const std::string path = folder.path + "/sock";
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    CHECK(old.examine().left);
    CHECK(old.renew(std::nullopt).error().code == EISDIR);
    std::filesystem::remove(path);
    std::ofstream(path) << "precious";
    CHECK(old.renew(std::nullopt).error().code == EEXIST);
    CHECK(std::filesystem::file_size(path) == 8);
    std::filesystem::remove(path);
    auto other = net::Listener::open(folder.socket(), {});
    REQUIRE(other);
    CHECK(old.renew(std::nullopt).error().code == EADDRINUSE);
}

TEST_CASE("changes by a reload to a live socket's options are not blamed on a holder") {
    auto listener = given(loopback(conf::Transport::tcp));
    put(listener.fd(), IPPROTO_TCP, TCP_CORK, 1);
    conf::SocketOptions options;
    options.nodelay = true;
    REQUIRE(listener.become(options));
    const auto health = listener.examine();
    CHECK(health.wrong == "TCP_CORK");
    CHECK(listener.examine().wrong.empty());
}

}  // namespace superd::net::health_tests
