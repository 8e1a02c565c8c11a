// SPDX-License-Identifier: MIT
// Filters in the running kernel, with packets over the loopback.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "net/filter.h"
#include "sys/address.h"
#include "sys/fd.h"

namespace superd::net::filter_loopback_tests {

using Sources = std::vector<std::string>;

namespace {

filter::Program program(const Sources& allow, const Sources& deny) {
    conf::Access access;
    for (const auto& text : allow) access.allow.push_back(sys::parse_prefix(text).value());
    for (const auto& text : deny) access.deny.push_back(sys::parse_prefix(text).value());
    return filter::compile(access).value();
}

sys::Fd bound(int type, const std::string& host) {
    const auto address = sys::Address::inet(host, 0).value();
    sys::Fd fd(socket(address.family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int off = 0;
    if (address.family() == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (!fd || bind(fd.get(), address.data(), address.size()) != 0) return {};
    return fd;
}

bool has_ipv6() {
    return static_cast<bool>(bound(SOCK_DGRAM, "::1"));
}

/// A socket under test and what reaches it over the loopback.
class Server {
  public:
    Server(int type, const std::string& host) : type_(type), fd_(bound(type, host)) {
        REQUIRE(fd_);
        if (type == SOCK_STREAM) REQUIRE(listen(fd_.get(), 64) == 0);
    }
    int fd() const { return fd_.get(); }

    /// Sends or connects once from each source, and returns those that came through within 200 ms.
    Sources reached_by(const Sources& sources) const {
        std::vector<sys::Fd> clients;
        for (const auto& source : sources) {
            clients.push_back(bound(type_, source));
            REQUIRE(clients.back());
            const auto to = target(source);
            const int rc = connect(clients.back().get(), to.data(), to.size());
            REQUIRE((rc == 0 || errno == EINPROGRESS));
            if (type_ == SOCK_DGRAM) REQUIRE(send(clients.back().get(), source.data(), source.size(), 0) > 0);
        }
        Sources reached;
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
        while (reached.size() < sources.size() && wait_until(end)) {
            if (type_ == SOCK_DGRAM) {
                char text[64];
                const auto size = recv(fd_.get(), text, sizeof text, 0);
                if (size > 0) reached.emplace_back(text, static_cast<std::size_t>(size));
            } else if (const sys::Fd taken(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)); taken) {
                reached.push_back(sys::Address::of_peer(taken.get()).host());
            }
        }
        std::ranges::sort(reached);
        return reached;
    }

    sys::Address target(const std::string& source) const {
        const auto port = static_cast<std::uint16_t>(sys::Address::of_socket(fd_.get()).port());
        return sys::Address::inet(source.contains(':') ? "::1" : "127.0.0.1", port).value();
    }

  private:
    bool wait_until(std::chrono::steady_clock::time_point end) const {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        pollfd waiting{fd_.get(), POLLIN, 0};
        return poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left, 0))) > 0;
    }

    int type_;
    sys::Fd fd_;
};

}  // namespace

TEST_CASE("a denied source's datagrams and connections never arrive") {
    const int type = GENERATE(SOCK_DGRAM, SOCK_STREAM);
    const Server server(type, "127.0.0.1");
    REQUIRE(filter::attach(server.fd(), program({"127.0.0.0/29", "127.0.1.1"}, {"127.0.0.2", "127.0.0.4/31"})));
    CHECK(server.reached_by({"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.8",
                             "127.0.1.1"}) == Sources{"127.0.0.1", "127.0.0.3", "127.0.0.6", "127.0.1.1"});
}

TEST_CASE("a dual-stack socket tells IPv4 from IPv6 packets") {
    if (!has_ipv6()) {
        WARN("no IPv6 here");
        return;
    }
    const int type = GENERATE(SOCK_DGRAM, SOCK_STREAM);
    const Server server(type, "::");
    const Sources all{"127.0.0.1", "127.0.0.2", "::1"};
    REQUIRE(filter::attach(server.fd(), program({}, {"127.0.0.2"})));
    CHECK(server.reached_by(all) == Sources{"127.0.0.1", "::1"});
    REQUIRE(filter::attach(server.fd(), program({"127.0.0.2"}, {})));
    CHECK(server.reached_by(all) == Sources{"127.0.0.2"});
    REQUIRE(filter::attach(server.fd(), program({"::1"}, {})));
    CHECK(server.reached_by(all) == Sources{"::1"});
    REQUIRE(filter::attach(server.fd(), program({"::/0", "127.0.0.0/30"}, {"::1", "127.0.0.1"})));
    CHECK(server.reached_by(all) == Sources{"127.0.0.2"});
}

TEST_CASE("an IPv6-only socket is filtered") {
    if (!has_ipv6()) {
        WARN("no IPv6 here");
        return;
    }
    const int type = GENERATE(SOCK_DGRAM, SOCK_STREAM);
    const Server server(type, "::1");
    REQUIRE(filter::attach(server.fd(), program({}, {"::/64"})));
    CHECK(server.reached_by({"::1"}).empty());
    REQUIRE(filter::attach(server.fd(), program({"::1"}, {"::/64"})));
    CHECK(server.reached_by({"::1"}) == Sources{"::1"});
}

TEST_CASE("closed times drop everything; without a filter everything passes again") {
    const int type = GENERATE(SOCK_DGRAM, SOCK_STREAM);
    const Server server(type, "127.0.0.1");
    REQUIRE(filter::attach(server.fd(), filter::deny_all()));
    CHECK(server.reached_by({"127.0.0.1", "127.0.0.2"}).empty());
    REQUIRE(filter::detach(server.fd()));
    CHECK(server.reached_by({"127.0.0.1", "127.0.0.2"}) == Sources{"127.0.0.1", "127.0.0.2"});
    CHECK(filter::detach(server.fd()));
    REQUIRE(filter::attach(server.fd(), filter::compile({}).value()));
    CHECK(server.reached_by({"127.0.0.1"}) == Sources{"127.0.0.1"});
}

TEST_CASE("a new filter replaces the old one with no packet between them") {
    const Server server(SOCK_DGRAM, "127.0.0.1");
    const auto one = program({}, {"127.0.0.2", "127.0.0.3"});
    const auto other = program({}, {"127.0.0.2", "127.0.0.4"});
    REQUIRE(filter::attach(server.fd(), one));
    {
        const auto to = server.target("127.0.0.2");
        const auto client = bound(SOCK_DGRAM, "127.0.0.2");
        const std::jthread flood([&](const std::stop_token& stop) {
            while (!stop.stop_requested()) sendto(client.get(), "x", 1, 0, to.data(), to.size());
        });
        for (int i = 0; i < 1000; ++i) REQUIRE(filter::attach(server.fd(), i % 2 == 0 ? other : one));
    }
    CHECK(server.reached_by({"127.0.0.2", "127.0.0.3", "127.0.0.4"}) == Sources{"127.0.0.4"});
}

TEST_CASE("connections outlive a filter that would deny them now") {
    const Server server(SOCK_STREAM, "127.0.0.1");
    REQUIRE(filter::attach(server.fd(), program({"127.0.0.2"}, {})));
    const auto client = bound(SOCK_STREAM, "127.0.0.2");
    const auto to = server.target("127.0.0.2");
    connect(client.get(), to.data(), to.size());
    pollfd ready{client.get(), POLLOUT, 0};
    REQUIRE(poll(&ready, 1, 2000) == 1);
    REQUIRE(filter::attach(server.fd(), filter::deny_all()));
    const sys::Fd taken(accept4(server.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(taken);
    REQUIRE(send(client.get(), "still", 5, 0) == 5);
    pollfd readable{taken.get(), POLLIN, 0};
    CHECK(poll(&readable, 1, 2000) == 1);
}

TEST_CASE("errors name what was tried") {
    const auto attached = filter::attach(-1, filter::deny_all());
    REQUIRE_FALSE(attached);
    CHECK(attached.error().text == "attach a socket filter of 1 instructions: Bad file descriptor");
    const auto detached = filter::detach(-1);
    REQUIRE_FALSE(detached);
    CHECK(detached.error().code == EBADF);
}

}  // namespace superd::net::filter_loopback_tests
