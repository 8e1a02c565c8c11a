// SPDX-License-Identifier: MIT
#include "proxy/proxy.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>

#include "lib/signals.h"
#include "lib/stream.h"

namespace proxy {
namespace {

constexpr int kAcceptAtOnce = 64;
constexpr Duration kScarce = std::chrono::milliseconds(50);

/// Bytes on the way to the peer, which it has not taken yet.
int queued(const End& end) {
    int bytes = 0;
    return ioctl(end.fd.get(), SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

}  // namespace

Proxy::Proxy(const Options& options, Resolver& resolver, Fd keeper, std::size_t pipes)
    : options_(options),
      resolver_(resolver),
      reports_(options.status_fd),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      pipes_(pipes) {
    signals_ = take_signals(reports_);
    if (keeper) backend_.emplace(options, std::move(keeper));
}

bool Proxy::watch(int fd, std::uint32_t events, std::uintptr_t source) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = source;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

int Proxy::listen(Fd listener) {
    listener_ = std::move(listener);
    if (options_.status_fd && !watch(*options_.status_fd, EPOLLIN | EPOLLRDHUP, status)) return EXIT_FAILURE;
    watch_listener();
    reports_.idle(worker::room(options_.connections, 0));
    return run();
}

int Proxy::serve_one(Fd client) {
    one_ = draining_ = true;
    ++count_;
    Address peer;
    peer.size = sizeof peer.storage;
    if (getpeername(client.get(), peer.get(), &peer.size) != 0) peer = {};
    take(std::move(client), peer);
    return run();
}

int Proxy::run() {
    if (!epoll_ || !signals_ || !watch(signals_.get(), EPOLLIN, signals) || !watch(resolver_.fd(), EPOLLIN, names) ||
        (backend_ && !watch(backend_->fd(), EPOLLIN, keeper_news))) {
        say("epoll: " + error_text(errno));
        return EXIT_FAILURE;
    }
    std::array<epoll_event, 512> events;
    while (!draining_ || count_ > 0 || (backend_ && !backend_->is_off())) {
        const int got = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), patience());
        if (got < 0 && errno != EINTR) {
            say("epoll_wait: " + error_text(errno));
            return EXIT_FAILURE;
        }
        for (int i = 0; i < got; ++i) dispatch(events[static_cast<std::size_t>(i)]);
        std::vector<Connection*> moving;
        moving.swap(moving_);
        for (Connection* one : moving) {
            one->moving = false;
            if (one->stage == Connection::Stage::relaying) move(*one);
        }
        tick();
        watch_listener();  // those who waited may have made room
        over_.clear();
    }
    reports_.flush();
    return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
}

int Proxy::patience() const {
    if (!moving_.empty()) return 0;
    Instant due = Instant::max();
    const auto also = [&](Instant at) { due = std::min(due, at); };
    if (backend_) also(backend_->due().value_or(due));
    if (accept_again_) also(*accept_again_);
    if (try_at_) also(*try_at_);
    if (waiting_.first() != nullptr) also(waiting_.first()->since + options_.ready_within);
    if (trial_ != nullptr) also(trial_->begun + options_.connect_timeout);
    if (on_the_way_.first() != nullptr) also(on_the_way_.first()->since + options_.connect_timeout);
    if (again_.first() != nullptr) also(again_.first()->since + kScarce);
    if (relaying_.first() != nullptr) also(relaying_.first()->since + *options_.idle_timeout);
    if (due == Instant::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

void Proxy::dispatch(const epoll_event& event) {
    switch (event.data.u64) {
        case listening:
            return accept_some();
        case signals:
            return hear_signal();
        case status:
            if (reports_.is_closed()) drain();
            return;
        case names:
            for (const Resolver::Answer& answer : resolver_.take()) answered(answer);
            return;
        case keeper_news: {
            backend_->hear(Clock::now());
            if (!try_at_ && waiting_.size() > 0) try_at_ = Clock::now();
            return;
        }
        default: {
            auto& connection = *reinterpret_cast<Connection*>(event.data.u64 & ~std::uintptr_t{1});
            note(connection, (event.data.u64 & 1) != 0, event.events);
        }
    }
}

void Proxy::hear_signal() {
    signalfd_siginfo told;
    if (read(signals_.get(), &told, sizeof told) != sizeof told) return;
    // The second one means at once. Whatever it started ends with it.
    if (draining_) _exit(EXIT_SUCCESS);
    drain();
}

/// Takes nobody any more. The listening socket must be closed: once superd has closed it too, clients are to be
/// refused.
void Proxy::drain() {
    if (draining_) return;
    draining_ = true;
    watching_ = false;
    listener_.reset();
    if (options_.status_fd) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, *options_.status_fd, nullptr);
    if (backend_ && count_ == 0) backend_->stop();
}

bool Proxy::takes_more() const {
    return !draining_ && !accept_again_ && count_ < static_cast<std::size_t>(options_.connections) &&
           waiting_.size() < kMostWaiting;
}

void Proxy::watch_listener() {
    if (!listener_ || watching_ == takes_more()) return;
    watching_ = !watching_;
    if (watching_)
        watch(listener_.get(), EPOLLIN | EPOLLEXCLUSIVE, listening);
    else
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
}

void Proxy::accept_some() {
    for (int i = 0; i < kAcceptAtOnce && takes_more(); ++i) {
        // Another holder, or superd for the next definition, may have set the socket blocking.
        if (!worker::is_readable(listener_.get())) break;
        Address peer;
        peer.size = sizeof peer.storage;
        Fd client(accept4(listener_.get(), peer.get(), &peer.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!client) {
            if (errno == EAGAIN || errno == EINTR) break;
            if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) {
                if (errno != EBADF && errno != EINVAL && errno != ENOTSOCK && errno != EOPNOTSUPP) continue;
                say("accept: " + error_text(errno));
                failed_ = true;
                drain();
                break;
            }
            scarce_.begin("accept: " + error_text(errno) + ": clients wait");
            accept_again_ = Clock::now() + kScarce;
            break;
        }
        scarce_.end("accept: there is room again");
        report_taken(reports_, options_.connections, count_);
        if (count_++ == 0 && backend_) backend_->idle(false, Clock::now());
        take(std::move(client), peer);
        if (options_.max_requests && ++taken_ >= *options_.max_requests) drain();
    }
    watch_listener();
}

void Proxy::take(Fd client, const Address& peer) {
    auto owner = std::make_unique<Connection>(std::move(client), pipes_, Clock::now());
    Connection& connection = *owner.release();  // close_with() takes it back
    const int on = 1;
    setsockopt(connection.client.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // other sockets refuse
    if (options_.send_proxy != HeaderVersion::none) {
        const Ends ends = ends_of(connection.client.fd.get(), peer, one_);
        // A backend would take its bytes for the proxy's own.
        if (ends.client.size == 0 || ends.local.size == 0) return close_with(connection, true, true);
        connection.up.put_first(header(options_.send_proxy, ends.client, ends.local));
        if (connection.up.over()) return close_with(connection, true, true);  // no memory
    }
    if (!watch(connection.client.fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
               reinterpret_cast<std::uintptr_t>(&connection)))
        return give_up(connection, "epoll: " + error_text(errno));
    begin(connection);
}

void Proxy::note(Connection& connection, bool of_server, std::uint32_t events) {
    if (connection.stage == Connection::Stage::over) return;
    (of_server ? connection.server : connection.client).note(events);
    if (connection.stage == Connection::Stage::relaying) return move(connection);
    if (!of_server) {
        // One that has sent its end still wants an answer; one that is cut off wants nothing.
        if ((events & (EPOLLERR | EPOLLHUP)) != 0) close_with(connection, false, false);
        return;
    }
    if (connection.stage == Connection::Stage::connecting) hear_of_connect(connection, events);
}

void Proxy::move(Connection& connection) {
    const bool more_up = connection.up.move(connection.client, connection.server);
    const bool more_down = connection.down.move(connection.server, connection.client);
    const bool up = connection.up.over(), down = connection.down.over();
    if (connection.served && down) {
        connection.served = false;
        --served_;
    }
    if (connection.client.reset && (up || !connection.server.writable)) return close_with(connection, true, true);
    if (connection.server.reset && down) return close_with(connection, true, true);
    if (up && down) return close_with(connection, false, false);
    // One that has ended its side and is cut after that says so only here. Who has been told of the end needs no reset.
    if (connection.client.gone && up) return close_with(connection, false, connection.client.cut);
    if (connection.server.gone && down) return close_with(connection, false, false);
    if ((more_up || more_down) && !connection.moving) {
        connection.moving = true;
        moving_.push_back(&connection);
    }
    const bool stirred_up = connection.up.stirred(), stirred_down = connection.down.stirred();
    if (options_.idle_timeout && (stirred_up || stirred_down)) {
        relaying_.push(connection, Clock::now());
        connection.queued = 0;
    }
}

void Proxy::close_with(Connection& connection, bool reset_client, bool reset_server) {
    if (connection.queue != nullptr) connection.queue->remove(connection);
    if (trial_ == &connection) {
        trial_ = nullptr;
        if (waiting_.size() > 0) try_at_ = Clock::now();
    }
    if (connection.served) --served_;
    if (connection.moving) std::erase(moving_, &connection);
    const auto end = [](End& one, bool reset) {
        if (reset && one.fd) reset_at_close(one.fd.get());
        one.fd.reset();
    };
    end(connection.client, reset_client);
    end(connection.server, reset_server);
    connection.stage = Connection::Stage::over;
    over_.emplace_back(&connection);
    --count_;
    if (!one_) report_over(reports_, options_.connections, count_);
    if (backend_ && waiting_.size() == 0) backend_->want(false);
    if (backend_ && count_ == 0) draining_ ? backend_->stop() : backend_->idle(true, Clock::now());
    watch_listener();
}

void Proxy::tick() {
    const bool timed = accept_again_ || try_at_ || waiting_.first() != nullptr || on_the_way_.first() != nullptr ||
                       again_.first() != nullptr || relaying_.first() != nullptr || (backend_ && backend_->due());
    if (!timed) return;
    const Instant now = Clock::now();
    if (accept_again_ && now >= *accept_again_) {
        accept_again_.reset();
        watch_listener();
    }
    if (backend_) backend_->tick(now, served_ > 0);
    tick_connecting(now);
    while (Connection* first = relaying_.first()) {
        if (now < first->since + *options_.idle_timeout) break;
        // A slow reader takes what the kernel has for it: that is movement too.
        const int left = queued(first->client) + queued(first->server);
        if (left > 0 && (first->queued == 0 || left < first->queued)) {
            first->queued = left;
            relaying_.push(*first, now);
            continue;
        }
        close_with(*first, true, true);
    }
}

}  // namespace proxy
