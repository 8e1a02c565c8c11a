// SPDX-License-Identifier: MIT
#include "proxy/datagrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "lib/inbox.h"
#include "lib/signals.h"

namespace proxy {
namespace {

enum Source : std::uint64_t { listening = 1, signals, status, names, keeper_news, last };
constexpr int kAtOnce = 64;
constexpr Duration kQuiet = std::chrono::seconds(10);  // as the shipped handlers

std::array<char, 65536> received;

/// What of a datagram's control messages an answer to it needs. Routing chooses the interface, except for addresses
/// that only mean something on one.
std::string answer_from(msghdr& message) {
    std::string six;
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
        std::string out(CMSG_SPACE(one->cmsg_len - CMSG_LEN(0)), '\0');
        if (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info;
            std::memcpy(&info, CMSG_DATA(one), sizeof info);
            if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) continue;  // nothing leaves from a group's address
            if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
            std::memcpy(CMSG_DATA(one), &info, sizeof info);
            std::memcpy(out.data(), one, one->cmsg_len);
            six = std::move(out);
        } else if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_PKTINFO) {
            in_pktinfo info;
            std::memcpy(&info, CMSG_DATA(one), sizeof info);
            // The kernel has put an address of ours there, also for a broadcast; not before the socket option was set.
            if (info.ipi_spec_dst.s_addr == INADDR_ANY) info.ipi_spec_dst = info.ipi_addr;
            info.ipi_ifindex = 0;
            std::memcpy(CMSG_DATA(one), &info, sizeof info);
            std::memcpy(out.data(), one, one->cmsg_len);
            return out;  // a dual-stack socket gives both; only this one knows of broadcasts
        }
    }
    return six;
}

bool is_refusal(int code) {
    return code == ECONNREFUSED || code == EHOSTUNREACH || code == ENETUNREACH || code == EHOSTDOWN;
}

}  // namespace

Datagrams::Datagrams(const Options& options, Resolver& resolver, Fd keeper)
    : options_(options), resolver_(resolver), reports_(options.status_fd), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    signals_ = take_signals(reports_);
    if (keeper) backend_.emplace(options, std::move(keeper));
}

bool Datagrams::watch(int fd, std::uintptr_t source) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = source;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

int Datagrams::serve(Fd socket) {
    socket_ = std::move(socket);
    worker::receive_at(socket_.get());
    alone_ = !options_.status_fd && !options_.max_requests;
    quiet_since_ = Clock::now();
    if (!epoll_ || !signals_ || !watch(signals_.get(), signals) || !watch(resolver_.fd(), names) ||
        !watch(socket_.get(), listening) || (options_.status_fd && !watch(*options_.status_fd, status)) ||
        (backend_ && !watch(backend_->fd(), keeper_news))) {
        say("epoll: " + error_text(errno));
        return EXIT_FAILURE;
    }
    reports_.idle(worker::room(options_.connections, 0));
    return run();
}

int Datagrams::run() {
    std::array<epoll_event, 256> events;
    while (!draining_ || !sessions_.empty() || (backend_ && !backend_->is_off())) {
        const int got = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), patience());
        if (got < 0 && errno != EINTR) {
            say("epoll_wait: " + error_text(errno));
            return EXIT_FAILURE;
        }
        for (int i = 0; i < got; ++i) dispatch(events[static_cast<std::size_t>(i)].data.u64);
        tick();
        over_.clear();
    }
    reports_.flush();
    return EXIT_SUCCESS;
}

/// One that waits for its backend is not idle.
Duration Datagrams::patience_with(const Session& session) const {
    const Duration idle = options_.idle_timeout.value_or(kIdle);
    if (session.open) return idle;
    return std::max(idle, backend_ ? options_.ready_within : options_.connect_timeout);
}

int Datagrams::patience() const {
    Instant due = Instant::max();
    const auto also = [&](Instant at) { due = std::min(due, at); };
    if (backend_) also(backend_->due().value_or(due));
    if (!by_use_.empty()) also(by_use_.front()->stirred + patience_with(*by_use_.front()));
    if (alone_ && sessions_.empty() && !draining_) also(quiet_since_ + kQuiet);
    if (due == Instant::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

void Datagrams::dispatch(std::uint64_t source) {
    switch (source) {
        case listening:
            return receive();
        case signals: {
            signalfd_siginfo told;
            if (read(signals_.get(), &told, sizeof told) != sizeof told) return;
            if (draining_) _exit(EXIT_SUCCESS);
            return drain();
        }
        case status:
            if (reports_.is_closed()) drain();
            return;
        case names:
            for (const Resolver::Answer& answer : resolver_.take()) answered(answer);
            return;
        case keeper_news: {
            backend_->hear(Clock::now());
            if (!backend_->is_ready()) return;
            std::vector<Session*> waiting;
            for (Session* one : by_use_)
                if (!one->open && !one->asked) waiting.push_back(one);
            backend_->want(false);
            for (Session* one : waiting) begin(*one);
            return;
        }
        default: {
            auto& session = *reinterpret_cast<Session*>(source);
            if (session.open) hear(session);
        }
    }
}

/// Answers still go to the peers of present sessions; what these send from now on is for others.
void Datagrams::drain() {
    if (draining_) return;
    draining_ = true;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket_.get(), nullptr);
    if (options_.status_fd) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, *options_.status_fd, nullptr);
    if (backend_ && sessions_.empty()) backend_->stop();
}

void Datagrams::tick() {
    const Instant now = Clock::now();
    if (backend_) backend_->tick(now);
    while (!by_use_.empty() && now >= by_use_.front()->stirred + patience_with(*by_use_.front())) {
        Session& session = *by_use_.front();
        if (!session.pending.empty())
            unreachable_.begin("datagrams of a peer are dropped: " +
                               (backend_ ? backend_->trouble() : "the name service does not answer"));
        end(session);
    }
    if (alone_ && sessions_.empty() && now >= quiet_since_ + kQuiet) drain();
}

void Datagrams::receive() {
    for (int i = 0; i < kAtOnce && !draining_; ++i) {
        Address peer;
        iovec part{received.data(), received.size()};
        alignas(cmsghdr) char control[256];
        msghdr message{};
        message.msg_name = peer.get();
        message.msg_namelen = sizeof peer.storage;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
        if (got < 0 && errno != EINTR) return;
        if (got < 0 || message.msg_namelen == 0) continue;
        peer.size = message.msg_namelen;
        quiet_since_ = Clock::now();
        take(peer, answer_from(message), {received.data(), static_cast<std::size_t>(got)});
    }
}

void Datagrams::take(const Address& peer, std::string_view from, std::string_view data) {
    std::string key(reinterpret_cast<const char*>(&peer.storage), peer.size);
    key += from;
    const auto found = sessions_.find(key);
    Session* session = found != sessions_.end() ? found->second.get() : make(std::move(key), peer, from);
    if (session == nullptr) return;
    if (++session->heard == 2) by_age_.erase(session->by_age);
    stir(*session);
    if (session->open && backend_ && !backend_->is_ready()) {  // it has gone, and is needed again
        session->open = false;
        session->fd.reset();
    }
    if (session->open) return send(*session, data);
    if (session->pending.size() < kMostPending && pending_bytes_ + data.size() <= kMostPendingBytes) {
        session->pending.emplace_back(data);
        pending_bytes_ += data.size();
    }
    if (!session->asked) begin(*session);
}

/// nullptr: no more sessions. Of those with a single datagram, the oldest gives way: whoever forges senders takes the
/// places of his own kind.
Datagrams::Session* Datagrams::make(std::string key, const Address& peer, std::string_view from) {
    if (sessions_.size() >= static_cast<std::size_t>(options_.connections)) {
        full_.begin("no more than " + std::to_string(options_.connections) + " sessions at a time");
        if (by_age_.empty()) return nullptr;
        end(*by_age_.front());
    } else {
        full_.end("there is room for sessions again");
    }
    if (sessions_.empty() && backend_) backend_->idle(false, Clock::now());
    auto session = std::make_unique<Session>();
    session->key = key;
    session->peer = peer;
    session->from = from;
    session->began = session->stirred = Clock::now();
    session->by_use = by_use_.insert(by_use_.end(), session.get());
    session->by_age = by_age_.insert(by_age_.end(), session.get());
    Session* const made = session.get();
    sessions_.emplace(std::move(key), std::move(session));
    report_taken(reports_, options_.connections, sessions_.size() - 1);
    if (options_.max_requests && ++taken_ >= *options_.max_requests) drain();
    return made;
}

void Datagrams::stir(Session& session) {
    session.stirred = Clock::now();
    by_use_.splice(by_use_.end(), by_use_, session.by_use);
}

void Datagrams::begin(Session& session) {
    if (backend_ && !backend_->is_ready()) return backend_->want(true);
    const Target& target = options_.targets[session.target];
    if (target.fixed) return open(session, {*target.fixed});
    session.asked = true;
    resolver_.ask(session.target);
}

void Datagrams::answered(const Resolver::Answer& answer) {
    std::vector<Session*> asked;
    for (Session* one : by_use_)
        if (one->asked && one->target == answer.target) asked.push_back(one);
    for (Session* one : asked) {
        one->asked = false;
        if (answer.addresses)
            open(*one, *answer.addresses);
        else
            target_failed(*one, answer.addresses.error());
    }
}

void Datagrams::open(Session& session, const std::vector<Address>& addresses) {
    std::string why = "no address of the family of --bind";
    for (const Address& address : addresses) {
        if (options_.bind && options_.bind->family() != address.family()) continue;
        session.fd.reset(socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const bool bound =
            session.fd && (!options_.bind || bind(session.fd.get(), options_.bind->get(), options_.bind->size) == 0);
        session.open = bound && connect(session.fd.get(), address.get(), address.size) == 0 &&
                       !connected_to_itself(session.fd.get()) &&
                       watch(session.fd.get(), reinterpret_cast<std::uintptr_t>(&session));
        if (session.open) break;
        why = error_text(errno);
    }
    if (!session.open) return target_failed(session, why);
    stir(session);
    std::vector<std::string> pending = std::exchange(session.pending, {});
    auto next = pending.begin();
    for (; next != pending.end() && session.open; ++next) {
        pending_bytes_ -= next->size();
        send(session, *next);
    }
    // The rest waits for the next target, behind the one that was refused.
    for (; next != pending.end(); ++next) {
        if (session.over)
            pending_bytes_ -= next->size();
        else
            session.pending.push_back(std::move(*next));
    }
}

void Datagrams::target_failed(Session& session, const std::string& why) {
    session.open = false;
    session.fd.reset();
    unreachable_.begin(options_.targets[session.target].text + ": " + why);
    if (++session.target < options_.targets.size()) return begin(session);
    end(session);
}

void Datagrams::send(Session& session, std::string_view data) {
    // The first error may be about an earlier datagram.
    for (int i = 0; i < 2; ++i) {
        if (::send(session.fd.get(), data.data(), data.size(), MSG_NOSIGNAL) >= 0) return;
        if (!is_refusal(errno)) return;  // no room, or too large: lost, as any datagram may be
        if (session.target + 1 >= options_.targets.size()) {
            unreachable_.begin(options_.targets[session.target].text + ": " + error_text(errno));
            continue;
        }
        session.pending.emplace_back(data);
        pending_bytes_ += data.size();
        return target_failed(session, error_text(errno));
    }
}

void Datagrams::hear(Session& session) {
    for (int i = 0; i < kAtOnce; ++i) {
        const ssize_t got = recv(session.fd.get(), received.data(), received.size(), MSG_DONTWAIT);
        if (got < 0) {
            if (errno == EINTR || (is_refusal(errno) && session.target + 1 >= options_.targets.size())) continue;
            if (is_refusal(errno)) target_failed(session, error_text(errno));
            return;
        }
        unreachable_.end("the backend answers again");
        stir(session);
        iovec part{received.data(), static_cast<std::size_t>(got)};
        msghdr message{};
        message.msg_name = session.peer.get();
        message.msg_namelen = session.peer.size;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = session.from.empty() ? nullptr : session.from.data();
        message.msg_controllen = session.from.size();
        (void)!sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

void Datagrams::end(Session& session) {
    for (const std::string& data : session.pending) pending_bytes_ -= data.size();
    by_use_.erase(session.by_use);
    if (session.heard < 2) by_age_.erase(session.by_age);
    session.open = false;
    session.over = true;
    session.fd.reset();
    const auto at = sessions_.find(session.key);
    over_.push_back(std::move(at->second));
    sessions_.erase(at);
    report_over(reports_, options_.connections, sessions_.size());
    if (!sessions_.empty()) return;
    quiet_since_ = Clock::now();
    if (backend_) backend_->want(false);
    if (backend_) draining_ ? backend_->stop() : backend_->idle(true, quiet_since_);
}

}  // namespace proxy
