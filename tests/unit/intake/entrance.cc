// SPDX-License-Identifier: MIT
// Clients that are not known yet: a header of a proxy is awaited, or a handshake by somebody else.
#include "intake/entrance.h"

#include <sys/resource.h>

#include <new>
#include <set>

#include "intake/state.h"
#include "sys/descriptors.h"
#include "world.h"

namespace superd::intake::entrance_tests {

using admit::Refusal;

namespace {

const std::string kHeader = "PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n";

void say(const sys::Fd& client, std::string_view text) {
    REQUIRE(send(client.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}

std::string unread(const model::Client& client) {
    char buffer[256];
    const ssize_t n = recv(client.connection.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : "";
}

/// Fails for want of memory when a client comes, and lets it pass when it has sent something.
struct ShortOfMemory final : Stage {
    Id id() const override { return 8; }
    Duration timeout() const override { return 10s; }
    Refusal overdue(const Entrant&) const override { return Refusal::wait_timeout; }
    Progress go_on(Entrant&) override {
        if (asked++ == 0) throw std::bad_alloc();
        return {Progress::Kind::passed};
    }
    int asked = 0;
};

/// Gives each client to somebody else, who says what becomes of it.
struct Elsewhere final : Stage {
    Id id() const override { return 7; }
    Duration timeout() const override { return 10s; }
    Refusal overdue(const Entrant& entrant) const override {
        if (busy.empty()) return Refusal::wait_timeout;
        return busy.contains(entrant.ticket) ? Refusal::handshake_timeout : Refusal::tls;
    }
    Progress go_on(Entrant& entrant) override {
        taken.emplace_back(entrant.ticket, std::move(entrant.client.connection));
        return {Progress::Kind::elsewhere};
    }
    void forget(const Entrant& entrant) override { forgotten.push_back(entrant.ticket); }

    void give_back(Intake& intake, std::size_t which) {
        Entrant* const entrant = intake.entrant(taken.at(which).first);
        REQUIRE(entrant != nullptr);
        entrant->client.connection = std::move(taken[which].second);
        intake.passed(taken[which].first);
    }

    std::vector<std::pair<Ticket, sys::GuardedFd>> taken;
    std::set<Ticket> busy;  ///< that it has taken up
    std::vector<Ticket> forgotten;
};

}  // namespace

TEST_CASE("the client is the one that the header names, and its own data stays where it is") {
    World world;
    world.take_headers();
    const auto client = world.client();
    say(client, kHeader + "hello");
    CHECK(world.settle() == 1);
    const model::Client& served = world.served.at(0);
    CHECK(served.peer.text() == "203.0.113.7:40000");
    CHECK(served.local.text() == "192.0.2.1:443");
    CHECK(unread(served) == "hello");
    CHECK(world.refused() == 0);
}

TEST_CASE("a header may come byte by byte; until it is whole, nobody is served, and nothing spins") {
    World world;
    world.take_headers();
    const auto client = world.client();
    for (const char byte : kHeader) {
        CHECK(world.settle() == 0);
        CHECK(world.intake.pending() == 1);
        say(client, {&byte, 1});
    }
    say(client, "hello");
    CHECK(world.settle() == 1);
    CHECK(world.intake.pending() == 0);
    CHECK(unread(world.served.at(0)) == "hello");
}

TEST_CASE("a peer that speaks for itself is served as that, whatever access and limits for each source say") {
    conf::Access access;
    access.deny = {*sys::parse_prefix("127.0.0.2")};
    auto all = limits(conf::Excess::close);
    all.per_source = 1;
    World world(all, access);
    world.take_headers();
    for (int i = 0; i < 3; ++i) {
        const auto client = world.client("127.0.0.2");
        say(client, "PROXY UNKNOWN\r\n");
        CHECK(world.settle() == 1);
        CHECK(world.serves(client));
    }
    CHECK(world.refused() == 0);
}

TEST_CASE("access, limits and penalties are those of the named client") {
    conf::Access access;
    access.deny = {*sys::parse_prefix("203.0.113.8")};
    auto all = limits(conf::Excess::close);
    all.per_source = 1;
    conf::Penalty penalty;
    penalty.on = true;
    penalty.exempt.clear();
    World world(all, access, conf::Transport::tcp, penalty);
    world.take_headers();
    const auto come = [&](const std::string& who) {
        auto client = world.client();
        say(client, "PROXY TCP4 " + who + " 192.0.2.1 40000 443\r\n");
        world.settle();
        return client;
    };
    const auto first = come("203.0.113.7"), denied = come("203.0.113.8"), second = come("203.0.113.7"),
               other = come("203.0.113.9");
    CHECK(world.served.size() == 2);
    CHECK(seen_by(denied) == "FIN");
    CHECK(seen_by(second) == "FIN");
    CHECK(world.count(Refusal::denied) == 1);
    CHECK(world.count(Refusal::per_source) == 1);
    CHECK(world.lines.at(0) == "203.0.113.8:40000: refused: denied");
    for (int i = 0; i < 10; ++i) (void)come("203.0.113.7");
    const auto penalised = world.count(Refusal::penalty);
    CHECK(penalised > 0);
    CHECK(world.count(Refusal::per_source) + penalised == 11);
    const auto fine = come("203.0.113.10");
    CHECK(world.served.size() == 3);
    CHECK(world.count(Refusal::penalty) == penalised);
}

TEST_CASE("several clients of one source whose headers come at once are judged one after the other") {
    auto all = limits(conf::Excess::queue);
    all.per_source = 2;
    World world(all);
    world.take_headers();
    std::vector<sys::Fd> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(world.client());
    CHECK(world.settle() == 0);
    for (const sys::Fd& client : clients) say(client, kHeader);
    CHECK(world.settle() == 2);
    CHECK(world.intake.held() == 3);
}

TEST_CASE("strangers, bad headers, slow ones and cut ones are refused by reasons of their own, and cost their source") {
    conf::Penalty penalty;
    penalty.on = true;
    penalty.exempt.clear();
    penalty.threshold = 1h;
    World world({}, {}, conf::Transport::tcp, penalty);
    world.take_headers("127.0.0.2");
    const auto stranger = world.client("127.0.0.3"), bad = world.client("127.0.0.2"), cut = world.client("127.0.0.2"),
               slow = world.client("127.0.0.2");
    auto silent = world.client("127.0.0.2");
    say(stranger, kHeader);
    say(bad, "GET / HTTP/1.0\r\n");
    say(cut, kHeader.substr(0, 20));
    say(slow, kHeader.substr(0, 20));
    world.settle();
    shutdown(cut.get(), SHUT_WR);
    silent.reset();
    CHECK(world.settle() == 0);
    world.pass(3s);
    CHECK(world.settle() == 0);
    CHECK(world.count(Refusal::stranger) == 1);
    CHECK(world.count(Refusal::header) == 2);
    CHECK(world.count(Refusal::header_timeout) == 1);
    CHECK(world.count(Refusal::gone) == 1);
    CHECK(world.refused() == 5);
    for (const sys::Fd* client : {&stranger, &bad, &cut, &slow}) CHECK(seen_by(*client) == "FIN");
    CHECK(world.intake.offences()[static_cast<std::size_t>(admit::Offence::refused)] == 4);
    CHECK(world.intake.pending() == 0);
    const auto told = [&](std::string_view what) {
        return std::ranges::any_of(world.lines, [&](const auto& line) { return line.ends_with(what); });
    };
    CHECK(told("refused: stranger: not in proxy_protocol.from"));
    CHECK(told("refused: header: it begins with \"GET / HTTP/1\""));
    CHECK(told("refused: header: it ends after 20 bytes"));
    CHECK(told("refused: header_timeout"));
}

TEST_CASE("while all handlers are in use, clients wait in the backlog, and known ones in line") {
    World world(limits(conf::Excess::queue, 1));
    world.take_headers();
    const auto first = world.client(), second = world.client();
    CHECK(world.settle() == 0);
    say(first, kHeader);
    say(second, kHeader);
    CHECK(world.settle() == 1);
    CHECK(world.intake.stalled() == 1);
    const auto third = world.client();
    say(third, kHeader);
    CHECK(world.settle() == 0);
    CHECK(net::waiting(world.socket) == 1);
    world.end();
    CHECK(world.settle() == 1);
}

TEST_CASE("if all places are taken, the next waits, and then takes that of one that says nothing") {
    rlimit most{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &most) == 0);
    most.rlim_cur = most.rlim_max;
    if (most.rlim_max < 4096 || setrlimit(RLIMIT_NOFILE, &most) != 0) {
        WARN("needs 4,096 descriptors");
        return;
    }
    World world;
    world.take_headers();
    std::vector<sys::Fd> silent;
    for (std::size_t i = 0; i < Entrance::kInAll; ++i) {
        silent.push_back(world.client());
        if (i % 64 == 63) world.settle();
    }
    CHECK(world.intake.pending() == Entrance::kInAll);
    const auto next = world.client("127.0.0.2");
    say(next, kHeader);
    CHECK(world.settle() == 0);
    CHECK(is_connected(silent[0]));
    world.pass(Entrance::kGrace);
    CHECK(world.settle() == 1);
    CHECK(world.count(Refusal::pending) == 1);
    CHECK(seen_by(silent[0]) == "FIN");
    CHECK(is_connected(silent[1]));
    CHECK(world.intake.pending() == Entrance::kInAll - 1);
}

TEST_CASE("another stage takes the connection, and gives one back, with what it has learnt") {
    World world;
    Elsewhere shake;
    world.shake = &shake;
    const auto client = world.client(), failing = world.client();
    CHECK(world.settle() == 0);
    REQUIRE(shake.taken.size() == 2);
    CHECK(world.intake.pending() == 2);
    Entrant* const entrant = world.intake.entrant(shake.taken[0].first);
    REQUIRE(entrant != nullptr);
    entrant->client.connection = std::move(shake.taken[0].second);
    entrant->client.variables.set("TLS_PROTOCOL", "TLSv1.3");
    world.intake.passed(shake.taken[0].first);
    world.intake.failed(shake.taken[1].first, Refusal::header, ": no reason");
    CHECK(world.settle() == 1);
    CHECK(world.serves(client));
    CHECK(world.served.at(0).variables.block() == std::string("TLS_PROTOCOL=TLSv1.3\0", 21));
    CHECK(world.count(Refusal::header) == 1);
    CHECK(world.intake.entrant(shake.taken[0].first) == nullptr);
    world.intake.passed(shake.taken[1].first);  // too late: nothing happens
    CHECK(world.settle() == 0);
    CHECK(shake.forgotten.empty());
}

TEST_CASE("a handshake's time counts from when its stage took it up, and one that it never took up is no fault") {
    conf::Penalty penalty;
    penalty.on = true;
    penalty.refused = 10min;
    penalty.threshold = 1min;
    penalty.exempt.clear();
    World world({}, {}, conf::Transport::tcp, penalty);
    Elsewhere shake;
    world.shake = &shake;
    const auto waiting = world.client("127.0.0.2"), taken = world.client("127.0.0.3");
    world.settle();
    REQUIRE(shake.taken.size() == 2);
    world.pass(6s);
    shake.busy.insert(shake.taken[1].first);
    world.intake.begins_now(shake.taken[1].first);
    world.pass(5s);
    CHECK(world.count(Refusal::tls) == 1);
    CHECK(world.intake.offences()[static_cast<std::size_t>(admit::Offence::refused)] == 0);
    CHECK(world.intake.pending() == 1);
    world.pass(6s);
    CHECK(world.count(Refusal::handshake_timeout) == 1);
    CHECK(world.intake.offences()[static_cast<std::size_t>(admit::Offence::refused)] == 1);
}

TEST_CASE("handshakes that come to nothing use up their source's rate, and those that pass do not") {
    auto all = limits(conf::Excess::queue, 10);
    all.per_source_rate = conf::Rate{1min, 2};
    World world(all);
    Elsewhere shake;
    world.shake = &shake;
    std::vector<sys::Fd> clients;
    for (const auto why : {Refusal::gone, Refusal::handshake}) {
        clients.push_back(world.client());
        world.settle();
        world.intake.failed(shake.taken.back().first, why, "");
    }
    clients.push_back(world.client());
    clients.push_back(world.client("127.0.0.2"));
    world.settle();
    CHECK(shake.taken.size() == 3);
    CHECK(seen_by(clients[2]) == "FIN");
    CHECK(world.count(Refusal::per_source_rate) == 1);
    world.intake.failed(shake.taken[2].first, Refusal::tls, "");  // not the client's doing
    for (int i = 0; i < 2; ++i) {
        clients.push_back(world.client("127.0.0.2"));
        world.settle();
        shake.give_back(world.intake, shake.taken.size() - 1);
    }
    world.settle();
    CHECK(world.served.size() == 2);
    clients.push_back(world.client("127.0.0.2"));  // past its rate: it has its handshake, and is held then
    world.settle();
    CHECK(shake.taken.size() == 6);

    world.pass(1min);
    clients.push_back(world.client());
    world.settle();
    CHECK(shake.taken.size() == 7);
}

TEST_CASE("who has passed and waits for a handler is let go where its connection has been cut, or all are") {
    for (const bool cut : {true, false}) {
        auto all = limits(conf::Excess::queue, 1);
        all.per_source = 1;
        World world(all);
        Elsewhere shake;
        world.shake = &shake;
        std::vector<sys::Fd> clients;
        for (int i = 0; i < 4; ++i) clients.push_back(world.client());
        world.settle();
        REQUIRE(shake.taken.size() == 4);
        std::vector<sys::Fd> ends;
        for (std::size_t i = 0; i < 4; ++i) {
            int pair[2];
            REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
            shake.taken[i].second = sys::GuardedFd(sys::Fd(pair[0]));
            ends.emplace_back(pair[1]);
            shake.give_back(world.intake, i);
            world.settle();
        }
        REQUIRE(world.served.size() == 1);
        REQUIRE(world.intake.stalled() + world.intake.held() == 3);
        ends[2].reset();
        const auto ended = world.intake.end_secured(cut ? Intake::Secured::cut : Intake::Secured::all, ": why");
        CHECK(ended == (cut ? 1 : 3));
        CHECK(world.count(Refusal::tls) == ended);
        CHECK(world.intake.stalled() + world.intake.held() == 3 - ended);
    }
}

TEST_CASE("a header comes before the handshake, and the bound for each source is that of the named client") {
    World world;
    Elsewhere shake;
    world.shake = &shake;
    world.take_headers();
    std::vector<sys::Fd> clients;
    const auto come = [&](const std::string& who) {
        clients.push_back(world.client());
        say(clients.back(), "PROXY TCP4 " + who + " 192.0.2.1 40000 443\r\n");
        world.settle();
    };
    for (std::size_t i = 0; i < Entrance::kOfOneSource + 3; ++i) come("203.0.113.7");
    CHECK(world.intake.pending() == Entrance::kOfOneSource);
    CHECK(world.count(Refusal::pending) == 3);
    come("203.0.113.8");
    CHECK(world.intake.pending() == Entrance::kOfOneSource + 1);
    CHECK(shake.taken.size() == Entrance::kOfOneSource + 1);
    world.pass(10s);
    CHECK(world.intake.pending() == 0);
    CHECK(world.count(Refusal::wait_timeout) == Entrance::kOfOneSource + 1);
    CHECK(shake.forgotten.size() == Entrance::kOfOneSource + 1);
}

TEST_CASE("whoever could not even be held begins no handshake, and gets no text before it") {
    conf::Access access;
    access.deny = {*sys::parse_prefix("127.0.0.2")};
    auto all = limits(conf::Excess::reject, 1);
    World world(all, access);
    Elsewhere shake;
    world.shake = &shake;
    const auto denied = world.client("127.0.0.2"), first = world.client();
    world.settle();
    REQUIRE(shake.taken.size() == 1);
    world.intake.entrant(shake.taken[0].first)->client.connection = std::move(shake.taken[0].second);
    world.intake.passed(shake.taken[0].first);
    CHECK(world.settle() == 1);
    const auto late = world.client("127.0.0.3");
    world.settle();
    CHECK(seen_by(denied) == "FIN");
    CHECK(seen_by(late) == "FIN");
    CHECK(world.count(Refusal::instances) == 1);
    CHECK(shake.taken.size() == 1);
}

TEST_CASE("a header that came in time counts, however late superd looks") {
    World world;
    world.take_headers();
    const auto client = world.client(), half = world.client();
    CHECK(world.settle() == 0);
    say(client, kHeader);
    say(half, kHeader.substr(0, 20));
    world.time += 1h;
    world.intake.woken();
    CHECK(world.serve() == 1);
    CHECK(world.served.at(0).peer.text() == "203.0.113.7:40000");
    CHECK(world.count(Refusal::header_timeout) == 1);
    CHECK(seen_by(half) == "FIN");
}

TEST_CASE("whoever came when memory ran out is looked at again") {
    World world;
    ShortOfMemory shake;
    world.shake = &shake;
    const auto client = world.client();
    CHECK_THROWS_AS(world.serve(), std::bad_alloc);
    CHECK(world.intake.pending() == 1);
    CHECK(world.wake);
    say(client, "x");
    world.intake.rest();
    CHECK(world.settle() == 1);
    CHECK(world.serves(client));
    CHECK(shake.asked == 2);
}

TEST_CASE("on a socket that goes, the rules hold under which it was opened") {
    for (const bool with_header : {false, true}) {
        World world;
        if (!with_header) world.take_headers("192.0.2.1");
        conf::ProxyProtocol before;
        before.on = with_header;
        before.from = {*sys::parse_prefix("127.0.0.1")};
        const auto client = world.client(), stranger = world.client("127.0.0.2");
        if (with_header) say(client, kHeader);
        world.intake.take_all(world.socket, 0, before);
        CHECK(world.settle() == (with_header ? 1 : 2));
        CHECK(world.count(Refusal::stranger) == (with_header ? 1 : 0));
        CHECK(world.served.at(0).peer.host() == (with_header ? "203.0.113.7" : "127.0.0.1"));
    }
}

TEST_CASE("a reload that takes fewer versions keeps a header that has begun") {
    World world;
    world.take_headers();
    const auto half = world.client();
    say(half, kHeader.substr(0, 1));
    world.settle();
    world.definition.proxy_protocol->accept = conf::ProxyVersions::v2;
    world.intake.configure(world.definition);
    say(half, kHeader.substr(1));
    CHECK(world.settle() == 1);
    const auto late = world.client();
    say(late, kHeader.substr(0, 1));
    CHECK(world.settle() == 0);
    CHECK(world.count(Refusal::header) == 1);
}

TEST_CASE("clients in the entrance go on in another process, with what has been read of them") {
    World world, next;
    Elsewhere shake, next_shake;
    world.take_headers();
    next.take_headers();
    world.shake = &shake;
    next.shake = &next_shake;
    const auto half = world.client(), silent = world.client(), away = world.client();
    say(half, kHeader.substr(0, 30));
    say(away, kHeader);
    world.settle();
    REQUIRE(shake.taken.size() == 1);
    sys::Descriptors kept;
    const IntakeState state = world.intake.write_down(kept);
    REQUIRE(state.entrants.size() == 3);
    CHECK(std::ranges::count(state.entrants, kHeader.substr(0, 30), &EntrantState::memory) == 1);

    // The next has copies of the descriptors here, since it is the same process.
    next.time = world.time;
    IntakeState copied = state;
    sys::Descriptors copies;
    for (EntrantState& one : copied.entrants)
        if (one.client.connection >= 0)
            one.client.connection = copies.keep(fcntl(one.client.connection, F_DUPFD_CLOEXEC, 3));
    sys::Descriptors taken(copies.entries());
    REQUIRE(next.intake.go_on(copied, taken));
    CHECK(taken.sound());
    world.intake.clear();
    CHECK(next.settle() == 0);
    CHECK(next.intake.pending() == 3);
    // Whoever is elsewhere is a connection all the same.
    next_shake.taken = std::move(shake.taken);
    next_shake.give_back(next.intake, 0);
    CHECK(next.settle() == 1);
    CHECK(next.served.at(0).kind == model::Client::Kind::connection);
    CHECK(next.served.at(0).connection);
    say(half, kHeader.substr(30));
    CHECK(next.settle() == 0);
    next_shake.give_back(next.intake, 1);
    CHECK(next.settle() == 1);
    CHECK(next.served.at(1).peer.text() == "203.0.113.7:40000");
    next.pass(3s);
    CHECK(next.count(Refusal::header_timeout) == 1);
    CHECK(next.intake.pending() == 0);
}

TEST_CASE("who has passed and waits in line is still known in another process") {
    World world(limits(conf::Excess::queue, 1));
    world.take_headers();
    const auto first = world.client(), second = world.client();
    world.settle();
    say(first, kHeader);
    say(second, "PROXY UNKNOWN\r\n");
    CHECK(world.settle() == 1);
    sys::Descriptors kept;
    IntakeState state = world.intake.write_down(kept);
    REQUIRE(state.introduced.size() == 1);
    sys::Descriptors copies;
    ClientState& one = state.introduced[0];
    one.connection = copies.keep(fcntl(one.connection, F_DUPFD_CLOEXEC, 3));
    sys::Descriptors taken(copies.entries());
    World next;
    REQUIRE(next.intake.go_on(state, taken));
    world.intake.clear();
    CHECK(next.settle() == 1);
    REQUIRE(next.served.at(0).introduction);
    CHECK(next.served.at(0).introduction->is_proxy == !world.served.at(0).introduction->is_proxy);
}

TEST_CASE("explain tells of the entrance, and of who may name clients") {
    World world;
    world.take_headers("127.0.0.2");
    const auto explain = [&](const char* via) {
        Explanation told;
        const std::string peer = via;
        world.intake.explain_entrance(peer.empty() ? std::nullopt : std::optional(*sys::Address::inet(peer, 0)), false,
                                      told.steps);
        return told.verdict();
    };
    CHECK(explain("") == "served");
    CHECK(explain("127.0.0.2") == "served");
    CHECK(explain("127.0.0.3") == "refused: proxy_protocol (127.0.0.3 is not in proxy_protocol.from)");
}

}  // namespace superd::intake::entrance_tests
