// SPDX-License-Identifier: MIT
// A client's way to a backend: its turn, names, addresses one by one, targets one by one.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include <algorithm>

#include "proxy/proxy.h"

namespace proxy {
namespace {

constexpr Duration kAgain = std::chrono::milliseconds(50);
constexpr Duration kFirstTry = std::chrono::milliseconds(5);
constexpr Duration kSlowestTry = std::chrono::milliseconds(200);

/// The way may be free again in a moment: a unix socket's backlog is full, or descriptors, ports or memory are scarce.
bool passes(int code) {
    return code == EAGAIN || code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM ||
           code == EADDRNOTAVAIL;
}

/// The backend does not take connections. Everything else is a fault of this side, or of the name service.
bool is_backends(int code) {
    return code == ECONNREFUSED || code == ECONNRESET || code == ENOENT || code == ETIMEDOUT || code == EAGAIN;
}

/// A reset leaves the port to the backend.
bool cut_from_itself(int fd) {
    if (!connected_to_itself(fd)) return false;
    reset_at_close(fd);
    return true;
}

}  // namespace

void Proxy::begin(Connection& connection) {
    connection.target = 0;
    if (backend_ && !backend_->is_ready()) return wait_for_backend(connection);
    look_up(connection);
}

void Proxy::wait_for_backend(Connection& connection) {
    connection.stage = Connection::Stage::waiting;
    connection.server = {};
    connection.addresses.reset();
    if (connection.queue != &waiting_) waiting_.push(connection, connection.arrived);
    backend_->want(true);
    if (try_at_ || trial_ != nullptr) return;
    try_pause_ = kFirstTry;
    try_at_ = Clock::now();
}

/// Whoever has waited longest tries. The others follow when it has got through.
void Proxy::try_first_waiting() {
    if (waiting_.first() == nullptr) return backend_->want(false);
    if (!backend_->may_be_tried()) {
        try_pause_ = kFirstTry;
        return;
    }
    if (backend_->is_ready()) {
        // One of them may find that it is not, and wait again.
        while (backend_->is_ready() && waiting_.first() != nullptr) {
            Connection* first = waiting_.first();
            waiting_.remove(*first);
            if (first == trial_) trial_ = nullptr;
            if (first->stage == Connection::Stage::waiting)
                look_up(*first);
            else
                on_the_way_.push(*first, Clock::now());
        }
        if (waiting_.size() == 0) backend_->want(false);
        return;
    }
    if (trial_ != nullptr) return;
    trial_ = waiting_.first();
    trial_->target = 0;
    look_up(*trial_);
}

void Proxy::look_up(Connection& connection) {
    connection.begun = Clock::now();
    if (&connection != trial_) on_the_way_.push(connection, connection.begun);
    connection.address = 0;
    const Target& target = options_.targets[connection.target];
    if (target.fixed) {
        connection.addresses = std::make_unique<std::vector<Address>>(1, *target.fixed);
        return connect_next(connection);
    }
    connection.stage = Connection::Stage::resolving;
    resolver_.ask(connection.target);
}

void Proxy::answered(const Resolver::Answer& answer) {
    std::vector<Connection*> asked;
    for (Connection* one = on_the_way_.first(); one != nullptr; one = one->after) asked.push_back(one);
    if (trial_ != nullptr) asked.push_back(trial_);
    for (Connection* one : asked) {
        if (one->stage != Connection::Stage::resolving || one->target != answer.target) continue;
        if (!answer.addresses) {
            target_failed(*one, answer.addresses.error());
            continue;
        }
        one->addresses = std::make_unique<std::vector<Address>>(*answer.addresses);
        connect_next(*one);
    }
}

void Proxy::connect_next(Connection& connection) {
    std::string why = "no address of the family of --bind";
    int failed = 0;
    for (; connection.address < connection.addresses->size(); ++connection.address) {
        const Address& address = (*connection.addresses)[connection.address];
        const bool inet = address.family() == AF_INET || address.family() == AF_INET6;
        if (inet && options_.bind && options_.bind->family() != address.family()) continue;
        connection.stage = Connection::Stage::connecting;
        const int code = connect_to(connection, address);
        if (code == 0) return;
        connection.server = {};
        connection.code = failed = code;
        if (passes(code) && &connection != trial_) return again_.push(connection, Clock::now());
        why = error_text(code);
    }
    target_failed(connection, why, failed);
}

int Proxy::connect_to(Connection& connection, const Address& address) {
    End& server = connection.server;
    server = {};
    server.fd.reset(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int fd = server.fd.get();
    if (fd < 0) return errno;
    const int on = 1;
    if (address.family() == AF_INET || address.family() == AF_INET6) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        if (options_.bind) {
            setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
            if (bind(fd, options_.bind->get(), options_.bind->size) != 0) return errno;
        }
    }
    const bool at_once = ::connect(fd, address.get(), address.size) == 0;
    if (!at_once && errno != EINPROGRESS) return errno;
    if (at_once && cut_from_itself(fd)) return ECONNREFUSED;
    if (!watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, reinterpret_cast<std::uintptr_t>(&connection) | 1))
        return errno;
    if (at_once) {
        server.writable = true;
        connected(connection);
    }
    return 0;
}

void Proxy::hear_of_connect(Connection& connection, std::uint32_t events) {
    const int fd = connection.server.fd.get();
    int code = 0;
    socklen_t size = sizeof code;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
    if (code == 0 && (events & EPOLLOUT) != 0 && cut_from_itself(fd)) code = ECONNREFUSED;
    if (code != 0) return address_failed(connection, error_text(code), code);
    if ((events & EPOLLOUT) != 0) connected(connection);
}

void Proxy::connected(Connection& connection) {
    connection.stage = Connection::Stage::relaying;
    connection.served = true;
    ++served_;
    connection.addresses.reset();
    unreachable_.end("the backend takes connections again");
    if (connection.queue != nullptr) connection.queue->remove(connection);
    if (options_.idle_timeout) relaying_.push(connection, Clock::now());
    if (&connection == trial_) trial_ = nullptr;
    if (backend_ && !backend_->is_ready()) {
        backend_->connected(Clock::now());
        try_at_ = Clock::now();
    }
    move(connection);
}

void Proxy::address_failed(Connection& connection, const std::string& why, int code) {
    connection.server = {};
    if (++connection.address >= connection.addresses->size()) return target_failed(connection, why, code);
    connection.begun = Clock::now();
    if (&connection != trial_) on_the_way_.push(connection, connection.begun);
    connect_next(connection);
}

void Proxy::target_failed(Connection& connection, const std::string& why, int code) {
    connection.server = {};
    const std::string what = options_.targets[connection.target].text + ": " + why;
    if (++connection.target < options_.targets.size()) {
        if (!backend_) unreachable_.begin(what + ": the next target is tried");
        return look_up(connection);
    }
    connection.target = 0;
    if (!backend_) return give_up(connection, what);
    // It may have ended by itself just now, which is no fault of its.
    backend_->hear(Clock::now());
    if (is_backends(code)) backend_->doubt(Clock::now());
    if (backend_->is_ready()) return give_up(connection, what);
    // It is not there yet, or not any more; the client has until ready_within.
    if (&connection == trial_) {
        trial_ = nullptr;
        try_at_ = Clock::now() + try_pause_;
        try_pause_ = std::min(try_pause_ * 2, kSlowestTry);
    }
    wait_for_backend(connection);
}

void Proxy::give_up(Connection& connection, const std::string& why) {
    failed_ = failed_ || one_;
    unreachable_.begin("a client is not served: " + why);
    close_with(connection, true, true);
}

void Proxy::tick_connecting(Instant now) {
    if (try_at_ && now >= *try_at_) {
        try_at_.reset();
        try_first_waiting();
    }
    while (Connection* first = waiting_.first()) {
        if (now < first->since + options_.ready_within) break;
        backend_->missed();
        give_up(*first, backend_->trouble());
    }
    while (Connection* first = on_the_way_.first()) {
        if (now < first->since + options_.connect_timeout) break;
        if (first->stage == Connection::Stage::resolving)
            target_failed(*first, "the name service does not answer");
        else
            address_failed(*first, "connect: timed out", ETIMEDOUT);
    }
    if (trial_ != nullptr && now >= trial_->begun + options_.connect_timeout) {
        if (trial_->stage == Connection::Stage::resolving)
            target_failed(*trial_, "the name service does not answer");
        else
            address_failed(*trial_, "connect: timed out", ETIMEDOUT);
    }
    while (Connection* first = again_.first()) {
        if (now < first->since + kAgain) break;
        again_.remove(*first);
        if (now >= first->begun + options_.connect_timeout) {
            address_failed(*first, error_text(first->code), first->code);
            continue;
        }
        on_the_way_.push(*first, now);
        connect_next(*first);
    }
}

}  // namespace proxy
