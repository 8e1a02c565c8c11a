// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "unit/conf/folder.h"

namespace superd::conf::models_tests {

using namespace test;

namespace {

std::string definition(const std::string& listen, const std::string& model, const std::string& handoff) {
    return "listen = \"" + listen + "\"\nmodel = \"" + model + "\"\nexec = [\"handler\"]\n" +
           (handoff.empty() ? "" : "handoff = \"" + handoff + "\"\n");
}

Handoff handoff(const std::string& listen, const std::string& model, const std::string& given = "") {
    return service_in(definition(listen, model, given)).handoff;
}

}  // namespace

TEST_CASE("the socket's type and the model decide what the handler gets") {
    CHECK(handoff("tcp://*:1", "fork") == Handoff::connection);
    CHECK(handoff("tcp://*:1", "prefork") == Handoff::connection);
    CHECK(handoff("tcp://*:1", "prefork", "listen") == Handoff::listen);
    CHECK(handoff("tcp://*:1", "iterative", "listen") == Handoff::listen);
    CHECK(handoff("unix-seqpacket://@x", "delayed") == Handoff::connection);
    CHECK(handoff("udp://*:1", "fork") == Handoff::connection);
    CHECK(handoff("udp://*:1", "fork", "connection") == Handoff::connection);
    CHECK(handoff("udp://*:1", "iterative") == Handoff::listen);
    CHECK(handoff("udp://*:1", "prefork") == Handoff::listen);
    CHECK(handoff("unix-dgram://@x", "prefork", "listen") == Handoff::listen);
    CHECK(handoff("systemd:x", "iterative") == Handoff::connection);
}

TEST_CASE("a model that cannot serve the socket is refused at the place of the model or the handoff") {
    const auto errors = [](const std::string& listen, const std::string& model, const std::string& given) {
        return errors_in(definition(listen, model, given));
    };
    const std::string no_datagrams =
        "2:9: model \"delayed\" cannot serve datagram sockets: use fork, iterative or prefork\n";
    CHECK(errors("udp://*:1", "delayed", "") == no_datagrams);
    CHECK(errors("udp://*:1", "delayed", "listen") == no_datagrams);
    CHECK(errors("tcp://*:1", "delayed", "listen").empty());
    CHECK(errors("systemd:x", "delayed", "listen").empty());
    CHECK(errors("tcp://*:1", "fork", "listen") ==
          "4:11: model \"fork\" cannot hand over the listening socket: it starts a handler for each connection\n");
    CHECK(errors("udp://*:1", "fork", "listen") ==
          "4:11: model \"fork\" cannot hand over the listening socket: it starts a handler for each datagram\n");
    CHECK(errors("udp://*:1", "prefork", "connection") ==
          "4:11: handoff \"connection\" cannot serve datagram sockets under model \"prefork\": there the handler gets "
          "the socket itself\n");
    CHECK(errors("unix-dgram://@x", "iterative", "connection") ==
          "4:11: handoff \"connection\" cannot serve datagram sockets under model \"iterative\": there the handler "
          "gets the socket itself\n");
}

TEST_CASE("an inherited socket is checked once its type is known") {
    CHECK(handoff_for(Model::iterative, Handoff::connection, SocketType::datagram) == Handoff::listen);
    CHECK(handoff_for(Model::fork, Handoff::connection, SocketType::datagram) == Handoff::connection);
    CHECK(handoff_for(Model::prefork, Handoff::connection, SocketType::stream) == Handoff::connection);
    CHECK(cannot_serve(Model::delayed, Handoff::listen, SocketType::datagram));
    CHECK_FALSE(cannot_serve(Model::iterative, Handoff::listen, SocketType::datagram));
    CHECK_FALSE(cannot_serve(Model::fork, Handoff::connection, SocketType::seqpacket));
}

TEST_CASE("a pool's numbers must be consistent, and explicit values override defaults") {
    const std::string pool = "listen = \"tcp://*:1\"\nmodel = \"prefork\"\nexec = [\"handler\"]\n";
    CHECK(errors_in(pool + "prefork.min_spare = 5\nprefork.max_spare = 4\n") ==
          "4:21: prefork.min_spare 5 is more than max_spare 4\n");
    CHECK(errors_in(pool + "prefork.max_spare = 9\nlimits.instances = 8\n") ==
          "4:21: prefork.max_spare 9 is more than limits.instances 8\n");
    CHECK(errors_in(pool + "prefork.max_spare = 300\n") ==
          "4:21: prefork.max_spare 300 is more than limits.instances 256\n");
    CHECK(errors_in(pool + "prefork.max_spare = 9\nlimits.instances = 0\n") ==
          "5:20: limits.instances 0 is out of range 1 to 1000000\n");

    CHECK(service_in(pool + "limits.instances = 1\n").prefork == Prefork{1, 1, {}, {}, {}, {}});
    CHECK(service_in(pool + "limits.instances = 5\n").prefork->max_spare == 5);
    CHECK(service_in(pool + "prefork.min_spare = 20\n").prefork->max_spare == 20);
    CHECK(service_in(pool + "prefork.max_spare = 1\n").prefork->min_spare == 1);
    CHECK(service_of("limits.instances = 5\n").prefork->max_spare == 8);  // no pool: nothing to fit
}

TEST_CASE("keys that a one-connection process cannot obey are refused under prefork, and ignored under other models") {
    const std::string all =
        "[prefork]\nmax_requests = 9\nmax_age = \"1h\"\ngrow_after = \"1s\"\nmax_idle = \"1m\"\nmax_spare = 3\n";
    const std::string why =
        " needs handoff = \"listen\": under handoff \"connection\" a parked process takes one connection\n";
    const std::string why_age =
        " needs handoff = \"listen\" or prefork.warm: a process that is parked before its exec does not age\n";
    CHECK(errors_in(definition("tcp://*:1", "prefork", "") + all) ==
          "5:16: prefork.max_requests" + why + "6:11: prefork.max_age" + why_age + "7:14: prefork.grow_after" + why);
    CHECK(errors_in(definition("systemd:x", "prefork", "connection") + all).starts_with("6:16: "));
    CHECK(errors_in(definition("tcp://*:1", "prefork", "listen") + all).empty());
    CHECK(errors_in(definition("udp://*:1", "prefork", "") + all).empty());
    CHECK(errors_in(definition("systemd:x", "prefork", "") + all).empty());  // may be datagrams
    CHECK(errors_in(definition("tcp://*:1", "fork", "") + all).empty());
    CHECK(errors_in(definition("tcp://*:1", "fork", "") + "delayed.delay = \"1s\"\n").empty());

    const Folder folder;
    folder.write("superd.toml", "[defaults.prefork]\nmax_requests = 9\nmax_age = \"1h\"\ngrow_after = \"1s\"\n");
    folder.define("a", definition("tcp://*:1", "prefork", ""));
    folder.define("b", definition("tcp://*:2", "prefork", "listen"));
    CHECK(folder.services().at("a").prefork == Prefork{});
    CHECK(folder.services().at("b").prefork->max_requests == 9);
    folder.write("conf.d/a.toml.d/1.toml", "prefork.max_age = \"2h\"\n");
    CHECK(folder.errors() == "conf.d/a.toml.d/1.toml:1:19: prefork.max_age" + why_age);
}

TEST_CASE("a handler is warm where superd hands over one connection of a stream") {
    const auto errors = [](const std::string& listen, const char* model, const char* handoff, const std::string& keys) {
        return errors_in(definition(listen, model, handoff) + "[prefork]\n" + keys);
    };
    for (const char* value : {"off", "start", "clone"})
        CHECK(errors("tcp://*:1", "prefork", "", std::string("warm = \"") + value + "\"\n").empty());
    const std::string clone = "warm = \"clone\"\n", more = clone + "warm_within = \"3s\"\nmax_age = \"1h\"\n";
    CHECK(errors("unix:///x", "prefork", "connection", more).empty());
    CHECK(errors("vsock://*:1", "prefork", "connection", more).empty());
    CHECK(errors("systemd:x", "prefork", "connection", more).empty());
    const std::string pool = " needs model = \"prefork\" and handoff = \"connection\"\n";
    CHECK(errors("tcp://*:1", "prefork", "", "warm_within = \"3s\"\n")
              .ends_with(": prefork.warm_within needs prefork.warm\n"));
    CHECK(errors("tcp://*:1", "fork", "", clone).ends_with(": prefork.warm" + pool));
    CHECK(errors("tcp://*:1", "prefork", "listen", clone).ends_with(": prefork.warm" + pool));
    CHECK(errors("udp://*:1", "prefork", "", clone).ends_with(": prefork.warm" + pool));
    CHECK(errors("unix-seqpacket:///x", "prefork", "", clone).ends_with(": prefork.warm needs stream sockets\n"));
    CHECK(errors("tcp://*:1", "prefork", "", "warm = \"hot\"\n").find("off, start, clone") != std::string::npos);
    CHECK(service_of("").prefork->warm_within == std::chrono::seconds(10));

    const Folder folder;
    folder.write("superd.toml", "[defaults.prefork]\nwarm = \"clone\"\nmax_age = \"1h\"\n");
    folder.define("a", definition("tcp://*:1", "prefork", ""));
    folder.define("b", definition("tcp://*:2", "prefork", "listen"));
    CHECK(folder.services().at("a").prefork->warm == Warm::clone);
    CHECK(folder.services().at("a").prefork->max_age);
    CHECK(folder.services().at("b").prefork->warm == Warm::off);
}

TEST_CASE("there are at least as many workers as listening sockets") {
    const auto pool = [](const std::string& scheme, const std::string& more) {
        return "listen = [\"" + scheme + "://*:1\", \"" + scheme +
               "://*:2\"]\nmodel = \"prefork\"\nexec = [\"handler\"]\n" + more;
    };
    const std::string few =
        "limits.instances 1 is too few for 2 addresses: each needs a worker, which has its listening socket\n";
    CHECK(errors_in(pool("tcp", "handoff = \"listen\"\nlimits.instances = 1\n")) == "5:20: " + few);
    CHECK(errors_in(pool("udp", "limits.instances = 1\n")) == "4:20: " + few);
    CHECK(errors_in(pool("udp", "limits.instances = 2\n")).empty());
    CHECK(errors_in(pool("tcp", "limits.instances = 1\n")).empty());

    const Folder folder;
    folder.write("superd.toml", "[defaults]\nlimits.instances = 1\n");
    folder.define("a", pool("udp", ""));
    CHECK(folder.errors() == "conf.d/a.toml:1:10: " + few);
}

TEST_CASE("sessions need datagram sockets and model fork") {
    const auto errors = [](const std::string& listen, const std::string& model, const std::string& keys) {
        return errors_in("listen = \"" + listen + "\"\nmodel = \"" + model + "\"\nexec = [\"handler\"]\n[datagram]\n" +
                         keys);
    };
    const std::string session = "session = \"peer\"\n", idle = "session_idle = \"5s\"\n";
    CHECK(errors("udp://*:1", "fork", session + idle).empty());
    CHECK(errors("unix-dgram://@x", "fork", session).empty());
    CHECK(errors("systemd:x", "fork", session).empty());
    CHECK(errors("udp://*:1", "fork", "session = \"none\"").empty());
    const std::string why = "5:11: datagram.session needs model = \"fork\" and datagram sockets\n";
    CHECK(errors("udp://*:1", "iterative", session) == why);
    CHECK(errors("udp://*:1", "prefork", session) == why);
    CHECK(errors("tcp://*:1", "fork", session) == why);
    CHECK(errors("udp://*:1", "fork", idle) ==
          "5:16: datagram.session_idle has no effect without datagram.session = \"peer\"\n");
    CHECK(errors("udp://*:1", "fork", "session = \"source\"").starts_with("5:11: datagram.session \"source\" is not"));
}

}  // namespace superd::conf::models_tests
