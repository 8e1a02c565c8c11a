// SPDX-License-Identifier: MIT
// [proxy_protocol]: what it means, and where it cannot.
#include "catch.h"
#include "conf/plan.h"
#include "unit/conf/folder.h"

namespace superd::conf::proxy_protocol_tests {

using namespace test;
using namespace std::chrono_literals;

namespace {

const std::string kFrom = "[proxy_protocol]\nfrom = [\"10.0.0.0/8\"]";

std::string listening(const std::string& where, const std::string& model = "fork") {
    return "listen = " + where + "\nmodel = \"" + model + "\"\nexec = [\"handler\"]\n";
}

}  // namespace

TEST_CASE("no header is awaited without [proxy_protocol]; with it, from is what has to be given") {
    CHECK_FALSE(service_of("").proxy_protocol->on);
    CHECK_FALSE(service_of("").proxy_protocol.is_kept());
    const Service plain = service_of(kFrom);
    CHECK(*plain.proxy_protocol == ProxyProtocol{true, ProxyVersions::any, {*sys::parse_prefix("10.0.0.0/8")}, 3s});
    const Service all = service_of(kFrom + "\naccept = \"v2\"\ntimeout = \"1s\"");
    CHECK(*all.proxy_protocol == ProxyProtocol{true, ProxyVersions::v2, {*sys::parse_prefix("10.0.0.0/8")}, 1s});
    for (const char* none : {"[proxy_protocol]", "[proxy_protocol]\nfrom = []"})
        CHECK(errors_of(none).find("[proxy_protocol] needs from, the addresses of the proxies") != std::string::npos);
    CHECK(errors_of("[proxy_protocol]\naccept = \"v3\"\nfrom = \"::1\"").find("not one of v1, v2, any") !=
          std::string::npos);
}

TEST_CASE("on unix sockets there is no from") {
    CHECK(errors_in(listening("\"unix://@x\"") + "[proxy_protocol]\n").empty());
    CHECK(errors_in(listening("\"unix://@x\"") + kFrom + "\n").find("proxy_protocol.from does not apply") !=
          std::string::npos);
    CHECK(errors_in(listening("[\"unix://@x\", \"tcp://127.0.0.1:7\"]") + kFrom + "\n").empty());
    CHECK_FALSE(errors_in(listening("[\"unix://@x\", \"tcp://127.0.0.1:7\"]") + "[proxy_protocol]\n").empty());
    CHECK(errors_in(listening("\"systemd:web\"") + "[proxy_protocol]\n").empty());
    // The clients that are named have addresses.
    CHECK(errors_in(listening("\"unix://@x\"") + "[proxy_protocol]\n[access]\ndeny = \"10.0.0.0/8\"\n").empty());
}

TEST_CASE("[proxy_protocol] is an error for datagrams, on vsock, under handoff listen, and with on_deny drop") {
    const std::string section = kFrom + "\n";
    CHECK(errors_in(listening("\"udp://127.0.0.1:7\"") + section)
              .find("[proxy_protocol] does not apply to datagram sockets") != std::string::npos);
    CHECK(errors_in(listening("\"unix-seqpacket://@x\"") + section)
              .find("[proxy_protocol] does not apply to seqpacket sockets") != std::string::npos);
    CHECK(errors_in(listening("\"vsock://*:7\"") + section).find("[proxy_protocol] does not apply to vsock") !=
          std::string::npos);
    CHECK(errors_in(listening("\"tcp://127.0.0.1:7\"", "prefork") + "handoff = \"listen\"\n" + section)
              .find("[proxy_protocol] cannot be taken off: under handoff \"listen\"") != std::string::npos);
    CHECK(errors_of(kFrom + "\n[access]\non_deny = \"drop\"\ndeny = \"10.1.0.0/16\"")
              .find("access.on_deny \"drop\" does not go with [proxy_protocol]") != std::string::npos);
    CHECK(service_of(kFrom + "\n[access]\non_deny = \"reset\"").access->on_deny == Denial::reset);
}

TEST_CASE("what an inherited socket turns out to be is judged when it is known") {
    Service service;
    service.proxy_protocol->on = true;
    CHECK_FALSE(cannot_take_header(service, SocketType::stream, AF_UNIX));
    CHECK(cannot_take_header(service, SocketType::stream, AF_INET));
    CHECK(cannot_take_header(service, SocketType::stream, AF_VSOCK));
    CHECK(cannot_take_header(service, SocketType::datagram, AF_UNIX));
    service.proxy_protocol->from = {*sys::parse_prefix("::1")};
    CHECK_FALSE(cannot_take_header(service, SocketType::stream, AF_INET6));
    CHECK(cannot_take_header(service, SocketType::datagram, AF_INET6));
    service.proxy_protocol->on = false;
    CHECK_FALSE(cannot_take_header(service, SocketType::datagram, AF_INET6));
}

TEST_CASE("a plan tells of a [proxy_protocol] that comes or goes") {
    const auto keys = [](const Service& before, const Service& after) {
        Catalog a, b;
        a.services["a"] = before;
        b.services["a"] = after;
        for (const auto& item : plan(a, b)) return item.keys;
        return std::vector<std::string>();
    };
    const Service without = service_of("");
    Service with = service_of(kFrom);
    with.handler = without.handler;  // each has its own folder
    CHECK(keys(without, with) == std::vector<std::string>{"proxy_protocol.accept", "proxy_protocol.from"});
}

}  // namespace superd::conf::proxy_protocol_tests
