// SPDX-License-Identifier: MIT
#pragma once
// Datagrams: a session for each peer, with a socket of its own to the backend, so that answers find their way back.

#include <sys/epoll.h>

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/reports.h"
#include "proxy/backend.h"
#include "proxy/resolver.h"

namespace proxy {

class Datagrams {
  public:
    Datagrams(const Options& options, Resolver& resolver, Fd keeper);
    /// Until told to leave and the last session is over. Without a pool it leaves when nobody has come for a while, so
    /// that superd watches again. Returns the exit status.
    int serve(Fd socket);

    static constexpr Duration kIdle = std::chrono::seconds(30);
    static constexpr std::size_t kMostPending = 16;             ///< datagrams of a session that wait for a backend
    static constexpr std::size_t kMostPendingBytes = 4u << 20;  ///< of all

  private:
    struct Session;
    using Order = std::list<Session*>;
    struct Session {
        std::string key;
        Address peer;
        std::string from;  ///< the control message by which answers leave from the address that was asked
        Fd fd;
        std::size_t target = 0;
        std::uint64_t heard = 0;  ///< datagrams of the peer
        std::vector<std::string> pending;
        bool open = false;   ///< its socket is connected
        bool asked = false;  ///< waits for a name
        bool over = false;
        Instant began, stirred;
        Order::iterator by_use, by_age;  ///< by_age: only with a single datagram
    };

    bool watch(int fd, std::uintptr_t source);
    int run();
    Duration patience_with(const Session& session) const;
    int patience() const;
    void dispatch(std::uint64_t source);
    void drain();
    void tick();
    void receive();
    void take(const Address& peer, std::string_view from, std::string_view data);
    Session* make(std::string key, const Address& peer, std::string_view from);
    void begin(Session& session);
    void answered(const Resolver::Answer& answer);
    void open(Session& session, const std::vector<Address>& addresses);
    void target_failed(Session& session, const std::string& why);
    void send(Session& session, std::string_view data);
    void hear(Session& session);
    void stir(Session& session);
    void end(Session& session);

    const Options& options_;
    Resolver& resolver_;
    std::optional<Backend> backend_;
    worker::Reports reports_;
    Fd epoll_, signals_, socket_;
    std::unordered_map<std::string, std::unique_ptr<Session>> sessions_;
    std::vector<std::unique_ptr<Session>> over_;  ///< events of this round may still name them
    Order by_use_, by_age_;
    std::size_t pending_bytes_ = 0;
    Instant quiet_since_;
    long taken_ = 0;
    bool draining_ = false, alone_ = false;
    Episode unreachable_, full_;
};

}  // namespace proxy
