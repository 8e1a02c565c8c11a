// SPDX-License-Identifier: MIT
#pragma once
// One address of one service: its socket, or the attempts to get one.

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
    /// `key`: its name among all ports.
    Port(Engine& engine, std::string key, conf::Listen where)
        : engine_(engine), key_(std::move(key)), where_(std::make_unique<conf::Listen>(std::move(where))) {}
    Port(const Port&) = delete;
    ~Port();

    const std::string& key() const { return key_; }
    const conf::Listen& where() const { return listener_ ? listener_->where() : *where_; }
    net::Listener* listener() { return listener_ ? &*listener_ : nullptr; }
    /// "tcp://127.0.0.1:40123"; without a socket, the address as it was asked for.
    std::string uri() const { return listener_ ? listener_->uri() : where_->uri(); }

    /// Puts a socket in place; returns the previous one, if any.
    std::optional<net::Listener> install(net::Listener listener);
    /// Gives up the socket without closing it.
    sys::PassedSocket take_socket();
    /// Closes it.
    void close();
    /// No socket yet: repeats `attempt` with back-off until it succeeds. If that is under way already, only the attempt
    /// changes. Without a `why` it is not news and not logged.
    void wait(const Error& why, std::function<Result<net::Listener>()> attempt);
    /// For an upgrade: when the next attempt is due, and how long the one after that waits.
    struct Waiting {
        Instant next{};
        Backoff::Place backoff;
    };
    Waiting waiting() const;
    void go_on(const Waiting& waiting, std::function<Result<net::Listener>()> attempt);

    /// The same for an existing socket: what is wrong with it, and when a new one may be made.
    struct Condition {
        std::optional<std::string> trouble;
        std::string told;  ///< what was logged about it
        bool deaf = false, renewable = false;
        Backoff::Place renewals;
        Instant renewed_at{}, renew_at{};
    };
    Condition condition() const;
    void go_on(const Waiting& waiting, const Condition& condition);

    /// The present socket is not as it should be, and this cannot be helped now; superd looks again with back-off.
    /// True: this is news. well(): it was so, and is over.
    bool amiss(const net::Health& health);
    bool well();
    /// A new socket cannot be made either. True: this is news.
    bool cannot_renew(const Error& why);
    bool may_renew() const;
    /// Corrected by a new socket; the next time it takes longer.
    void renewed();
    /// nullptr: none.
    const std::string* trouble() const { return hitch_ && hitch_->now.trouble ? &*hitch_->now.trouble : nullptr; }
    /// No client reaches the socket.
    bool deaf() const { return hitch_ && hitch_->now.deaf; }
    /// Makes the pending attempt now.
    void try_again();
    /// A handler gets the socket itself.
    void note_given();
    /// The inode under which the service manager stores the socket; 0: it does not.
    ino_t stored = 0;

    /// The service that gets the clients, and the number of this listener there.
    void belong(Service* owner, std::size_t index);
    Service* owner() const { return owner_; }
    std::size_t index() const { return index_; }
    /// Whether the owner hears of clients. Does nothing if nothing changes.
    void watch(bool on);

  private:
    /// What only those need that wait for a socket, or for one to be well again.
    struct Hitch {
        Hitch(sys::Loop& loop, sys::Loop::Handler attempts) : retry(loop, std::move(attempts)) {}

        sys::Alarm retry;  ///< the next attempt
        std::function<Result<net::Listener>()> attempt;
        Backoff backoff{std::chrono::milliseconds(200), std::chrono::seconds(10)};
        Condition now;  ///< but for the place of:
        Backoff renewals{std::chrono::milliseconds(200), std::chrono::seconds(10)};
    };
    Hitch& hitch();
    /// The next attempt, but not before `earliest`.
    void try_later(Instant earliest = {});
    void attempt();
    void forget_trouble();
    /// Brings the engine's knowledge of this port up to date.
    void update();

    Engine& engine_;
    const std::string key_;
    std::unique_ptr<conf::Listen> where_;  ///< while there is no socket, which has it
    std::optional<net::Listener> listener_;
    sys::Source source_;
    std::unique_ptr<Hitch> hitch_;
    Service* owner_ = nullptr;
    std::uint32_t index_ = 0;
    bool watched_ = false;
    bool is_missing_ = false, is_exposed_ = false;  ///< as the engine knows it
};

/// All ports by key; each key belongs to its port.
using Ports = std::map<std::string_view, std::unique_ptr<Port>>;

}  // namespace superd::core
