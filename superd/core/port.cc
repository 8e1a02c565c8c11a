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
    const bool missing = !listener_ || trouble() != nullptr;
    if (missing != is_missing_) engine_.missing += missing ? 1 : std::size_t(-1);
    is_missing_ = missing;
    const bool exposed = missing || listener_->given() || !listener_->path().empty() || !listener_->device().empty() ||
                         listener_->is_multicast();
    if (exposed && !is_exposed_) engine_.exposed.insert(this);
    if (!exposed && is_exposed_) engine_.exposed.erase(this);
    is_exposed_ = exposed;
}

Port::Hitch& Port::hitch() {
    if (!hitch_) hitch_ = std::make_unique<Hitch>(engine_.loop, [this] { attempt(); });
    return *hitch_;
}

void Port::try_later(Instant earliest) {
    hitch().retry.set(std::max(now() + hitch().backoff.next(), earliest));
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
    where_.reset();
    if (hitch_) hitch_->attempt = nullptr;
    forget_trouble();  // this also updates
    return before;
}

sys::PassedSocket Port::take_socket() {
    where_ = std::make_unique<conf::Listen>(where());
    auto socket = std::move(*listener_).release();
    close();
    return socket;
}

void Port::close() {
    if (!where_) where_ = std::make_unique<conf::Listen>(where());
    source_ = {};
    watched_ = false;
    listener_.reset();
    forget_trouble();
}

void Port::wait(const Error& why, std::function<Result<net::Listener>()> attempt) {
    hitch().attempt = std::move(attempt);
    update();
    if (hitch_->retry.is_set()) return;
    if (!why.text.empty())
        engine_.log.write(Level::warning,
                          fmt::format("waiting for {}: {}; trying again until it is available", where().uri(), why.text),
                          {{"SERVICE", owner_->name()}, {"ADDRESS", where().uri()}, {"ERRNO", why.code}});
    try_later();
}

Port::Waiting Port::waiting() const {
    if (!hitch_) return {};
    return {hitch_->retry.when().value_or(Instant{}), hitch_->backoff.place()};
}

void Port::go_on(const Waiting& waiting, std::function<Result<net::Listener>()> attempt) {
    hitch().attempt = std::move(attempt);
    update();
    hitch_->backoff.go_on(waiting.backoff);
    hitch_->retry.set(waiting.next);
}

Port::Condition Port::condition() const {
    if (!hitch_) return {};
    Condition condition = hitch_->now;
    condition.renewals = hitch_->renewals.place();
    return condition;
}

void Port::go_on(const Waiting& waiting, const Condition& condition) {
    const bool well = !condition.trouble && condition.renewed_at == Instant{} && waiting.backoff.tries == 0;
    if (well) return;
    hitch().now = condition;
    update();
    hitch_->renewals.go_on(condition.renewals);
    hitch_->backoff.go_on(waiting.backoff);
    if (trouble() != nullptr) hitch_->retry.set(waiting.next);
}

void Port::forget_trouble() {
    if (hitch_) {
        hitch_->retry.clear();
        hitch_->backoff.reset();
        hitch_->now.trouble.reset();
        hitch_->now.told.clear();
        hitch_->now.deaf = hitch_->now.renewable = false;
    }
    update();
}

bool Port::amiss(const net::Health& health) {
    const bool news = trouble() == nullptr || *trouble() != health.wrong;
    Condition& is = hitch().now;
    is.trouble = health.wrong;
    is.deaf = health.deaf;
    is.renewable = health.renewable;
    update();
    if (news || !hitch_->retry.is_set()) try_later(is.renew_at);
    // If a new socket corrects it at once, that is what is logged.
    return news && !may_renew();
}

bool Port::well() {
    const bool was = trouble() != nullptr;
    if (was) forget_trouble();
    return was;
}

bool Port::cannot_renew(const Error& why) {
    hitch().now.trouble = why.text;
    update();
    return std::exchange(hitch_->now.told, why.text) != why.text;
}

bool Port::may_renew() const {
    return trouble() != nullptr && hitch_->now.renewable && now() >= hitch_->now.renew_at;
}

void Port::renewed() {
    const Instant time = now();
    Hitch& of_it = hitch();
    if (time - of_it.now.renewed_at > kQuiet) of_it.renewals.reset();
    of_it.now.renewed_at = time;
    of_it.now.renew_at = time + of_it.renewals.next();
}

void Port::try_again() {
    if (hitch_ && hitch_->attempt) attempt();
}

void Port::attempt() {
    if (listener_) {
        try_later();
        return owner_->look_at_sockets();
    }
    auto opened = hitch().attempt();
    if (!opened) {
        engine_.log.write(Level::debug, fmt::format("still waiting for {}: {}", where().uri(), opened.error().text),
                          {{"SERVICE", owner_->name()}, {"ADDRESS", where().uri()}});
        return try_later();
    }
    install(std::move(*opened));
    owner_->port_came(index_);
    engine_.port_came(*this);
}

void Port::belong(Service* owner, std::size_t index) {
    owner_ = owner;
    index_ = static_cast<std::uint32_t>(index);
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
