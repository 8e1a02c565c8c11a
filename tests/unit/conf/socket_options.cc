// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "unit/conf/folder.h"

namespace superd::conf::socket_options_tests {

using namespace test;
using namespace std::chrono_literals;

namespace {

/// A definition on these addresses, as TOML, with [socket] open from line 5 on.
std::string on(const std::string& listen, const std::string& text, const std::string& model = "fork") {
    return "listen = [" + listen + "]\nmodel = \"" + model + "\"\nexec = [\"handler\"]\n[socket]\n" + text + "\n";
}

std::string errors_on(const std::string& listen, const std::string& text) {
    return errors_in(on(listen, text));
}

SocketOptions socket_on(const std::string& listen, const std::string& text) {
    return service_in(on(listen, text)).socket;
}

Surroundings unprivileged(const Folder& folder) {
    Surroundings from = folder.surroundings();
    from.uid = geteuid() != 0 ? geteuid() : 4242;
    from.gid = geteuid() != 0 ? getegid() : 4242;
    return from;
}

const std::string tcp_keys =
    "nodelay = true\nkeepalive = true\nkeepalive_time = \"9s\"\nkeepalive_interval = \"1s\"\nkeepalive_probes = 3\n"
    "defer_accept = \"5s\"";
const std::string ip_keys = "freebind = true\nbind_to_device = \"lo\"\ntos = 16\nreuse_port = true\nv6only = true";
const std::string path_keys = "mode = \"0600\"\nuser = \"root\"\ngroup = \"7\"";

}  // namespace

TEST_CASE("TCP options need a TCP socket, or an inherited one that may be TCP") {
    const std::string why = " does not apply: the service listens on no TCP socket\n";
    const std::string all = "5:11: socket.nodelay" + why + "6:13: socket.keepalive" + why +
                            "7:18: socket.keepalive_time" + why + "8:22: socket.keepalive_interval" + why +
                            "9:20: socket.keepalive_probes" + why + "10:16: socket.defer_accept" + why;
    for (const char* listen :
         {"'udp://*:1'", "'unix://@x'", "'unix-seqpacket://@x'", "'vsock://*:1'", "'udp://*:1', 'systemd:x'"}) {
        INFO(listen);
        CHECK(errors_on(listen, tcp_keys) == all);
        CHECK(errors_on(listen, "nodelay = false\nkeepalive = false").empty());
    }
    for (const char* listen : {"'tcp://*:1'", "'unix://@x', 'tcp://*:1'", "'systemd:x'", "'unix://@x', 'systemd:x'"}) {
        INFO(listen);
        CHECK(errors_on(listen, tcp_keys).empty());
    }
}

TEST_CASE("a backlog needs connections") {
    CHECK(errors_on("'udp://*:1', 'udp://*:2'", "backlog = 9") ==
          "5:11: socket.backlog does not apply: a datagram socket has no connections that could wait\n");
    CHECK(errors_on("'unix-dgram://@x'", "backlog = 9").starts_with("5:11: socket.backlog does not apply"));
    CHECK(errors_on("'unix-seqpacket://@x'", "backlog = 9").empty());
    CHECK(errors_on("'systemd:x'", "backlog = 9").empty());
}

TEST_CASE("IP options need an IP address") {
    const std::string why = " does not apply: the service listens on no IP address\n";
    for (const char* listen : {"'unix://@x'", "'unix-dgram:///run/x'", "'vsock://*:1'", "'unix://@x', 'vsock://*:1'"}) {
        INFO(listen);
        CHECK(errors_on(listen, ip_keys) ==
              "5:12: socket.freebind" + why + "6:18: socket.bind_to_device" + why + "7:7: socket.tos" + why +
                  "8:14: socket.reuse_port" + why +
                  "9:10: socket.v6only does not apply: the service listens on no IPv6 address, nor on \"*\"\n");
        CHECK(errors_on(listen, "freebind = false\nreuse_port = false").empty());
    }
    for (const char* listen : {"'tcp://*:1'", "'udp://[::1]:1'", "'unix://@x', 'tcp://[::]:1'", "'systemd:x'"}) {
        INFO(listen);
        CHECK(errors_on(listen, ip_keys).empty());
    }
}

TEST_CASE("v6only needs IPv6, and a port on vsock is never shared") {
    CHECK(errors_on("'tcp://0.0.0.0:1', 'tcp://127.0.0.1:2'", "v6only = false") ==
          "5:10: socket.v6only does not apply: the service listens on no IPv6 address, nor on \"*\"\n");
    CHECK(errors_on("'tcp://0.0.0.0:1', 'tcp://[::]:1'", "v6only = true").empty());
    CHECK(errors_on("'tcp://*:1', 'vsock://*:1'", "reuse_port = true") ==
          "5:14: socket.reuse_port does not apply: vsock ports cannot be shared\n");
}

TEST_CASE("what only TCP or only UDP has needs such a socket") {
    const std::string no_tcp = " does not apply: the service listens on no TCP socket\n";
    CHECK(errors_on("'udp://*:1'", "congestion = \"reno\"\nfast_open = 9\nmptcp = true") ==
          "5:14: socket.congestion" + no_tcp + "6:13: socket.fast_open" + no_tcp +
              "7:9: socket.mptcp does not apply: superd opens no TCP socket for the service\n");
    CHECK(errors_on("'systemd:x'", "mptcp = true").starts_with("5:9: socket.mptcp does not apply"));
    CHECK(errors_on("'systemd:x'", "transparent = true").starts_with("5:15: socket.transparent does not apply"));
    const std::string no_udp = " does not apply: the service listens on no UDP socket\n";
    CHECK(errors_on("'tcp://*:1'", "broadcast = true\nmulticast = \"239.1.2.3\"") ==
          "5:13: socket.broadcast" + no_udp + "6:13: socket.multicast" + no_udp);
    CHECK(errors_on("'unix://@x'", "ttl = 3") ==
          "5:7: socket.ttl does not apply: the service listens on no IP address\n");
    CHECK(errors_on("'tcp://*:1'", "mptcp = false\nbroadcast = false\ntransparent = false").empty());
    const SocketOptions socket =
        socket_on("'tcp://*:1'", "congestion = \"reno\"\nttl = 9\ntransparent = true\nmptcp = false");
    CHECK(socket.congestion == "reno");
    CHECK(socket.ttl == 9);
    CHECK(socket.transparent);
    CHECK(errors_on("'tcp://*:1'", "ttl = 0\nfast_open = 0").starts_with("5:7: socket.ttl 0 is out of range"));
}

TEST_CASE("mptcp goes with neither a ttl nor a socket filter") {
    CHECK(errors_on("'tcp://*:1'", "ttl = 9\nmptcp = true") ==
          "5:7: socket.ttl cannot be had with mptcp: the kernel does not let such a socket have one\n");
    const std::string why =
        "5:9: socket.mptcp cannot be had with [access] under handoff = \"listen\" or on_deny = \"drop\": there a "
        "socket "
        "filter enforces it, which Multipath TCP does not have\n";
    CHECK(errors_on("'tcp://*:1'", "mptcp = true\n[access]\ndeny = \"10.0.0.0/8\"\non_deny = \"drop\"") == why);
    CHECK(errors_on("'tcp://*:1'", "mptcp = true\n[access]\ndeny = \"10.0.0.0/8\"").empty());
}

TEST_CASE("a congestion control that the kernel does not have is an error of this machine") {
    CHECK(errors_on("'tcp://*:1'", "congestion = \"no-such\"") ==
          "5:14: socket.congestion \"no-such\": this kernel has none of that name; "
          "net.ipv4.tcp_available_congestion_control lists those that it has\n");
}

TEST_CASE("groups are addresses of groups, with an interface if need be, and need a socket that receives from them") {
    const SocketOptions socket =
        socket_on("'udp://*:1'", "multicast = [\"239.1.2.3\", \"FF02:0::1%eth0\", \"239.1.2.3\", \"224.0.0.251%lo\"]");
    CHECK(socket.multicast == std::vector<std::string>{"239.1.2.3", "ff02::1%eth0", "224.0.0.251%lo"});
    for (const char* wrong : {"10.0.0.1", "::1", "x", "", "239.1.2.3%", "239.1.2.3%a-name-that-is-too-long"}) {
        INFO(wrong);
        CHECK(errors_on("'udp://*:1'", "multicast = \"" + std::string(wrong) + "\"") ==
              "5:13: socket.multicast \"" + std::string(wrong) +
                  "\": not the address of a group, such as \"239.1.2.3\" or \"ff02::1%eth0\"\n");
    }
    const std::string why =
        ": only a socket on \"*\", or on no other address of this kind, receives what is sent to a group\n";
    CHECK(errors_on("'udp://127.0.0.1:1'", "multicast = \"239.1.2.3\"") ==
          "5:13: socket.multicast \"239.1.2.3\"" + why);
    CHECK(errors_on("'udp://0.0.0.0:1'", "multicast = \"ff02::1\"") == "5:13: socket.multicast \"ff02::1\"" + why);
    CHECK(errors_on("'udp://[::]:1'", "multicast = \"239.1.2.3\"") == "5:13: socket.multicast \"239.1.2.3\"" + why);
    CHECK(errors_on("'udp://[::]:1'", "multicast = \"ff02::1\"").empty());
    CHECK(errors_on("'udp://0.0.0.0:1'", "multicast = \"239.1.2.3\"").empty());
    CHECK(errors_on("'systemd:x'", "multicast = \"239.1.2.3\"").empty());
}

TEST_CASE("owner and permissions need a path in the file system") {
    const std::string why = " does not apply: the service listens on no unix path in the file system\n";
    for (const char* listen : {"'tcp://*:1'", "'unix://@x'", "'vsock://*:1'", "'systemd:x'"}) {
        INFO(listen);
        CHECK(errors_on(listen, path_keys) ==
              "5:8: socket.mode" + why + "6:8: socket.user" + why + "7:9: socket.group" + why);
    }
    const SocketOptions socket = socket_on("'unix://@x', 'unix:///run/x'", path_keys);
    CHECK(socket.mode == 0600U);
    CHECK(socket.user == 0U);
    CHECK(socket.group == 7U);
    // One mistake is reported once.
    CHECK(errors_on("'tcp://*:1'", "user = \"no-such-user\"") == "5:8: socket.user \"no-such-user\": no such user\n");
}

TEST_CASE("keepalive's times need keepalive") {
    const std::string times = "keepalive_time = \"9s\"\nkeepalive_interval = \"1s\"\nkeepalive_probes = 3";
    const std::string why = " needs keepalive = true\n";
    CHECK(errors_on("'tcp://*:1'", times) == "5:18: socket.keepalive_time" + why + "6:22: socket.keepalive_interval" +
                                                 why + "7:20: socket.keepalive_probes" + why);
    CHECK(errors_on("'tcp://*:1'", "keepalive = false\nkeepalive_probes = 3") == "6:20: socket.keepalive_probes" + why);
    CHECK(errors_on("'tcp://*:1'", "keepalive = 1\nkeepalive_probes = 3") ==
          "5:13: socket.keepalive: expected true or false, found an integer\n");
}

TEST_CASE("a default for [socket] applies to the services that can use it, and not to others") {
    const Folder folder;
    folder.write("superd.toml", "[defaults.socket]\nbacklog = 9\nsend_buffer = \"64K\"\n" + tcp_keys + "\n" + ip_keys +
                                    "\n" + path_keys + "\n");
    folder.define("tcp", on("'tcp://*:1'", ""));
    folder.define("quiet", on("'tcp://127.0.0.1:2'", "keepalive = false"));
    folder.define("udp", on("'udp://[::]:1'", ""));
    folder.define("unix", on("'unix:///run/x'", ""));
    folder.define("vsock", on("'vsock://*:1'", ""));
    REQUIRE(folder.errors().empty());
    const auto services = folder.services();
    SocketOptions expected;
    expected.send_buffer = 65536;
    expected.backlog = 9;
    CHECK(services.at("vsock").socket == expected);
    expected.mode = 0600;
    expected.user = 0;
    expected.group = 7;
    CHECK(services.at("unix").socket == expected);
    expected = {};
    expected.send_buffer = 65536;
    expected.freebind = expected.reuse_port = true;
    expected.bind_to_device = "lo";
    expected.tos = 16;
    expected.v6only = true;
    CHECK(services.at("udp").socket == expected);
    expected.backlog = 9;
    expected.nodelay = expected.keepalive = true;
    expected.keepalive_time = 9s;
    expected.keepalive_interval = 1s;
    expected.keepalive_probes = 3;
    expected.defer_accept = 5s;
    CHECK(services.at("tcp").socket == expected);
    expected.keepalive = false;
    expected.keepalive_time = expected.keepalive_interval = {};
    expected.keepalive_probes = {};
    expected.v6only = {};
    CHECK(services.at("quiet").socket == expected);

    folder.write("conf.d/unix.toml.d/1.toml", "socket.nodelay = true\n");
    CHECK(folder.errors() ==
          "conf.d/unix.toml.d/1.toml:1:18: socket.nodelay does not apply: the service listens on no TCP socket\n");
}

TEST_CASE("options that the kernel allows only to root are errors at load time for others") {
    const Folder folder;
    const Surroundings from = unprivileged(folder);
    const std::string own = fmt::format("group = \"{}\"\npriority = 6\n", from.gid);
    folder.define("a", on("'unix:///run/x'", own));
    CHECK(folder.errors(from).empty());
    folder.define("t", on("'tcp://*:1'", "transparent = true"));
    CHECK(folder.errors(from) == "conf.d/t.toml:5:15: socket.transparent: only root may listen on others' addresses\n");
    folder.define("t", on("'tcp://*:1'", ""));
    const std::string all = "mark = 0\npriority = 7\nuser = \"daemon\"\ngroup = \"54321\"";
    folder.define("a", on("'unix:///run/x'", all));
    CHECK(folder.errors(from) ==
          "conf.d/a.toml:5:8: socket.mark: only root may set one\n"
          "conf.d/a.toml:6:12: socket.priority 7: only root may set more than 6\n"
          "conf.d/a.toml:7:8: socket.user \"daemon\": only root may give a socket's path to another user\n"
          "conf.d/a.toml:8:9: socket.group \"54321\": only root may give a socket's path to a group that superd is not "
          "in\n");
    CHECK(folder.errors().empty());

    // A default is reported once, at its own place, and not at all if no service uses it.
    folder.define("a", on("'unix:///run/x'", ""));
    folder.define("b", on("'unix:///run/y'", ""));
    folder.write("superd.toml", "[defaults.socket]\nuser = \"daemon\"\n");
    CHECK(folder.errors(from) ==
          "superd.toml:2:8: socket.user \"daemon\": only root may give a socket's path to another user\n");
    folder.define("a", on("'tcp://*:1'", ""));
    folder.define("b", on("'tcp://*:2'", ""));
    folder.define("t", on("'tcp://*:3'", ""));
    CHECK(folder.errors(from).empty());
}

}  // namespace superd::conf::socket_options_tests
