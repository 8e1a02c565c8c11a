// SPDX-License-Identifier: MIT
#include "core/sessions.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "catch.h"
#include "net/listener.h"
#include "unit/lines.h"

namespace superd::core::sessions_tests {

using namespace std::chrono_literals;

namespace {

/// A service whose handlers are sockets in a map, and whose clock stands until it is moved.
struct World final : core::SessionHost {
    explicit World(int limit) {
        definition.limits->instances = limit;
        definition.datagram->session = conf::Session::peer;
        definition.datagram->session_idle = 30s;
        definition.stop_timeout = 10s;
        sessions.configure(definition);
        conf::Listen where;
        where.transport = conf::Transport::udp;
        where.host = "127.0.0.1";
        listener.emplace(*net::Listener::open(where, {}));
    }
    ~World() override {
        handlers.clear();
        sessions.clear();
    }

    Instant now() const override { return time; }
    void wake_sessions_at(Instant when) override { wake = when; }
    void stop_handler(pid_t pid) override { stopped.push_back(pid); }
    void drop_waiting(const sys::Address& peer, const sys::Address&) override { dropped.push_back(peer.port()); }

    static sys::Address address(std::uint16_t port) { return *sys::Address::inet("127.0.0.1", port); }
    model::Client datagram(std::uint16_t from, std::string data) const {
        model::Client client;
        client.kind = model::Client::Kind::datagram;
        client.peer = address(from);
        client.local = listener->address();
        client.datagram = std::move(data);
        return client;
    }
    /// A datagram has come: of a session, or the first of a new one, or refused. True: not refused.
    bool comes(std::uint16_t from, std::string data) {
        model::Client client = datagram(from, std::move(data));
        return sessions.receive(client) || sessions.begin(client, listener->address());
    }
    /// The handler of this peer is started.
    void start(std::uint16_t from, std::string first) {
        const model::Client client = datagram(from, "");
        auto session = sessions.take_out(client, listener->address());
        REQUIRE(session);
        auto end = session->open(listener->fd(), std::nullopt);
        REQUIRE(end);
        ends[from] = std::move(*end);
        session->began(from, std::move(first));
        handlers[from] = std::move(session);
    }
    bool begins(std::uint16_t from, std::string first) {
        if (!comes(from, first)) return false;
        start(from, std::move(first));
        return true;
    }
    /// What its handler reads; "END" at an end, "" if it would wait.
    std::string reads(std::uint16_t from) {
        char data[4096];
        const ssize_t n = recv(ends.at(from).get(), data, sizeof data, MSG_DONTWAIT);
        return n > 0 ? std::string(data, static_cast<std::size_t>(n)) : n == 0 ? "END" : "";
    }
    void pass(Duration length) {
        const Instant end = time + length;
        while (wake && *wake <= end) {
            time = std::max(time, *wake);
            wake.reset();
            sessions.woken();
        }
        time = end;
    }

    sys::Loop loop = *sys::Loop::create();
    std::vector<std::string> lines;
    Log log{std::make_unique<Lines>(lines), Level::notice};
    std::unique_ptr<proc::Spawner> spawner = *proc::Spawner::create(loop, [](pid_t) {});
    std::unique_ptr<sys::ServiceManager> manager = *sys::ServiceManager::create(loop);
    core::Engine engine{loop, log, *spawner, *manager, {256, 1024}, {}, {}, {}, [](core::Port&) {}, {}, [] {}, [] {}};
    core::Stats stats;
    const std::string name = "test";
    core::Replies replies{engine, name, stats};
    conf::Service definition;
    std::optional<net::Listener> listener;
    Instant time{1000s};
    std::optional<Instant> wake;
    core::Sessions sessions{engine, name, *this, replies};
    std::map<std::uint16_t, std::unique_ptr<core::Session>> handlers;
    std::map<std::uint16_t, sys::Fd> ends;
    std::vector<pid_t> stopped;
    std::vector<std::uint32_t> dropped;
};

}  // namespace

TEST_CASE("a handler gets the datagrams of its peer in order, those that came before it as well") {
    World world(10);
    REQUIRE(world.comes(1, "a"));
    REQUIRE(world.comes(1, "b"));
    REQUIRE(world.comes(2, "x"));
    CHECK(world.sessions.report().waiting == 2);
    CHECK(world.sessions.report().queued == 1);
    world.start(1, "a");
    REQUIRE(world.comes(1, "c"));
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "b");
    CHECK(world.reads(1) == "c");
    CHECK(world.reads(1).empty());
    CHECK(world.sessions.report().open == 1);
    CHECK(world.sessions.report().queued == 0);
}

TEST_CASE("at the limit the oldest session of one datagram gives way, whether it has a handler or waits") {
    World world(3);
    REQUIRE(world.begins(1, "a"));
    REQUIRE(world.begins(2, "a"));
    REQUIRE(world.begins(3, "a"));
    REQUIRE(world.comes(1, "b"));  // is established now
    REQUIRE(world.comes(4, "a"));
    CHECK(world.stopped == std::vector<pid_t>{2});
    CHECK(world.reads(2) == "a");
    CHECK(world.reads(2) == "END");
    REQUIRE(world.comes(5, "a"));
    CHECK(world.stopped == std::vector<pid_t>{2, 3});
    REQUIRE(world.comes(6, "a"));  // the fourth has not been started yet
    CHECK(world.stopped.size() == 2);
    CHECK(world.dropped == std::vector<std::uint32_t>{4});
    CHECK(world.sessions.size() == 3);
    REQUIRE(world.comes(5, "b"));
    REQUIRE(world.comes(6, "b"));
    CHECK_FALSE(world.comes(7, "a"));  // nobody gives way
    CHECK(world.sessions.report().counts.gave_way == 3);
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "b");
}

TEST_CASE("a peer whose session gave way begins another with its next datagram") {
    World world(1);
    REQUIRE(world.begins(1, "a"));
    REQUIRE(world.comes(2, "a"));
    world.start(2, "a");
    REQUIRE(world.comes(1, "b"));
    CHECK(world.stopped == std::vector<pid_t>{1, 2});
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "END");
    CHECK(world.sessions.report().waiting == 1);
}

TEST_CASE("a session ends when nothing has passed for session_idle, and a handler that stays is stopped later") {
    World world(10);
    REQUIRE(world.begins(1, "a"));
    world.pass(20s);
    REQUIRE(world.comes(1, "b"));
    world.pass(29s);
    CHECK(world.sessions.report().open == 1);
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "b");
    CHECK(world.reads(1).empty());
    world.pass(2s);
    CHECK(world.sessions.report().open == 0);
    CHECK(world.sessions.report().counts.idle == 1);
    CHECK(world.reads(1) == "END");
    CHECK(world.stopped.empty());
    world.pass(10s);
    CHECK(world.stopped == std::vector<pid_t>{1});
    world.pass(1000s);
    CHECK(world.stopped.size() == 1);
}

TEST_CASE("who waits for a handler for longer than session_idle is forgotten") {
    World world(10);
    REQUIRE(world.comes(1, "a"));
    REQUIRE(world.comes(1, "b"));
    world.pass(31s);
    CHECK(world.sessions.empty());
    CHECK(world.dropped == std::vector<std::uint32_t>{1});
    CHECK(world.sessions.report().counts.unread == 2);
}

TEST_CASE("a handler that does not read costs a bounded number of datagrams and bytes, and is idle") {
    World world(10);
    REQUIRE(world.begins(1, "a"));
    for (int i = 0; i < 5000; ++i) REQUIRE(world.comes(1, std::string(1000, 'x')));
    const auto small = world.sessions.report();
    CHECK(small.queued == core::Session::kMostQueued);
    CHECK(small.counts.overflow > 4000);
    REQUIRE(world.begins(2, "a"));
    for (int i = 0; i < 100; ++i) REQUIRE(world.comes(2, std::string(65'000, 'x')));
    CHECK(world.sessions.report().queued - small.queued == core::Session::kMostBytes / 65'000);
    world.pass(20s);
    REQUIRE(world.comes(1, "dropped"));
    world.pass(11s);
    CHECK(world.sessions.report().counts.idle == 2);
    CHECK(world.lines.size() == 1);
}

TEST_CASE("all queues together are bounded") {
    World world(1000);
    for (std::uint16_t peer = 1; peer <= 200; ++peer) {
        REQUIRE(world.comes(peer, "first"));
        for (int i = 0; i < 4; ++i) REQUIRE(world.comes(peer, std::string(60'000, 'x')));
    }
    CHECK(world.sessions.report().queued <= core::Sessions::kMostBytes / 60'000);
    CHECK(world.sessions.report().counts.overflow > 400);
}

TEST_CASE("empty datagrams are dropped before anything else, and a datagram that cannot pass is too long") {
    World world(10);
    REQUIRE(world.comes(1, ""));
    CHECK(world.sessions.empty());
    REQUIRE(world.begins(1, "a"));
    REQUIRE(world.comes(1, ""));
    REQUIRE(world.comes(1, std::string(400'000, 'x')));
    REQUIRE(world.comes(1, "b"));
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "b");
    CHECK(world.sessions.report().counts.empty == 2);
    CHECK(world.sessions.report().counts.too_long == 1);
}

TEST_CASE("a handler that has ended leaves what it has not read") {
    World world(10);
    REQUIRE(world.begins(1, "a"));
    for (const char* word : {"b", "c", "d"}) REQUIRE(world.comes(1, word));
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "b");
    const auto session = std::move(world.handlers[1]);
    CHECK(session->finish() == std::vector<std::string>{"c", "d"});
    CHECK(session->was_read());
    REQUIRE(world.begins(2, "a"));
    const auto other = std::move(world.handlers[2]);
    CHECK(other->finish() == std::vector<std::string>{"a"});
    CHECK_FALSE(other->was_read());
}

TEST_CASE("a handler that shuts its socket down on both sides keeps nobody busy") {
    World world(10);
    REQUIRE(world.begins(1, "a"));
    REQUIRE(shutdown(world.ends.at(1).get(), SHUT_RDWR) == 0);
    // What is reported again and again would never let it be idle.
    auto idle = world.loop.idle([&] { world.loop.exit(0); });
    auto last = world.loop.timer([&] { world.loop.exit(1); });
    REQUIRE(last->arm(superd::now() + 10s));
    REQUIRE(idle->enable_once());
    CHECK(world.loop.run() == 0);
    REQUIRE(world.comes(1, "b"));
    CHECK(world.sessions.report().counts.unread == 1);
}

TEST_CASE("a lowered limit ends no session, and lets nobody in until it is met") {
    World world(3);
    for (std::uint16_t peer = 1; peer <= 3; ++peer) REQUIRE(world.begins(peer, "a"));
    world.definition.limits->instances = 1;
    world.sessions.configure(world.definition);
    CHECK_FALSE(world.comes(4, "a"));
    CHECK(world.stopped.empty());
    world.handlers.erase(1);
    world.handlers.erase(2);
    CHECK(world.comes(4, "a"));
    CHECK(world.stopped == std::vector<pid_t>{3});
}

TEST_CASE("a session that is given up leaves its handler what is there: a successor that was tried out shared it") {
    World world(10);
    REQUIRE(world.begins(1, "a"));
    REQUIRE(world.comes(1, "b"));
    world.handlers.erase(1);
    CHECK(world.reads(1) == "a");
    CHECK(world.reads(1) == "b");
    CHECK(world.sessions.empty());
}

TEST_CASE("sessions leave the last quarter of the descriptors to others") {
    struct Limit {
        explicit Limit(rlim_t most) {
            getrlimit(RLIMIT_NOFILE, &before);
            const rlimit now{most, before.rlim_max};
            REQUIRE(setrlimit(RLIMIT_NOFILE, &now) == 0);
        }
        ~Limit() { setrlimit(RLIMIT_NOFILE, &before); }
        rlimit before{};
    };
    World world(1000);
    const Limit limit(200);
    for (std::uint16_t peer = 1; peer < 100; ++peer) {
        const model::Client client = world.datagram(peer, "");
        world.handlers[peer] = world.sessions.take_out(client, world.listener->address());
        auto end = world.handlers[peer]->open(world.listener->fd(), std::nullopt);
        if (!end) {
            CHECK(end.error().code == EMFILE);
            CHECK(peer > 5);
            break;
        }
        world.ends[peer] = std::move(*end);
    }
    const sys::Fd next(fcntl(world.listener->fd(), F_DUPFD_CLOEXEC, sys::Fd::kLongLived));
    REQUIRE(next);
    CHECK(next.get() < 160);
}

TEST_CASE("a first datagram that cannot pass begins no session") {
    World world(10);
    REQUIRE(world.comes(1, std::string(400'000, 'x')));
    CHECK(world.sessions.empty());
    CHECK(world.sessions.report().counts.too_long == 1);
}

TEST_CASE("a handler whose address is removed is stopped after stop_timeout, however long sessions may be idle") {
    World world(10);
    REQUIRE(world.begins(1, "a"));
    world.sessions.end_where([](const core::SessionRecord&) { return true; });
    CHECK(world.sessions.empty());
    world.pass(9s);
    CHECK(world.stopped.empty());
    world.pass(2s);
    CHECK(world.stopped == std::vector<pid_t>{1});
}

TEST_CASE("the first datagrams of those that wait count towards the bound of all queues") {
    World world(1000);
    std::size_t waiting = 0;
    for (std::uint16_t peer = 1; peer <= 500; ++peer) waiting += world.comes(peer, std::string(60'000, 'x'));
    CHECK(waiting == core::Sessions::kMostBytes / 60'000);
    world.start(1, std::string(60'000, 'x'));
    CHECK(world.comes(1000, std::string(60'000, 'x')));
    world.pass(31s);
    CHECK(world.comes(1001, std::string(60'000, 'x')));
}

}  // namespace superd::core::sessions_tests
