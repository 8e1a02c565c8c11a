// SPDX-License-Identifier: MIT
#include "tls/server.h"

#include <openssl/crypto.h>
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "tls/facts.h"

namespace superd::tls {
namespace {

using proc::TlsAnswer;
using proc::TlsEnd;

constexpr int kMostEvents = 256;
/// Clients taken from superd before those that are here have their turn.
constexpr int kMostOrders = 32;
/// More clients than these do not linger: the longest there goes.
constexpr std::size_t kMostLeaving = 1024;
/// The same for those whose handlers have gone.
constexpr std::size_t kMostUnread = 1024;

/// How often it looks for keys of tickets that are of no use any more.
constexpr std::int64_t kForgetsEachMs = Tickets::kRenewal * 1000;

std::int64_t now_ms() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace

void Line::add(Connection& one, std::int64_t deadline) {
    one.line = this;
    one.deadline = deadline;
    one.before = last_;
    one.after = nullptr;
    (last_ != nullptr ? last_->after : first_) = &one;
    last_ = &one;
    ++size_;
}

void Line::remove(Connection& one) {
    (one.before != nullptr ? one.before->after : first_) = one.after;
    (one.after != nullptr ? one.after->before : last_) = one.before;
    one.before = one.after = nullptr;
    one.line = nullptr;
    --size_;
}

std::string Server::set_up() {
    epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    if (!epoll_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, channel_.fd(), &event) != 0) return std::strerror(errno);
    return "";
}

void Server::run() {
    channel_.say(TlsAnswer::Word::ready, proc::kTlsVersion, "");
    epoll_event events[kMostEvents];
    while (open_ || count_ > 0) {
        const int n = epoll_wait(epoll_.get(), events, kMostEvents, patience());
        bool called = false;
        for (int i = 0; i < n; ++i) {
            const std::uint64_t whose = events[i].data.u64;
            if (whose == 0) {
                called = true;
                continue;
            }
            note(whose, events[i].events);
        }
        if (called && open_) hear();
        for (std::size_t left = queue_.size(); left > 0; --left) {
            Connection& one = *queue_.front();
            queue_.pop_front();
            one.queued = false;
            if (!one.dead) attempt(one);
        }
        expire();
        const bool full = !channel_.flush();
        if (full != waits_for_room_) watch_channel(full);
        bury();
    }
}

void Server::note(std::uint64_t whose, std::uint32_t events) {
    auto& one = *reinterpret_cast<Connection*>(whose & ~std::uint64_t{1});
    if (one.dead) return;
    (whose & 1) != 0 ? one.note_pair(events) : one.note_connection(events);
    try {
        queue(one);
    } catch (const std::bad_alloc&) {
        end(one);
    }
}

void Server::attempt(Connection& one) {
    try {
        work(one);
    } catch (const std::bad_alloc&) {
        if (!one.dead) end(one);
    }
}

void Server::watch_channel(bool for_room) {
    waits_for_room_ = for_room;
    epoll_event event{};
    // A channel that superd has closed would be an event again and again.
    event.events = (open_ ? EPOLLIN : EPOLLET) | (for_room ? EPOLLOUT : 0u);
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, channel_.fd(), &event);
}

void Server::hear() {
    for (int i = 0; i < kMostOrders && open_; ++i) {
        Order order = channel_.next();
        switch (order.what) {
            case Order::What::nothing:
                return;
            case Order::What::client:
                take(std::move(order));
                break;
            case Order::What::lost:
                lose(order.ticket, "superd-tls has no room for more descriptors");
                break;
            case Order::What::closed:
                open_ = false;
                watch_channel(waits_for_room_);
        }
    }
}

void Server::take(Order order) {
    const std::uint64_t ticket = order.ticket;
    Connection* one = nullptr;
    try {
        // end() has its place.
        if (dead_.capacity() <= dead_.size() + count_) dead_.reserve(2 * (dead_.size() + count_) + 1);
        one = new Connection(ticket, std::move(order.connection), std::move(order.pair));
        ++count_;
        const std::string why = one->begin(contexts_.first(), epoll_.get());
        if (why.empty()) return queue(*one);
        end(*std::exchange(one, nullptr));
        channel_.say(TlsAnswer::Word::refused, ticket, why, TlsEnd::scarce);
    } catch (const std::bad_alloc&) {
        if (one != nullptr) end(*one);
        lose(ticket, "superd-tls has no memory");
    }
}

void Server::lose(std::uint64_t ticket, std::string_view why) {
    try {
        channel_.say(TlsAnswer::Word::refused, ticket, why, TlsEnd::scarce);
    } catch (const std::bad_alloc&) {
        return;  // superd waits for it no longer than for any other
    }
}

void Server::queue(Connection& one) {
    if (one.queued) return;
    queue_.push_back(&one);
    one.queued = true;
}

void Server::work(Connection& one) {
    const bool shaking = one.is_shaking();
    const Connection::Next next = one.go(scratch_);
    switch (next) {
        case Connection::Next::wait:
            return wait_for_reader(one);
        case Connection::Next::again:
            wait_for_reader(one);
            return queue(one);
        case Connection::Next::shaken:
            channel_.say(TlsAnswer::Word::done, one.ticket(), facts_of(one.session()));
            return queue(one);
        case Connection::Next::leave:
            if (shaking) channel_.say(TlsAnswer::Word::refused, one.ticket(), one.why(), one.end());
            if (leaving_.size() >= kMostLeaving) end(*leaving_.first());
            if (one.line != nullptr) one.line->remove(one);
            leaving_.add(one, now_ms() + Connection::kLingerMs);
            return queue(one);
        case Connection::Next::over:
            return end(one);
    }
}

void Server::expire() {
    const std::int64_t time = now_ms();
    if (time >= forgets_at_) {
        contexts_.forget_old_tickets();
        forgets_at_ = time + kForgetsEachMs;
    }
    for (Line* const line : {&leaving_, &unread_})
        while (Connection* const one = line->first()) {
            if (one->deadline > time) break;
            end(*one);
        }
}

void Server::wait_for_reader(Connection& one) {
    if (!one.is_unread()) return;
    const bool sent = one.has_sent();
    if (one.line != nullptr && !sent) return;
    if (one.line != nullptr) one.line->remove(one);
    if (unread_.size() >= kMostUnread) end(*unread_.first());
    unread_.add(one, now_ms() + Connection::kReadsWithinMs);
}

/// It may still be named by an event or wait in the queue.
void Server::end(Connection& one) {
    if (one.line != nullptr) one.line->remove(one);
    one.close();
    one.dead = true;
    dead_.push_back(&one);
    --count_;
}

void Server::bury() {
    std::erase_if(dead_, [](Connection* one) {
        if (one->queued) return false;
        delete one;
        return true;
    });
}

int Server::patience() const {
    if (!queue_.empty()) return 0;
    std::int64_t deadline = forgets_at_;
    for (const Line* const line : {&leaving_, &unread_})
        if (const Connection* const first = line->first()) deadline = std::min(deadline, first->deadline);
    return static_cast<int>(std::clamp<std::int64_t>(deadline - now_ms() + 1, 0, kForgetsEachMs));
}

}  // namespace superd::tls
