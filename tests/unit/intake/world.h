// SPDX-License-Identifier: MIT
#pragma once
// A service of the test's making: an intake, a listener on loopback, a clock that stands until it is moved, and
// handlers that are clients in a list.

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "catch.h"
#include "intake/intake.h"
#include "net/queue.h"
#include "unit/lines.h"

namespace superd::intake {

using namespace std::chrono_literals;

inline conf::Listen on_loopback(conf::Transport transport) {
    conf::Listen where;
    where.transport = transport;
    where.host = "127.0.0.1";
    return where;
}

class World final : public Host {
  public:
    explicit World(conf::Limits limits = {}, conf::Access access = {}, conf::Transport by = conf::Transport::tcp,
                   conf::Penalty penalty = {})
        : socket(*net::Listener::open(on_loopback(by), {})) {
        definition.limits = std::move(limits);
        definition.access = std::move(access);
        definition.penalty = std::move(penalty);
        intake.configure(definition);
    }

    Result<void> can_accept() override {
        if (cannot_accept) return fail_errno("accept", EMFILE);
        return {};
    }
    void accepted() override { ++accepts; }
    void changed() override {
        ++changes;
        if (on_change) on_change();
    }
    void scarce(const Error& why) override { lacks.push_back(why.code); }
    void wake_at(Instant when) override { wake = when; }
    Instant now() const override { return time; }
    std::time_t time_of_day() const override { return 0; }
    double load_average() const override { return load; }
    Stage* handshake() override { return shake; }
    Stage* stage(Stage::Id id) override { return shake != nullptr && shake->id() == id ? shake : nullptr; }
    /// Only for those in `from` unless the listener is no TCP one.
    void take_headers(const std::string& from = "127.0.0.0/8") {
        definition.proxy_protocol->on = true;
        definition.proxy_protocol->from = {*sys::parse_prefix(from)};
        intake.configure(definition);
    }

    /// A client that has arrived in the listener's queue.
    sys::Fd client(const std::string& from = "127.0.0.1") {
        const bool datagrams = socket.type() == conf::SocketType::datagram;
        sys::Fd fd(::socket(AF_INET, (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
        const sys::Address source = *sys::Address::inet(from, 0);
        REQUIRE(bind(fd.get(), source.data(), source.size()) == 0);
        const auto before = net::waiting(socket);
        REQUIRE(connect(fd.get(), socket.address().data(), socket.address().size()) == 0);
        // The kernel may put it there a little later than it tells the client.
        for (int i = 0; !datagrams && net::waiting(socket) <= before && i < 5000; ++i) usleep(1000);
        return fd;
    }
    /// What a running service does after each change: serves all who may be served. How many.
    std::size_t serve() {
        const auto before = served.size();
        while (intake.advance()) {
            auto next = intake.take(nullptr, 0);
            if (!next) break;
            served.push_back(std::move(*next));
        }
        while (intake.stalled() == 0 && intake.is_open()) {
            auto next = intake.take(&socket, 0);
            if (!next) break;
            served.push_back(std::move(*next));
        }
        intake.rest();
        return served.size() - before;
    }
    /// Runs the loop until there is nothing to do for it, and serves then.
    std::size_t settle() {
        REQUIRE(loop.settle());
        return serve();
    }
    /// A handler ends.
    void end(std::size_t which = 0) {
        served.erase(served.begin() + static_cast<std::ptrdiff_t>(which));
        intake.released();
    }
    void pass(Duration length) {
        const Instant end = time + length;
        while (wake && *wake <= end) {
            time = std::max(time, *wake);
            wake.reset();
            intake.woken();
        }
        time = end;
    }
    std::uint64_t count(admit::Refusal why) const { return intake.refusals().counts()[static_cast<std::size_t>(why)]; }
    std::uint64_t refused() const {
        std::uint64_t all = 0;
        for (const auto n : intake.refusals().counts()) all += n;
        return all;
    }
    bool serves(const sys::Fd& client) const {
        const auto name = sys::Address::of_socket(client.get());
        return std::ranges::any_of(served, [&](const model::Client& one) { return one.peer == name; });
    }

    std::vector<std::string> lines;
    Instant time{1000s};
    double load = 0;
    bool cannot_accept = false;
    std::optional<Instant> wake;
    int accepts = 0, changes = 0;
    std::function<void()> on_change;
    std::vector<int> lacks;  ///< errno
    Stage* shake = nullptr;
    conf::Service definition;
    sys::Loop loop = *sys::Loop::create();
    Log log{std::make_unique<Lines>(lines), Level::debug};
    net::Listener socket;
    admit::Everywhere everywhere;
    Intake intake{loop, log, "web", *this, everywhere};
    std::vector<model::Client> served;  ///< goes before the intake, whose places they have
};

/// What a client sees: what it is sent, then how it ends.
inline std::string seen_by(const sys::Fd& client) {
    std::string text;
    char buffer[256];
    pollfd ready{client.get(), POLLIN, 0};
    while (poll(&ready, 1, 10000) > 0) {
        const ssize_t n = recv(client.get(), buffer, sizeof buffer, 0);
        if (n == 0) return text + "FIN";
        if (n < 0) return text + (errno == ECONNRESET ? "RST" : "?");
        text.append(buffer, static_cast<std::size_t>(n));
    }
    return text + "nothing";
}

inline bool is_connected(const sys::Fd& client) {
    char byte;
    return recv(client.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

inline conf::Limits limits(conf::Excess on_excess = conf::Excess::queue, int instances = 256) {
    conf::Limits all;
    all.instances = instances;
    all.on_excess = on_excess;
    all.reject_text = "busy\n";
    return all;
}

}  // namespace superd::intake
