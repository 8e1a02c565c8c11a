// SPDX-License-Identifier: MIT
#include "core/client_environment.h"

#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include "catch.h"

namespace superd::core::client_environment_tests {

namespace {

std::set<std::string> variables_of(const model::Client& client) {
    auto environment = core::client_environment(client);
    std::set<std::string> all;
    for (std::size_t i = 0; i < environment.size(); ++i) all.insert(environment.at(i));
    return all;
}

}  // namespace

TEST_CASE("a handler learns the kind of its client from that alone, and what was learned on the client's way") {
    model::Client client;
    client.peer = *sys::Address::inet("192.0.2.1", 99);
    client.local = *sys::Address::inet("192.0.2.2", 7);
    auto all = variables_of(client);
    CHECK(all.contains("PROTO=TCP"));
    CHECK(all.contains("TCPREMOTEPORT=99"));
    CHECK_FALSE(all.contains("A=b"));
    const auto before = all.size();
    client.variables.set("A", "b");
    all = variables_of(client);
    CHECK(all.contains("A=b"));
    CHECK(all.size() == before + 1);
    client.kind = model::Client::Kind::datagram;
    all = variables_of(client);
    CHECK(all.contains("PROTO=UDP"));
    CHECK(all.contains("UDPREMOTEIP=192.0.2.1"));
}

TEST_CASE("of a client that was introduced, the connection says nothing") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const sys::Fd other(ends[1]);
    model::Client client;
    client.connection = sys::Fd(ends[0]);
    client.local = *sys::Address::local("/run/x");
    const std::string own = "UNIXREMOTEEUID=" + std::to_string(geteuid());
    CHECK(variables_of(client).contains(own));
    client.introduction.emplace();
    CHECK_FALSE(variables_of(client).contains(own));
    CHECK(variables_of(client).contains("UNIXLOCALPATH=/run/x"));
    client.introduction->credentials.emplace(1, 4242, 2);
    CHECK(variables_of(client).contains("UNIXREMOTEEUID=4242"));
    client.local = *sys::Address::inet("192.0.2.2", 7);
    client.peer = *sys::Address::inet("192.0.2.1", 99);
    CHECK(variables_of(client).contains("TCPREMOTEIP=192.0.2.1"));
}

TEST_CASE("variables are the same after they have been written down") {
    proc::Environment before;
    before.set("A", "b");
    before.set("EMPTY", "");
    before.set("C", "d=e");
    auto after = proc::Environment::of(before.block());
    REQUIRE(after.size() == 3);
    CHECK(after.block() == before.block());
    CHECK(std::string(after.at(2)) == "C=d=e");
    CHECK(proc::Environment::of("").size() == 0);
    CHECK(std::string(proc::Environment::of("A=b").at(0)) == "A=b");
}

TEST_CASE("a value ends at a NUL, and adds no variable") {
    proc::Environment environment;
    environment.set("A", std::string_view("b\0LD_PRELOAD=x", 14));
    environment.set("C", "d");
    CHECK(environment.size() == 2);
    CHECK(environment.block() == std::string("A=b\0C=d\0", 8));
}

}  // namespace superd::core::client_environment_tests
