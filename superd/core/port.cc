// SPDX-License-Identifier: MIT
#include "core/port.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "core/service.h"

namespace superd::core {
namespace {

/// After this long without one, a new socket may be made at once again.
constexpr Duration kQuiet = std::chrono::minutes(1);

}  // namespace

Port::~Port() {
    if (is_exposed_) engine_.exposed.erase(this);
    if (is_missing_) --engine_.missing;
}

void Port::update() {
    const bool missing = !listener_ || now_.trouble;
    if (missing != is_missing_) engine_.missing += missing ? 1 : std::size_t(-1);
    is_missing_ = missing;
    const bool exposed = missing || listener_->given() || !listener_->path().empty() || !listener_->device().empty() ||
                         listener_->is_multicast();
    if (exposed && !is_exposed_) engine_.exposed.insert(this);
    if (!exposed && is_exposed_) engine_.exposed.erase(this);
    is_exposed_ = exposed;
}

void Port::note_given() {
    if (!listener_) return;
    listener_->note_given();
    update();
}

std::optional<net::Listener> Port::install(net::Listener listener) {
    std::optional<net::Listener> before;
    source_ = {};
    watched_ = false;
    if (listener_) before.emplace(std::move(*listener_));
    listener_.reset();
    listener_.emplace(std::move(listener));
    attempt_ = nullptr;
    forget_trouble();  // and updates
    return before;
}

sys::PassedSocket Port::take_socket() {
    auto socket = std::move(*listener_).release();
    close();
    return socket;
}

void Port::close() {
    source_ = {};
    watched_ = false;
    listener_.reset();
    forget_trouble();
}

void Port::wait(const Error& why, std::function<Result<net::Listener>()> attempt) {
    attempt_ = std::move(attempt);
    update();
    if (retry_.is_set()) return;
    if (!why.text.empty())
        engine_.log.write(Level::warning,
                          fmt::format("waiting for {}: {}; trying again until it can be had", where_.uri(), why.text),
                          {{"SERVICE", owner_->name()}, {"ADDRESS", where_.uri()}, {"ERRNO", why.code}});
    (void)retry_.set(now() + backoff_.next());
}

Result<void> Port::go_on(const Waiting& waiting, std::function<Result<net::Listener>()> attempt) {
    attempt_ = std::move(attempt);
    update();
    backoff_.go_on(waiting.backoff);
    return retry_.set(waiting.next);
}

Port::Condition Port::condition() const {
    Condition condition = now_;
    condition.renewals = renewals_.place();
    return condition;
}

Result<void> Port::go_on(const Waiting& waiting, const Condition& condition) {
    now_ = condition;
    update();
    renewals_.go_on(condition.renewals);
    backoff_.go_on(waiting.backoff);
    return now_.trouble ? retry_.set(waiting.next) : Result<void>();
}

void Port::forget_trouble() {
    retry_.clear();
    backoff_.reset();
    now_.trouble.reset();
    now_.told.clear();
    now_.deaf = now_.renewable = false;
    update();
}

bool Port::amiss(const net::Health& health) {
    const bool news = !now_.trouble || *now_.trouble != health.wrong;
    now_.trouble = health.wrong;
    now_.deaf = health.deaf;
    now_.renewable = health.renewable;
    update();
    if (news || !retry_.is_set()) (void)retry_.set(std::max(now() + backoff_.next(), now_.renew_at));
    // What a new socket mends at once is told as that.
    return news && !may_renew();
}

bool Port::well() {
    const bool was = now_.trouble.has_value();
    if (was) forget_trouble();
    return was;
}

bool Port::cannot_renew(const Error& why) {
    now_.trouble = why.text;
    update();
    return std::exchange(now_.told, why.text) != why.text;
}

bool Port::may_renew() const {
    return now_.trouble && now_.renewable && now() >= now_.renew_at;
}

void Port::renewed() {
    const Instant time = now();
    if (time - now_.renewed_at > kQuiet) renewals_.reset();
    now_.renewed_at = time;
    now_.renew_at = time + renewals_.next();
}

void Port::try_again() {
    if (attempt_) attempt();
}

void Port::attempt() {
    if (listener_) {
        (void)retry_.set(now() + backoff_.next());
        return owner_->look_at_sockets();
    }
    auto opened = attempt_();
    if (!opened) {
        engine_.log.write(Level::debug, fmt::format("still waiting for {}: {}", where_.uri(), opened.error().text),
                          {{"SERVICE", owner_->name()}, {"ADDRESS", where_.uri()}});
        (void)retry_.set(now() + backoff_.next());
        return;
    }
    install(std::move(*opened));
    owner_->port_came(index_);
    engine_.port_came(*this);
}

void Port::belong(Service* owner, std::size_t index) {
    owner_ = owner;
    index_ = index;
}

void Port::watch(bool on) {
    if (on == watched_ || !listener_) return;
    if (!source_) {
        auto source = engine_.loop.io(listener_->fd(), EPOLLIN | EPOLLRDHUP, [this](std::uint32_t events) {
            if ((events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0) owner_->socket_hung_up(index_);
            if ((events & (EPOLLIN | EPOLLERR)) != 0) owner_->port_ready(index_);
        });
        if (!source) {
            owner_->back_off(source.error());
            return;
        }
        source_ = std::move(*source);
        watched_ = on;
        return;
    }
    if (auto enabled = source_.enable(on); !enabled) {
        owner_->back_off(enabled.error());
        return;
    }
    watched_ = on;
}

}  // namespace superd::core
