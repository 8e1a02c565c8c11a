// SPDX-License-Identifier: MIT
#pragma once
// One address of one service: its socket, or the tries to get one.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/backoff.h"
#include "core/engine.h"
#include "net/listener.h"
#include "sys/alarm.h"

namespace superd::core {

class Service;

class Port {
  public:
    /// `key`: what it is known by among all.
    Port(Engine& engine, std::string key, conf::Listen where)
        : engine_(engine), key_(std::move(key)), where_(std::move(where)), retry_(engine.loop, [this] { attempt(); }) {}
    Port(const Port&) = delete;
    ~Port();

    const std::string& key() const { return key_; }
    const conf::Listen& where() const { return where_; }
    net::Listener* listener() { return listener_ ? &*listener_ : nullptr; }
    /// "tcp://127.0.0.1:40123"; what was asked for while there is no socket.
    std::string uri() const { return listener_ ? listener_->uri() : where_.uri(); }

    /// Puts a socket in place; one that was there before is returned.
    std::optional<net::Listener> install(net::Listener listener);
    /// Gives the socket up without closing it.
    sys::PassedSocket take_socket();
    /// Closes it.
    void close();
    /// No socket yet: `attempt` is made again and again, with back-off, until it succeeds. While that goes on
    /// already, only the attempt changes. Without a `why` it is no news and not logged.
    void wait(const Error& why, std::function<Result<net::Listener>()> attempt);
    /// Over an upgrade: when the next attempt is due, and how long the one after that waits.
    struct Waiting {
        Instant next{};
        Backoff::Place backoff;
    };
    Waiting waiting() const { return {retry_.when().value_or(Instant{}), backoff_.place()}; }
    Result<void> go_on(const Waiting& waiting, std::function<Result<net::Listener>()> attempt);

    /// The same of a socket that is there: what is wrong with it, and when a new one may be had.
    struct Condition {
        std::optional<std::string> trouble;
        std::string told;  ///< of it
        bool deaf = false, renewable = false;
        Backoff::Place renewals;
        Instant renewed_at{}, renew_at{};
    };
    Condition condition() const;
    Result<void> go_on(const Waiting& waiting, const Condition& condition);

    /// The socket that is there is not as it should be, and that cannot be helped now; looked at again with back-off.
    /// True: it is news. well(): it was, and is no more.
    bool amiss(const net::Health& health);
    bool well();
    /// A new socket cannot be had either. True: it is news.
    bool cannot_renew(const Error& why);
    bool may_renew() const;
    /// By a new socket; the next time that this has to be, it takes longer.
    void renewed();
    const std::optional<std::string>& trouble() const { return now_.trouble; }
    /// No client comes by the socket.
    bool deaf() const { return now_.deaf; }
    /// Makes the attempt that is waited for now.
    void try_again();
    /// A handler is given the socket itself.
    void note_given();
    /// As which socket the service manager stores it; 0: it does not.
    ino_t stored = 0;

    /// Whose clients these are, and as which of its listeners.
    void belong(Service* owner, std::size_t index);
    Service* owner() const { return owner_; }
    std::size_t index() const { return index_; }
    /// Shall the owner hear of clients? Nothing happens where nothing changes.
    void watch(bool on);

  private:
    void attempt();
    void forget_trouble();
    /// Tells the engine what it is to know of this one.
    void update();

    Engine& engine_;
    const std::string key_;
    conf::Listen where_;
    std::optional<net::Listener> listener_;
    sys::Source source_;
    sys::Alarm retry_;  ///< the next attempt
    std::function<Result<net::Listener>()> attempt_;
    Backoff backoff_{std::chrono::milliseconds(200), std::chrono::seconds(10)};
    Condition now_;  ///< but for the place of:
    Backoff renewals_{std::chrono::milliseconds(200), std::chrono::seconds(10)};
    Service* owner_ = nullptr;
    std::size_t index_ = 0;
    bool watched_ = false;
    bool is_missing_ = false, is_exposed_ = false;  ///< as the engine knows it
};

/// All of them, each by its key, which it owns.
using Ports = std::map<std::string_view, std::unique_ptr<Port>>;

}  // namespace superd::core
