// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include <linux/vm_sockets.h>

#include "conf/listen.h"
#include "unit/conf/folder.h"

namespace superd::conf::addresses_tests {

using namespace test;

namespace {

superd::sys::Names names;

superd::Result<Listen> parse_listen(std::string_view uri) {
    return superd::conf::parse_listen(uri, names);
}

std::string canonical(const std::string& uri) {
    const auto listen = parse_listen(uri);
    return listen ? listen->uri() : "error: " + listen.error().text;
}

Overlap met(const std::string& a, const std::string& b, const SocketOptions& a_options = {},
            const SocketOptions& b_options = {}) {
    const Overlap forth = overlap(*parse_listen(a), a_options, *parse_listen(b), b_options);
    CHECK(forth == overlap(*parse_listen(b), b_options, *parse_listen(a), a_options));
    return forth;
}

std::string definition(const std::string& listen, const std::string& more = "") {
    return "listen = \"" + listen + "\"\nmodel = \"fork\"\nexec = [\"handler\"]\n" + more;
}

}  // namespace

TEST_CASE("addresses have one canonical form") {
    CHECK(canonical("tcp://127.0.0.1:7007") == "tcp://127.0.0.1:7007");
    CHECK(canonical("tcp://127.0.0.1:0007") == "tcp://127.0.0.1:7");
    CHECK(canonical("tcp://[0:0:0:0:0:0:0:1]:7") == "tcp://[::1]:7");
    CHECK(canonical("tcp://[FE80::A%eth0]:7") == "tcp://[fe80::a%eth0]:7");
    CHECK(canonical("udp://*:0") == "udp://*:0");
    CHECK(canonical("unix:///run//x/./y") == "unix:///run/x/y");
    CHECK(canonical("unix://@name") == "unix://@name");
    CHECK(canonical("unix-dgram:///run/x") == "unix-dgram:///run/x");
    CHECK(canonical("unix-seqpacket://@x y") == "unix-seqpacket://@x y");
    CHECK(canonical("vsock://2:99") == "vsock://2:99");
    CHECK(canonical("vsock://*:4294967295") == "vsock://*:4294967295");
    CHECK(canonical("systemd:web") == "systemd:web");
}

TEST_CASE("a port may be a name from the services database") {
    const auto http = superd::sys::find_port("http", "tcp");
    REQUIRE(http);
    if (!*http) return;  // no /etc/services here
    CHECK(canonical("tcp://*:http") == "tcp://*:80");
}

TEST_CASE("each form says what it stands for") {
    const auto vsock = parse_listen("vsock://*:5");
    REQUIRE(vsock);
    CHECK(vsock->cid == VMADDR_CID_ANY);
    CHECK(vsock->socket_type() == SocketType::stream);
    CHECK(parse_listen("udp://*:5")->socket_type() == SocketType::datagram);
    CHECK(parse_listen("unix-dgram://@x")->socket_type() == SocketType::datagram);
    CHECK(parse_listen("unix-seqpacket://@x")->socket_type() == SocketType::seqpacket);
    CHECK(parse_listen("systemd:x")->socket_type() == std::nullopt);
}

TEST_CASE("an impossible address is refused with the reason") {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"tcp://127.0.0.1", "has no port: write ADDRESS:PORT"},
        {"tcp://127.0.0.1:", "has no port: write a number, a service name, or 0 for any free one"},
        {"tcp://127.0.0.1:65536", "port 65536 is out of range 0 to 65535"},
        {"tcp://127.0.0.1:99999999999", "port 99999999999 is out of range 0 to 65535"},
        {"tcp://127.0.0.1:-1", "port \"-1\" is not a number, nor in the services database for tcp"},
        {"udp://127.0.0.1:no-such", "port \"no-such\" is not a number, nor in the services database for udp"},
        {"tcp://:80", "has no address before the port: write \"*\" for all of them"},
        {"tcp://localhost:80", "\"localhost\" is neither an IP address nor \"*\""},
        {"tcp://127.1:80", "\"127.1\" is neither an IP address nor \"*\""},
        {"tcp://::1:80", "has an IPv6 address without brackets: write [::1]:80"},
        {"tcp://[::1]", "has no port: write ADDRESS:PORT"},
        {"tcp://[::1]x:80", "must have a \":\" and the port right after the \"]\""},
        {"tcp://[::1:80", "has a \"[\" without its \"]\""},
        {"tcp://[::g]:80", "\"::g\" is not an IPv6 address"},
        {"tcp://[fe80::1%]:80", "an interface name must follow the \"%\""},
        {"tcp://[::ffff:1.2.3.4]:80", "an IPv4 address in IPv6 form: write 1.2.3.4"},
        {"unix://run/x", "must be an absolute path, such as unix:///run/name, or \"@\" and a name"},
        {"unix://", "must be an absolute path, such as unix:///run/name, or \"@\" and a name"},
        {"unix:///run/", "is the path of a folder, not of a socket"},
        {"unix://@", "has no name after the \"@\""},
        {"vsock://x:1", "must be vsock://CID:PORT: two numbers, or \"*\" for any CID"},
        {"vsock://2", "must be vsock://CID:PORT: two numbers, or \"*\" for any CID"},
        {"vsock://4294967296:1", "must be vsock://CID:PORT: two numbers, or \"*\" for any CID"},
        {"systemd:", "must name a socket as its FileDescriptorName= does: 1 to 255 characters, no colon"},
        {"systemd:a:b", "must name a socket as its FileDescriptorName= does: 1 to 255 characters, no colon"},
        {"tpc://*:1",
         "must begin with one of tcp://, udp://, unix://, unix-dgram://, unix-seqpacket://, vsock://, systemd: (did "
         "you mean \"tcp://\"?)"},
        {"", "must begin with one of tcp://, udp://, unix://, unix-dgram://, unix-seqpacket://, vsock://, systemd:"}};
    for (const auto& [uri, reason] : cases) CHECK(canonical(uri) == "error: " + reason);
}

TEST_CASE("a unix path must fit the kernel's structure") {
    CHECK(parse_listen("unix:///" + std::string(106, 'x')));
    CHECK_FALSE(parse_listen("unix:///" + std::string(107, 'x')));
    CHECK(parse_listen("unix://@" + std::string(107, 'x')));
    CHECK_FALSE(parse_listen("unix://@" + std::string(108, 'x')));
}

TEST_CASE("addresses that the kernel would not bind side by side overlap") {
    CHECK(met("tcp://127.0.0.1:7", "tcp://127.0.0.1:7") == Overlap::same);
    CHECK(met("tcp://127.0.0.1:7", "tcp://127.0.0.1:8") == Overlap::none);
    CHECK(met("tcp://127.0.0.1:7", "udp://127.0.0.1:7") == Overlap::none);
    CHECK(met("tcp://127.0.0.1:0", "tcp://127.0.0.1:0") == Overlap::none);
    CHECK(met("tcp://*:7", "tcp://127.0.0.1:7") == Overlap::partial);
    CHECK(met("tcp://*:7", "tcp://[::1]:7") == Overlap::partial);
    CHECK(met("tcp://*:7", "tcp://0.0.0.0:7") == Overlap::partial);
    CHECK(met("tcp://0.0.0.0:7", "tcp://10.0.0.1:7") == Overlap::partial);
    CHECK(met("tcp://0.0.0.0:7", "tcp://[::1]:7") == Overlap::none);
    CHECK(met("tcp://0.0.0.0:7", "tcp://[::]:7") == Overlap::none);
    CHECK(met("tcp://[::]:7", "tcp://[::1]:7") == Overlap::partial);
    CHECK(met("tcp://127.0.0.1:7", "tcp://[::1]:7") == Overlap::none);
    CHECK(met("unix:///run/x", "unix-dgram:///run/x") == Overlap::same);
    CHECK(met("unix://@x", "unix-dgram://@x") == Overlap::none);
    CHECK(met("unix://@x", "unix://@x") == Overlap::same);
    CHECK(met("vsock://2:7", "vsock://2:7") == Overlap::same);
    CHECK(met("vsock://2:7", "vsock://3:7") == Overlap::none);
    CHECK(met("systemd:x", "systemd:x") == Overlap::same);
    SocketOptions both_families, only_ipv6, eth0, eth1;
    both_families.v6only = false;
    only_ipv6.v6only = true;
    eth0.bind_to_device = "eth0";
    eth1.bind_to_device = "eth1";
    CHECK(met("tcp://[::]:7", "tcp://0.0.0.0:7", both_families) == Overlap::partial);
    CHECK(met("tcp://*:7", "tcp://0.0.0.0:7", only_ipv6) == Overlap::none);
    CHECK(met("tcp://*:7", "tcp://*:7", eth0, eth1) == Overlap::none);
    CHECK(met("tcp://*:7", "tcp://*:7", eth0, {}) == Overlap::same);
}

TEST_CASE("each wrong address in a list is reported at its own place, and only once") {
    CHECK(errors_in("listen = [\"tcp://127.0.0.1:1\", \"tcp://x:1\",\n  \"udp:/\"]\nmodel = \"delayed\"\nhandoff = "
                    "\"listen\"\nexec = [\"handler\"]\n") ==
          "1:32: listen \"tcp://x:1\": \"x\" is neither an IP address nor \"*\"\n"
          "2:3: listen \"udp:/\": must begin with one of tcp://, udp://, unix://, unix-dgram://, unix-seqpacket://, "
          "vsock://, systemd: "
          "(did you mean \"udp://\"?)\n");
    CHECK(errors_in("listen = []\nmodel = \"fork\"\nexec = [\"handler\"]\n") ==
          "1:10: listen is empty: a service needs an address\n");
    CHECK(errors_in("listen = 7\nmodel = \"fork\"\nexec = [\"handler\"]\n") ==
          "1:10: listen: expected a string or an array of strings, found an integer\n");
    CHECK(errors_in("listen = [\"tcp://*:1\", \"unix:///a\\u0000b\"]\nmodel = \"fork\"\nexec = [\"handler\"]\n") ==
          "1:24: listen contains a NUL byte\n");
}

TEST_CASE("all sockets of one service are of one type, and none is given twice") {
    const std::string rest = "\nmodel = \"fork\"\nexec = [\"handler\"]\n";
    CHECK(errors_in("listen = [\"tcp://*:1\", \"udp://*:1\"]" + rest) ==
          "1:24: listen \"udp://*:1\": a datagram socket, but tcp://*:1 is a stream socket: all sockets of a service "
          "must "
          "have the same type\n");
    CHECK(errors_in("listen = [\"tcp://*:1\", \"unix:///x\", \"systemd:x\"]" + rest).empty());
    CHECK(errors_in("listen = [\"tcp://[::1]:1\", \"tcp://[0::1]:1\"]" + rest) ==
          "1:28: listen \"tcp://[0::1]:1\": given twice\n");
    CHECK(errors_in("listen = [\"tcp://*:1\", \"tcp://[::1]:1\"]" + rest) ==
          "1:24: listen \"tcp://[::1]:1\": overlaps tcp://*:1\n");
    CHECK(errors_in("listen = [\"tcp://*:1\", \"tcp://[::1]:1\"]" + rest + "socket.reuse_port = true\n").empty());
    CHECK(errors_in("listen = [\"tcp://*:0\", \"tcp://*:0\"]" + rest).empty());
}

TEST_CASE("two services on one address are an error that names the other") {
    const Folder folder;
    folder.define("a", "\n" + definition("tcp://[::1]:7"));
    folder.define("b", definition("tcp://[0::1]:7"));
    CHECK(folder.errors() ==
          "conf.d/b.toml:1:10: listen \"tcp://[0::1]:7\": already taken by service \"a\" (conf.d/a.toml:2)\n");
    folder.define("b", definition("tcp://*:7"));
    CHECK(folder.errors() ==
          "conf.d/b.toml:1:10: listen \"tcp://*:7\": overlaps tcp://[::1]:7 of service \"a\" (conf.d/a.toml:2): both "
          "would need socket.reuse_port\n");
    folder.define("b", definition("tcp://*:7", "socket.reuse_port = true\n"));
    CHECK_FALSE(folder.errors().empty());
    folder.define("a", definition("tcp://[::1]:7", "socket.reuse_port = true\n"));
    CHECK(folder.errors().empty());
    folder.define("b", definition("tcp://[::1]:7", "enabled = false\n"));
    CHECK(folder.errors().empty());
}

TEST_CASE("a multicast group takes no streams, and a link-local address names its link") {
    const auto why = [](const std::string& uri, const std::string& device = "") {
        SocketOptions options;
        options.bind_to_device = device;
        return cannot_bind(*parse_listen(uri), options).value_or("");
    };
    CHECK(why("tcp://239.1.2.3:7").find("multicast") != std::string::npos);
    CHECK(why("tcp://[ff05::1]:7").find("multicast") != std::string::npos);
    CHECK(why("udp://239.1.2.3:7").empty());
    CHECK(why("udp://[ff05::1]:7").empty());
    for (const char* host : {"fe80::1", "febf::1", "ff02::fb", "ff01::1"}) {
        CHECK(why(std::string("udp://[") + host + "]:7").find("[" + std::string(host) + "%eth0]") != std::string::npos);
        CHECK(why(std::string("udp://[") + host + "%eth0]:7").empty());
        CHECK(why(std::string("udp://[") + host + "]:7", "eth0").empty());
    }
    CHECK(why("tcp://[fec0::1]:7").empty());
    CHECK(why("tcp://169.254.1.1:7").empty());
    CHECK(why("unix:///run/fe80::1").empty());

    CHECK(errors_in(definition("tcp://[fe80::1]:7")).find("name its interface") != std::string::npos);
    CHECK(errors_in(definition("tcp://[fe80::1]:7", "[socket]\nbind_to_device = \"eth0\"\n")).empty());
}

}  // namespace superd::conf::addresses_tests
