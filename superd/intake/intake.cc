// SPDX-License-Identifier: MIT
#include "intake/intake.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "admit/times.h"
#include "net/datagram.h"

namespace superd::intake {
namespace {

/// Clients refused in one go, so that a flood of them does not keep the loop from others.
constexpr int kMostRefused = 64;
constexpr int kMostDatagrams = 512;
/// The kernel updates the load average every 5 s.
constexpr Duration kLoadAgain = std::chrono::seconds(1);

bool is_proxy(const model::Client& client) {
    return client.introduction && client.introduction->is_proxy;
}

/// accept(2): errors of the connection that was about to be accepted.
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

Intake::Intake(sys::Loop& loop, Log& log, const std::string& service, Host& host, admit::Everywhere& everywhere)
    : host_(host),
      everywhere_(everywhere),
      refusals_(log, service),
      farewell_(loop),
      held_(loop,
            [this](model::Client client, admit::Refusal why) {
                let_go(std::move(client), why, false);
                if (why == admit::Refusal::gone) host_.changed();  // expire() reports the others together
            }),
      entrance_(loop, *this) {}

void Intake::configure(const conf::Service& definition) {
    admission_.configure(definition.limits, host_.now());
    access_ = admit::AccessRules(definition.access);
    times_ = definition.access->times;
    on_deny_ = definition.access->on_deny;
    penalty_ = definition.penalty;
    header_.configure(definition.proxy_protocol);
    logged_ = definition.log_connections != conf::LogConnections::none;
    sessions_ = definition.has_sessions();
    look_at_held_ = true;
    rate_tripped_ = false;
}

bool Intake::load_allows() const {
    const auto& most = admission_.limits().max_load;
    return !most || host_.load_average() <= *most;
}

std::optional<admit::Refusal> Intake::overload() const {
    if (!admission_.has_room()) return admit::Refusal::instances;
    if (!load_allows()) return admit::Refusal::max_load;
    return std::nullopt;
}

std::optional<admit::Refusal> Intake::closed() const {
    if (!admission_.has_room()) return admit::Refusal::instances;
    if (admission_.rate_opens_at() > host_.now()) return admit::Refusal::rate;
    if (!load_allows()) return admit::Refusal::max_load;
    return std::nullopt;
}

bool Intake::is_open() const {
    if (has_entrance() && introduced_.empty() && entrance_.opens_at(host_.now())) return false;
    if (queues()) return !closed();
    return admission_.rate_opens_at() <= host_.now();
}

bool Intake::advance() {
    if (closed()) return false;
    if (sessions_) return first_is_let_in();
    if (stalled() > 0) return true;
    if (!look_at_held_) return false;
    while (auto client = held_.next(admission_, host_.now())) {
        const admit::Debt* owes = debt_of(client->peer, source_of(*client));
        if (owes == nullptr || !owes->is_refused(host_.now())) {
            line_up(std::move(*client), stalled_.end());
            return true;
        }
        refuse_for_penalty(std::move(*client), *owes);
    }
    look_at_held_ = false;
    return false;
}

void Intake::rest() {
    entrance_.look_again();
    const Instant time = host_.now();
    if (const auto opens = entrance_.opens_at(time)) pace(*opens);
    const auto full = overload();
    if (full == admit::Refusal::max_load) pace(time + kLoadAgain);
    if (full && queues()) return;
    const Instant opens = admission_.rate_opens_at();
    const bool tripped = opens > time;
    if (tripped && !rate_tripped_) count(admit::Refusal::rate);
    rate_tripped_ = tripped;
    if (tripped) return pace(opens);
    if (full || look_at_held_) return;  // an exit, or the model, brings the next look
    if (const auto turn = held_.opens_at(admission_, time)) pace(*turn);
}

void Intake::pace(Instant when) {
    if (pace_at_ && *pace_at_ <= when) return;
    wake_by(when);
    pace_at_ = when;
}

void Intake::wake_by(Instant when) {
    if (wake_at_ && *wake_at_ <= when) return;
    host_.wake_at(when);
    wake_at_ = when;
}

void Intake::wake_for_all() {
    for (const auto& when : {pace_at_, held_.ends_at(), entrance_.ends_at(), farewell_.ends_at(), refusals_.ends_at()})
        if (when) wake_by(*when);
}

void Intake::woken() {
    wake_at_.reset();
    const Instant time = host_.now();
    const auto before = held_.size() + entrance_.size();
    held_.expire(time);
    entrance_.expire(time);
    farewell_.expire(time);
    refusals_.expire(time);
    const bool paced = pace_at_ && *pace_at_ <= time;
    if (paced) {
        pace_at_.reset();
        look_at_held_ = true;
    }
    wake_for_all();
    if (paced || held_.size() + entrance_.size() != before) host_.changed();
}

std::optional<model::Client> Intake::take(const net::Listener* socket, std::size_t listener) {
    for (int i = 0; i < kMostRefused && is_open(); ++i) {
        if (stalled_.empty() && !has_place()) {
            host_.scarce(no_memory().error());
            return std::nullopt;
        }
        if (stalled_.empty() && !introduced_.empty()) {
            model::Client client = std::move(introduced_.front());
            introduced_.pop_front();
            arrive(std::move(client));
        } else if (stalled_.empty() && socket != nullptr) {
            if (auto can = host_.can_accept(); !can) {
                host_.scarce(can.error());
                return std::nullopt;
            }
            auto client = fetch(*socket, listener);
            if (!client) return std::nullopt;
            come(std::move(*client), header_.rules(), false);
        }
        if (!stalled_.empty()) {
            if (overload()) return std::nullopt;
            rate_tripped_ = false;  // a client gets through, so a pause is over
            return leave_line();
        }
        if (socket == nullptr && introduced_.empty()) return std::nullopt;
    }
    return std::nullopt;
}

void Intake::arrive(model::Client client) {
    if (!judge(client)) return;
    if (sessions_) {
        std::list<model::Client> last;  // with memory for its place in line: nobody would serve a session without one
        last.push_back(std::move(client));
        if (!host_.begin_session(last.front()))
            return let_go(std::move(last.front()), admit::Refusal::instances, false);
        return stalled_.splice(stalled_.end(), last);
    }
    const auto full = overload();
    if (full && !queues()) return let_go(std::move(client), *full, false);
    line_up(std::move(client), stalled_.end());
}

/// Who comes now finds memory for a place in line.
bool Intake::has_place() try {
    if (place_.empty()) place_.emplace_back();
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

void Intake::line_up(model::Client client, std::list<model::Client>::iterator before) {
    if (place_.empty()) place_.emplace_back();
    place_.front() = std::move(client);
    stalled_.splice(before, place_);
}

model::Client Intake::leave_line() {
    model::Client& first = stalled_.front();
    first.charge = admission_.charge(source_of(first), host_.now());
    model::Client client = std::move(first);
    place_.clear();
    place_.splice(place_.begin(), stalled_, stalled_.begin());
    return client;
}

std::optional<model::Client> Intake::take_here() {
    while (stalled_.empty() && !introduced_.empty()) {
        model::Client client = std::move(introduced_.front());
        introduced_.pop_front();
        if (judge(client)) line_up(std::move(client), stalled_.end());
    }
    if (stalled_.empty()) {
        auto client = held_.first();
        if (!client) return std::nullopt;
        line_up(std::move(*client), stalled_.end());
    }
    return leave_line();
}

std::optional<model::Client> Intake::fetch(const net::Listener& socket, std::size_t listener) {
    return socket.type() == conf::SocketType::datagram ? receive(socket, listener) : accept(socket, listener);
}

void Intake::take_all(const net::Listener& socket, std::size_t listener, const conf::ProxyProtocol& rules) {
    // Take those in the queue, but not an endless stream of new ones. Datagrams may come as fast as they are taken.
    const bool datagrams = socket.type() == conf::SocketType::datagram;
    const int most = datagrams ? kMostDatagrams : std::max(socket.options().backlog, SOMAXCONN) + 1;
    for (int left = most; left > 0; --left) {
        auto client = fetch(socket, listener);
        if (!client) return;
        if (sessions_) {
            if (!host_.continues(*client)) arrive(std::move(*client));
            continue;
        }
        // Even if full: this is their last chance.
        if ((rules.on || host_.handshake() != nullptr) && !datagrams)
            come(std::move(*client), rules, true);
        else if (judge(*client))
            line_up(std::move(*client), stalled_.end());
    }
}

void Intake::stall(model::Client client) {
    std::move(client.charge).undo();
    line_up(std::move(client), stalled_.begin());
}

void Intake::clear() {
    entrance_.clear();
    introduced_.clear();
    stalled_.clear();
    held_.clear();
}

std::optional<model::Client> Intake::accept(const net::Listener& socket, std::size_t listener) {
    for (int i = 0; i < kMostRefused; ++i) {
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        sys::Fd connection = socket.accept(from, size);
        if (connection) {
            host_.accepted();
            // An accepted socket does not inherit this one option.
            if (const auto& priority = socket.options().priority)
                setsockopt(connection.get(), SOL_SOCKET, SO_PRIORITY, &*priority, sizeof *priority);
            model::Client client;
            client.listener = listener;
            client.local = sys::Address::of_socket(connection.get());
            client.peer = sys::Address(reinterpret_cast<const sockaddr*>(&from), size);
            client.connection = std::move(connection);
            client.accepted = host_.now();
            return client;
        }
        if (errno == EAGAIN) return std::nullopt;
        if (!is_of_connection(errno)) {
            host_.scarce(fail_errno("accept", errno).error());
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
        // Reading the socket also takes any other pending error (ICMP of an earlier reply).
        if (code == ENOMEM || code == ENOBUFS) host_.scarce(datagram.error());
        if (code == EPERM) count(admit::Refusal::denied);  // it passed descriptors
        return std::nullopt;
    }
    host_.accepted();
    model::Client client;
    client.kind = model::Client::Kind::datagram;
    client.listener = listener;
    client.local = datagram->local;
    client.peer = datagram->peer;
    client.datagram = std::move(datagram->data);
    client.accepted = host_.now();
    return client;
}

admit::SourceKey Intake::source_of(const model::Client& client) const {
    const auto credentials = model::credentials_of(client);
    return source_of(client.peer, credentials ? std::optional(credentials->uid) : std::nullopt);
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
                                                   const admit::Debt* owes, bool free) const {
    if (const auto ip = sys::ip_bytes(peer); ip && !free && !access_.decide(*ip).allowed)
        return Judgement{admit::Refusal::denied, true};
    if (!times_.empty() && !admit::open_at(times_, host_.time_of_day())) return Judgement{admit::Refusal::time, true};
    if (owes != nullptr && owes->is_refused(host_.now())) return Judgement{admit::Refusal::penalty, true};
    if (free) return std::nullopt;
    if (const auto excess = admission_.refuses(source, host_.now())) return Judgement{*excess, false};
    return std::nullopt;
}

void Intake::touch(model::Client& client, const admit::SourceKey& source) {
    if (client.kind != model::Client::Kind::connection) return;
    if (client.introduction && std::exchange(client.introduction->touched, true)) return;
    penalise(client.peer, source, admit::Offence::touched);
}

bool Intake::judge(model::Client& client) {
    const auto source = source_of(client);
    touch(client, source);
    const admit::Debt* owes = debt_of(client.peer, source);
    const auto against = judgement(client.peer, source, owes, is_proxy(client));
    if (!against) return true;
    if (may_wait(*against, client.kind) && hold(client, source)) return false;
    turn_away(std::move(client), source, *against, owes);
    return false;
}

void Intake::turn_away(model::Client client, const admit::SourceKey& source, const Judgement& against,
                       const admit::Debt* owes, bool silent) {
    using admit::Refusal;
    const Refusal why = against.why;
    if (why == Refusal::penalty) return refuse_for_penalty(std::move(client), *owes);
    const bool connected = client.kind == model::Client::Kind::connection;
    if (connected && (why == Refusal::denied || why == Refusal::per_source || why == Refusal::per_source_rate))
        penalise(client.peer, source, admit::Offence::refused);
    let_go(std::move(client), why, against.denied, {}, silent);
}

bool Intake::hold(model::Client& client, const admit::SourceKey& source) {
    const Instant until = host_.now() + admission_.limits().wait_timeout;
    if (!held_.add(client, source, until)) return false;
    wake_by(until);
    look_at_held_ = true;  // when a token comes, or when one of its own handlers ends
    return true;
}

void Intake::refuse(model::Client client, admit::Refusal why) {
    let_go(std::move(client), why, false);
}

void Intake::let_go(model::Client client, admit::Refusal why, bool denied, std::string_view more, bool silent) {
    const Instant time = host_.now();
    logged_ ? refusals_.note(why, client.peer, time, more) : refusals_.count(why);
    if (const auto ends = refusals_.ends_at()) wake_by(*ends);
    if (!client.connection || why == admit::Refusal::gone) return;
    const conf::Limits& limits = admission_.limits();
    const bool reset = denied ? on_deny_ != conf::Denial::close : limits.on_excess == conf::Excess::reset;
    if (reset) return Farewell::reset(std::move(client.connection));
    const bool with_text = !denied && !silent && limits.on_excess == conf::Excess::reject;
    farewell_.close(std::move(client.connection), with_text ? limits.reject_text : std::string_view{}, time);
    if (const auto ends = farewell_.ends_at()) wake_by(*ends);
}

}  // namespace superd::intake
