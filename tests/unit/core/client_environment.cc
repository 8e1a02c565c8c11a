// SPDX-License-Identifier: MIT
#include "core/client_environment.h"

#include <set>

#include "catch.h"

using namespace superd;

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
