// SPDX-License-Identifier: MIT
#include "intake/intake.h"

#include <sys/socket.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "admit/times.h"
#include "net/datagram.h"

namespace superd::intake {
namespace {

/// Clients refused at one go, so that a flood of them cannot keep the loop from the others.
constexpr int kMostRefused = 64;
constexpr int kMostDatagrams = 512;

/// accept(2): errors of the one connection that was about to be accepted.
bool is_of_connection(int code) {
    switch (code) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:
        case ENETUNREACH:
        case EPERM:
            return true;
        default:
            return false;
    }
}

}  // namespace

Intake::Intake(sys::Loop& loop, Log& log, const std::string& service, std::uint64_t& accepted,
               std::function<void()> changed, std::function<void(const Error&)> scarce)
    : loop_(loop),
      accepted_(accepted),
      changed_(std::move(changed)),
      scarce_(std::move(scarce)),
      refusals_(loop, log, service),
      farewell_(loop),
      held_(loop, [this](model::Client client, admit::Refusal why) { let_go(std::move(client), why, false); }) {}

void Intake::configure(const conf::Service& definition) {
    admission_.configure(definition.limits, now());
    access_ = admit::AccessRules(definition.access);
    times_ = definition.access.times;
    on_deny_ = definition.access.on_deny;
    logged_ = definition.log_connections != conf::LogConnections::none;
    look_at_held_ = true;
    rate_tripped_ = false;
    load_read_ = {};
}

bool Intake::load_allows() {
    const auto& most = admission_.limits().max_load;
    if (!most) return true;
    const Instant time = now();
    if (time - load_read_ >= std::chrono::seconds(1)) {
        load_read_ = time;
        struct sysinfo info {};
        // sysinfo(2) needs no descriptor, which may be just what is scarce.
        load_high_ = ::sysinfo(&info) == 0 && static_cast<double>(info.loads[0]) / (1 << SI_LOAD_SHIFT) > *most;
    }
    if (load_high_) pace(load_read_ + std::chrono::seconds(1));
    return !load_high_;
}

bool Intake::rate_allows() {
    if (!admission_.limits().rate) return true;
    const Instant opens = admission_.rate_opens_at();
    if (opens <= now()) return !(rate_tripped_ = false);
    if (!rate_tripped_) count(admit::Refusal::rate);
    rate_tripped_ = true;
    pace(opens);
    return false;
}

std::optional<admit::Refusal> Intake::overload() {
    if (!admission_.has_room()) return admit::Refusal::instances;
    if (!load_allows()) return admit::Refusal::max_load;
    return std::nullopt;
}

bool Intake::is_open() {
    if (admission_.limits().on_excess == conf::Excess::queue && overload()) return false;
    return rate_allows();
}

const char* Intake::closed_by() {
    if (!admission_.has_room()) return "full";
    return rate_allows() && load_allows() ? nullptr : "paused";
}

const char* Intake::closed_reason() {
    if (!admission_.has_room()) return "instances";
    return rate_allows() ? "max_load" : "rate";
}

void Intake::pace(Instant when) {
    if (pace_at_ && *pace_at_ <= when) return;
    if (!pace_) {
        auto timer = loop_.timer([this] {
            pace_at_.reset();
            look_at_held_ = true;
            changed_();
        });
        if (!timer) return scarce_(timer.error());
        pace_ = std::move(*timer);
    }
    if (pace_.arm(when)) pace_at_ = when;
}

bool Intake::has_next() {
    if (overload() || !rate_allows()) return false;
    if (!stalled_.empty()) return true;
    if (held_.size() == 0 || !look_at_held_) return false;
    const Instant time = now();
    if (auto client = held_.next(admission_, time)) {
        stalled_.push_back(std::move(*client));
        return true;
    }
    look_at_held_ = false;
    if (const auto opens = held_.opens_at(admission_, time)) pace(*opens);
    return false;
}

std::optional<model::Client> Intake::take(const net::Listener* socket, std::size_t listener) {
    for (int i = 0; i < kMostRefused && is_open(); ++i) {
        std::optional<model::Client> client;
        const auto full = overload();
        if (!stalled_.empty()) {
            if (full) return std::nullopt;
            client.emplace(std::move(stalled_.front()));
            stalled_.pop_front();
        } else if (socket != nullptr) {
            const bool datagrams = socket->type() == conf::SocketType::datagram;
            client = datagrams ? receive(*socket, listener) : accept(*socket, listener);
            if (!client) return std::nullopt;
            if (!judge(*client)) continue;
            if (full) {
                let_go(std::move(*client), *full, false);
                continue;
            }
        }
        if (client) client->charge = admission_.charge(source_of(*client), now());
        return client;
    }
    return std::nullopt;
}

std::optional<model::Client> Intake::take_here() {
    std::optional<model::Client> client;
    if (!stalled_.empty()) {
        client.emplace(std::move(stalled_.front()));
        stalled_.pop_front();
    } else {
        client = held_.first();
    }
    if (client) client->charge = admission_.charge(source_of(*client), now());
    return client;
}

void Intake::take_all(const net::Listener& socket, std::size_t listener) {
    const bool datagrams = socket.type() == conf::SocketType::datagram;
    // Those in the queue, and no end of those who come meanwhile. Datagrams may come as fast as they are taken.
    const int most = datagrams ? kMostDatagrams : std::max(socket.options().backlog, SOMAXCONN) + 1;
    for (int left = most; left > 0; --left) {
        auto client = datagrams ? receive(socket, listener) : accept(socket, listener);
        if (!client) return;
        if (judge(*client)) stalled_.push_back(std::move(*client));
    }
}

void Intake::stall(model::Client client) {
    std::move(client.charge).undo();
    stalled_.push_front(std::move(client));
}

void Intake::clear() {
    stalled_.clear();
    held_.clear();
}

std::optional<model::Client> Intake::accept(const net::Listener& socket, std::size_t listener) {
    for (int i = 0; i < kMostRefused; ++i) {
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        sys::Fd connection = socket.accept(from, size);
        if (connection) {
            ++accepted_;
            // The one option that an accepted socket does not inherit.
            if (const auto& priority = socket.options().priority)
                setsockopt(connection.get(), SOL_SOCKET, SO_PRIORITY, &*priority, sizeof *priority);
            model::Client client;
            client.listener = listener;
            client.local = sys::Address::of_socket(connection.get());
            client.peer = sys::Address(reinterpret_cast<const sockaddr*>(&from), size);
            client.connection = std::move(connection);
            client.accepted = now();
            return client;
        }
        if (errno == EAGAIN) return std::nullopt;
        if (!is_of_connection(errno)) {
            scarce_(fail_errno("accept", errno).error());
            return std::nullopt;
        }
        if (errno != EINTR) count(admit::Refusal::gone);
    }
    return std::nullopt;
}

std::optional<model::Client> Intake::receive(const net::Listener& socket, std::size_t listener) {
    auto datagram = net::receive(socket.fd(), socket.address());
    if (!datagram) {
        const int code = datagram.error().code;
        // Any other pending error of the socket (ICMP of an earlier reply) is taken by reading it.
        if (code == ENOMEM || code == ENOBUFS) scarce_(datagram.error());
        if (code == EPERM) count(admit::Refusal::denied);  // it passed descriptors
        return std::nullopt;
    }
    ++accepted_;
    model::Client client;
    client.listener = listener;
    client.local = datagram->local;
    client.peer = datagram->peer;
    client.datagram = std::move(datagram->data);
    client.accepted = now();
    return client;
}

admit::SourceKey Intake::source_of(const model::Client& client) const {
    if (client.local.family() != AF_UNIX || !client.connection) return source_of(client.peer, std::nullopt);
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(client.connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {};
    return source_of(client.peer, peer.uid);
}

admit::SourceKey Intake::source_of(const sys::Address& peer, std::optional<uid_t> uid) const {
    using Kind = admit::SourceKey::Kind;
    admit::SourceKey key;
    if (uid) {
        key.kind = Kind::uid;
        std::memcpy(key.bytes.data(), &*uid, sizeof *uid);
    } else if (const auto ip = sys::ip_bytes(peer)) {
        const conf::Limits& limits = admission_.limits();
        key.kind = ip->v6 ? Kind::ipv6 : Kind::ipv4;
        key.bytes = sys::masked(*ip, ip->v6 ? limits.source_prefix_ipv6 : limits.source_prefix_ipv4).bytes;
    } else if (peer.family() == AF_VSOCK) {
        key.kind = Kind::cid;
        const std::string cid = peer.host();
        std::memcpy(key.bytes.data(), cid.data(), std::min(cid.size(), key.bytes.size()));
    }
    return key;
}

std::optional<Intake::Judgement> Intake::judgement(const sys::Address& peer, const admit::SourceKey& source,
                                                   Instant time) const {
    if (const auto ip = sys::ip_bytes(peer); ip && !access_.decide(*ip).allowed)
        return Judgement{admit::Refusal::denied, true};
    if (!times_.empty() && !admit::open_at(times_, std::time(nullptr))) return Judgement{admit::Refusal::time, true};
    if (const auto excess = admission_.refuses(source, time)) return Judgement{*excess, false};
    return std::nullopt;
}

bool Intake::judge(model::Client& client) {
    const auto source = source_of(client);
    const Instant time = now();
    const auto against = judgement(client.peer, source, time);
    if (!against) return true;
    if (may_wait(*against, static_cast<bool>(client.connection)) &&
        held_.add(client, source, time + admission_.limits().wait_timeout)) {
        look_at_held_ = true;  // when a token comes, or when one of its own ends
        return false;
    }
    let_go(std::move(client), against->why, against->denied);
    return false;
}

void Intake::refuse(model::Client client, admit::Refusal why) {
    let_go(std::move(client), why, false);
}

void Intake::let_go(model::Client client, admit::Refusal why, bool denied) {
    refusals_.note(why, client.peer, logged_);
    if (!client.connection) return;
    const conf::Limits& limits = admission_.limits();
    const bool reset = denied ? on_deny_ != conf::Denial::close : limits.on_excess == conf::Excess::reset;
    if (why == admit::Refusal::gone) return;
    if (reset) return Farewell::reset(std::move(client.connection));
    const bool with_text = !denied && limits.on_excess == conf::Excess::reject;
    farewell_.close(std::move(client.connection), with_text ? limits.reject_text : std::string_view{});
}

}  // namespace superd::intake
