// SPDX-License-Identifier: MIT
#include "net/accepted.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "catch.h"
#include "sys/fd.h"

namespace superd::net::accepted_tests {

namespace {

ino_t inode_of(const sys::Fd& fd) {
    struct stat about {};
    REQUIRE(fstat(fd.get(), &about) == 0);
    return about.st_ino;
}

/// A listening socket, a client of it, and the connection that was accepted.
struct Served {
    explicit Served(const sys::Address& address, int type = SOCK_STREAM)
        : listener(socket(address.family(), type, 0)), client(socket(address.family(), type, 0)) {
        REQUIRE(bind(listener.get(), address.data(), address.size()) == 0);
        REQUIRE(listen(listener.get(), 8) == 0);
        where = sys::Address::of_socket(listener.get());
        REQUIRE(connect(client.get(), where.data(), where.size()) == 0);
        connection = sys::Fd(accept(listener.get(), nullptr, nullptr));
        REQUIRE(connection);
    }
    sys::Fd listener, client, connection;
    sys::Address where;
};

bool is_client(const sys::Address& where, const sys::Fd& fd, conf::SocketType type = conf::SocketType::stream) {
    return net::any_accepted(where, type, {inode_of(fd)});
}

}  // namespace

TEST_CASE("a TCP socket is a client if it was accepted at the port") {
    for (const char* host : {"127.0.0.1", "::1"}) {
        const auto address = sys::Address::inet(host, 0);
        if (const sys::Fd probe(socket(address->family(), SOCK_STREAM, 0));
            !probe || bind(probe.get(), address->data(), address->size()) != 0)
            continue;  // no IPv6 here
        const Served own(*address), other(*address);
        CHECK(is_client(own.where, own.connection));
        CHECK_FALSE(is_client(own.where, own.client));
        CHECK_FALSE(is_client(own.where, own.listener));
        CHECK_FALSE(is_client(own.where, other.connection));
        CHECK_FALSE(net::any_accepted(own.where, conf::SocketType::stream, {}));
        CHECK(net::any_accepted(own.where, conf::SocketType::stream,
                                {inode_of(other.client), inode_of(own.connection), inode_of(own.listener)}));
    }
}

TEST_CASE("a client that has sent or received end-of-file is still a client") {
    Served served(*sys::Address::inet("127.0.0.1", 0));
    shutdown(served.client.get(), SHUT_WR);
    CHECK(is_client(served.where, served.connection));
    served.client.reset();
    CHECK(is_client(served.where, served.connection));
}

TEST_CASE("an IPv4 client of a dual-stack socket is found") {
    const sys::Fd listener(socket(AF_INET6, SOCK_STREAM, 0));
    const auto any = sys::Address::inet("::", 0);
    const int off = 0;
    setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (!listener || bind(listener.get(), any->data(), any->size()) != 0) return;  // no IPv6 here
    REQUIRE(listen(listener.get(), 8) == 0);
    const auto where = sys::Address::of_socket(listener.get());
    const auto to = sys::Address::inet("127.0.0.1", static_cast<std::uint16_t>(where.port()));
    const sys::Fd client(socket(AF_INET, SOCK_STREAM, 0));
    REQUIRE(connect(client.get(), to->data(), to->size()) == 0);
    const sys::Fd connection(accept(listener.get(), nullptr, nullptr));
    CHECK(is_client(where, connection));
    CHECK_FALSE(is_client(where, client));
}

TEST_CASE("a unix socket is a client if it has the listener's name") {
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
        const std::string name = "@superd-unit-accepted-" + std::to_string(getpid()) + "-" + std::to_string(type);
        const Served own(*sys::Address::local(name), type), other(*sys::Address::local(name + "x"), type);
        const auto kind = type == SOCK_STREAM ? conf::SocketType::stream : conf::SocketType::seqpacket;
        CHECK(is_client(own.where, own.connection, kind));
        CHECK_FALSE(is_client(own.where, own.client, kind));
        CHECK_FALSE(is_client(own.where, other.connection, kind));
        const Served tcp(*sys::Address::inet("127.0.0.1", 0));
        CHECK_FALSE(is_client(own.where, tcp.connection, kind));
        CHECK_FALSE(is_client(tcp.where, own.connection));
    }
}

TEST_CASE("an unknown socket counts as a client") {
    const auto where = *sys::Address::inet("127.0.0.1", 99);
    const sys::Fd udp(socket(AF_INET, SOCK_DGRAM, 0));
    CHECK(is_client(where, udp, conf::SocketType::datagram));
    CHECK(is_client(sys::Address::vsock(2, 99), udp));
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const sys::Fd one(ends[0]), two(ends[1]);
    CHECK_FALSE(is_client(where, one, conf::SocketType::datagram));
    CHECK_FALSE(is_client(sys::Address::vsock(2, 99), one));
}

}  // namespace superd::net::accepted_tests
