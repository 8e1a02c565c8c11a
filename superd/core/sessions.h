// SPDX-License-Identifier: MIT
#pragma once
// The sessions of a service: which peer's datagrams go to which handler, who gives way at the limit, and when a session
// has been idle for too long.
//
// At most limits.instances peers have one, with a handler or waiting for a place. When all have, the oldest of those
// that have sent one datagram only gives way: who forges one datagram for each of many senders competes with these, not
// with peers that have sent again. Answers do not count, since some services give none.

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "conf/service.h"
#include "core/engine.h"
#include "core/episode.h"
#include "core/session.h"
#include "model/host.h"

namespace superd::core {

/// Everything that the sessions may ask of their service. Tests use a fake one, whose clock steps.
class SessionHost {
  public:
    virtual ~SessionHost() = default;
    virtual Instant now() const = 0;
    /// Calls Sessions::woken() at that time; a later call replaces an earlier one.
    virtual void wake_sessions_at(Instant when) = 0;
    /// Makes a handler leave, by the stop ladder.
    virtual void stop_handler(pid_t pid) = 0;
    /// Forgets the first datagram of a peer that waits for a place.
    virtual void drop_waiting(const sys::Address& peer, const sys::Address& local) = 0;
};

class Sessions {
  public:
    Sessions(Engine& engine, const std::string& service, SessionHost& host, Replies& replies);
    Sessions(const Sessions&) = delete;
    ~Sessions() { clear(); }

    /// For sessions from now on.
    void configure(const conf::Service& definition);

    /// A datagram has come. True: it is of a session, or nobody's, and has been taken care of.
    bool receive(model::Client& client);
    /// Makes a place for the session of a new peer. False: there is none.
    bool begin(const model::Client& client, const sys::Address& bound);
    /// Ends the session of a client that is not served after all.
    void cancel(const model::Client& client);
    /// Has this client's session got a handler already?
    bool has_handler(const model::Client& client) const;
    /// The session of a client whose handler is about to be started; a new one, if there is none.
    std::unique_ptr<Session> take_out(const model::Client& client, const sys::Address& bound);
    /// The handler could not be started: it waits again.
    void put_back(std::unique_ptr<Session> session);

    /// No more comes from these peers: their handlers read an end, and those that wait are forgotten.
    void end_where(const std::function<bool(const SessionRecord&)>& is_over);
    /// The same for all of them, where their handlers are told otherwise.
    void clear();
    /// Those with handlers answer from these sockets from now on; -1: as before.
    void answer_from(const std::function<int(const SessionRecord&)>& socket_of);
    /// The time that the host was asked for has come.
    void woken();
    /// It has ended: what comes from its peer now is of another one.
    void forget(Session& session);
    /// Counts datagrams that no handler has read.
    void lost(std::size_t datagrams, const sys::Address& peer);

    bool empty() const { return by_peer_.empty(); }
    /// Does any of them have a handler?
    bool any_open() const;
    std::size_t size() const { return by_peer_.size(); }
    /// Those that have had one datagram only.
    std::size_t singles() const { return singles_.size(); }
    SessionReport report() const;

    SessionsState write_down() const;
    /// Sessions with handlers follow with these.
    Result<void> go_on(const SessionsState& state);
    /// Sets the timer for what has been taken over.
    void take_up();

    Engine& engine() { return engine_; }
    Replies& replies() { return replies_; }
    Instant now() const { return host_.now(); }

    /// Datagrams in all queues together, and the first ones of those that wait.
    static constexpr std::size_t kMostBytes = 16u << 20;
    /// What the kernel holds for a handler: the largest UDP datagram must fit, and few of them.
    static constexpr int kPairBuffer = 106'496;

  private:
    friend class Session;
    /// unix(7) sockets keep this much of their buffer for themselves.
    static constexpr int kOfSocket = 32;
    enum class Dropped { empty, nameless, overflow, unread, too_long };
    void dropped(Dropped why, const sys::Address& peer, std::uint64_t count = 1);
    void is_established(Session& session);
    /// The administrator may have set lower limits for sockets.
    void learn_longest(int pair);
    /// It has a place in the table; its datagrams come to it.
    void enter(Session& session);
    /// What comes from its peer now is of another session.
    void unlist(Session& session);
    void give_way(Session& session);
    /// Its handler reads an end, and is stopped if it has not left after `patience`.
    void end(Session& session, Duration patience);
    void look_at(Session& session);
    void set_due(Session& session, std::optional<Instant> when);
    /// Ends one that has no handler.
    void drop_waiting(Session& session);
    void wake();

    struct Entry {
        Session* session = nullptr;
        std::unique_ptr<Session> waiting;  ///< the same, while it has no handler
    };
    using Key = std::pair<sys::Address, sys::Address>;  ///< the peer's, and the one that it asked
    /// By either without a copy, which might find no memory when a session ends.
    struct Less {
        using is_transparent = void;
        using View = std::pair<const sys::Address&, const sys::Address&>;
        bool operator()(const View& a, const View& b) const;
        bool operator()(const Key& a, const Key& b) const { return (*this)(View(a), View(b)); }
        bool operator()(const Key& a, const View& b) const { return (*this)(View(a), b); }
        bool operator()(const View& a, const Key& b) const { return (*this)(a, View(b)); }
    };
    static Less::View key_of(const sys::Address& peer, const sys::Address& local) { return {peer, local}; }
    std::unique_ptr<Session> make(const model::Client& client, const sys::Address& bound);

    Engine& engine_;
    const std::string& service_;
    SessionHost& host_;
    Replies& replies_;
    std::size_t limit_ = 0;
    Duration idle_{}, patience_{};
    SessionCounts counts_;
    std::size_t queued_ = 0, bytes_ = 0;                 ///< in the queues of all
    std::size_t longest_ = 2 * kPairBuffer - kOfSocket;  ///< that a handler's socket takes: the kernel doubles its size
    Episode episode_;
    std::set<std::pair<Instant, Session*>> due_;
    std::list<Session*> singles_;  ///< those that have had one datagram only, the oldest first
    std::map<Key, Entry, Less> by_peer_;
    std::optional<Instant> wake_at_;
};

}  // namespace superd::core
