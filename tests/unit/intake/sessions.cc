// SPDX-License-Identifier: MIT
// Clients where one handler serves all datagrams of a peer.
#include "world.h"

namespace superd::intake::sessions_tests {

namespace {

/// A service that remembers who has a session.
struct Table final : Host {
    explicit Table(conf::Limits limits) : socket(*net::Listener::open(on_loopback(conf::Transport::udp), {})) {
        definition.limits = std::move(limits);
        definition.datagram->session = conf::Session::peer;
        intake.configure(definition);
    }
    Result<void> can_accept() override { return {}; }
    void accepted() override {}
    void changed() override {}
    void scarce(const Error&) override {}
    void wake_at(Instant) override {}
    Instant now() const override { return time; }
    std::time_t time_of_day() const override { return 0; }
    double load_average() const override { return 0; }
    bool continues(model::Client& client) override {
        const bool known = std::ranges::count(peers, client.peer.port()) > 0;
        if (known) passed.push_back(client.datagram);
        return known;
    }
    bool begin_session(const model::Client& client) override {
        if (peers.size() >= places) return false;
        peers.push_back(client.peer.port());
        return true;
    }
    void cancel_session(const model::Client& client) override { std::erase(peers, client.peer.port()); }

    /// Datagrams of a new peer.
    sys::Fd peer(std::initializer_list<const char*> words, const std::string& from = "127.0.0.1") const {
        sys::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const sys::Address source = *sys::Address::inet(from, 0);
        REQUIRE(bind(fd.get(), source.data(), source.size()) == 0);
        REQUIRE(connect(fd.get(), socket.address().data(), socket.address().size()) == 0);
        for (const std::string word : words) send(fd.get(), word.data(), word.size(), 0);
        return fd;
    }
    std::size_t serve(bool may_start = true) {
        const auto before = served.size();
        while (auto next = intake.take_of_sessions(&socket, 0, may_start)) served.push_back(std::move(*next));
        return served.size() - before;
    }
    std::uint64_t refused(admit::Refusal why) const {
        return intake.refusals().counts()[static_cast<std::size_t>(why)];
    }

    std::vector<std::string> lines;
    Log log{std::make_unique<Lines>(lines), Level::notice};
    sys::Loop loop = *sys::Loop::create();
    admit::Everywhere everywhere;
    Instant time{1000s};
    conf::Service definition;
    net::Listener socket;
    std::size_t places = 100;
    std::vector<std::uint32_t> peers;
    std::vector<std::string> passed;
    const std::string name = "test";
    Intake intake{loop, log, name, *this, everywhere};
    std::vector<model::Client> served;
};

conf::Limits instances(int count) {
    conf::Limits limits;
    limits.instances = count;
    return limits;
}

}  // namespace

TEST_CASE("the first datagram of a peer is a client, and the others pass") {
    Table table(instances(10));
    const auto one = table.peer({"a", "b", "c"}), other = table.peer({"d"});
    CHECK(table.serve() == 2);
    CHECK(table.served[0].datagram == "a");
    CHECK(table.served[1].datagram == "d");
    CHECK(table.passed == std::vector<std::string>{"b", "c"});
    CHECK(table.intake.admission().in_use() == 2);
}

TEST_CASE("while the service is full or cannot start a handler, sessions go on and new peers wait in line") {
    Table table(instances(1));
    const auto one = table.peer({"a"});
    CHECK(table.serve() == 1);
    const auto other = table.peer({"b"}), third = table.peer({"c"});
    send(one.get(), "more", 4, 0);
    CHECK(table.serve() == 0);
    CHECK(table.passed == std::vector<std::string>{"more"});
    CHECK(table.intake.stalled() == 2);
    CHECK_FALSE(table.intake.advance());
    table.served.clear();
    CHECK(table.intake.advance());
    CHECK(table.serve(false) == 0);
    CHECK(table.serve() == 1);
    CHECK(table.served[0].datagram == "b");
    table.intake.drop_waiting(sys::Address::of_socket(third.get()), table.socket.address());
    CHECK(table.intake.stalled() == 0);
}

TEST_CASE("a peer for whom there is no place is refused") {
    Table table(instances(1));
    table.places = 1;
    const auto one = table.peer({"a"}), other = table.peer({"b"});
    CHECK(table.serve() == 1);
    CHECK(table.refused(admit::Refusal::instances) == 1);
    CHECK(table.intake.stalled() == 0);
}

TEST_CASE("several peers of one source that wait in line are judged again when their turn comes") {
    conf::Limits limits = instances(1);
    limits.per_source = 1;
    Table table(limits);
    const auto stranger = table.peer({"x"}, "127.0.0.2");
    CHECK(table.serve() == 1);
    const auto one = table.peer({"a"}), other = table.peer({"b"});
    CHECK(table.serve() == 0);
    CHECK(table.intake.stalled() == 2);
    table.served.clear();
    table.definition.limits->instances = 5;
    table.intake.configure(table.definition);
    CHECK(table.serve() == 1);
    CHECK(table.served[0].datagram == "a");
    CHECK(table.refused(admit::Refusal::per_source) == 1);
    CHECK(table.peers.size() == 2);
}

TEST_CASE("a rate holds up new peers only") {
    conf::Limits limits = instances(10);
    limits.rate = conf::Rate{10s, 1};
    Table table(limits);
    const auto one = table.peer({"a"}), other = table.peer({"b"});
    CHECK(table.serve() == 1);
    send(one.get(), "more", 4, 0);
    CHECK(table.serve() == 0);
    CHECK(table.passed == std::vector<std::string>{"more"});
    table.time += 10s;
    CHECK(table.serve() == 1);
    CHECK(table.served[1].datagram == "b");
}

}  // namespace superd::intake::sessions_tests
