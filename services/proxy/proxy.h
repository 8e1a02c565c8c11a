// SPDX-License-Identifier: MIT
#pragma once
// Connections: from a listening socket, or the one on stdin.

#include <sys/epoll.h>

#include <memory>
#include <optional>
#include <vector>

#include "lib/reports.h"
#include "proxy/backend.h"
#include "proxy/connection.h"
#include "proxy/resolver.h"

namespace proxy {

/// One event loop. It never waits for a client, a backend or a name service.
class Proxy {
  public:
    /// `keeper`: of the backend that is to be started, if there is one. `pipes`: no more than so many.
    Proxy(const Options& options, Resolver& resolver, Fd keeper, std::size_t pipes);

    /// Serves all who come, until told to leave and the last has gone. Returns the exit status.
    int listen(Fd listener);
    int serve_one(Fd client);

    /// Clients who wait for a backend's start; more wait in the listening socket's queue.
    static constexpr std::size_t kMostWaiting = 1024;

  private:
    enum Source : std::uintptr_t { listening = 8, signals = 16, status = 24, names = 32, keeper_news = 40, last = 64 };

    bool watch(int fd, std::uint32_t events, std::uintptr_t source);
    int run();
    int patience() const;
    void dispatch(const epoll_event& event);
    void hear_signal();
    void drain();
    void tick();

    // -- clients
    void accept_some();
    bool takes_more() const;
    void watch_listener();
    /// `peer`: as accept() has told it, which a client that has left again cannot be asked.
    void take(Fd client, const Address& peer);
    void note(Connection& connection, bool of_server, std::uint32_t events);
    void move(Connection& connection);
    void close_with(Connection& connection, bool reset_client, bool reset_server);

    // -- the way to a backend (connect.cc)
    void begin(Connection& connection);
    void try_first_waiting();
    void look_up(Connection& connection);
    void answered(const Resolver::Answer& answer);
    void connect_next(Connection& connection);
    /// 0: on its way or done. Otherwise an errno.
    int connect_to(Connection& connection, const Address& address);
    void hear_of_connect(Connection& connection, std::uint32_t events);
    void connected(Connection& connection);
    void address_failed(Connection& connection, const std::string& why, int code);
    /// `code`: of a connect, or 0 if none has failed.
    void target_failed(Connection& connection, const std::string& why, int code = 0);
    void give_up(Connection& connection, const std::string& why);
    void wait_for_backend(Connection& connection);
    void tick_connecting(Instant now);

    const Options& options_;
    Resolver& resolver_;
    std::optional<Backend> backend_;
    worker::Reports reports_;
    Fd epoll_, signals_, listener_;
    Pipes pipes_;
    std::size_t count_ = 0;
    std::size_t served_ = 0;
    long taken_ = 0;
    bool one_ = false;  ///< the one on stdin is all there is
    bool draining_ = false;
    bool watching_ = false;  ///< the listener
    bool failed_ = false;
    std::optional<Instant> accept_again_;  ///< descriptors or memory are scarce until then

    Queue waiting_;                ///< for the backend's start
    Queue on_the_way_;             ///< names and connects, each with connect_timeout
    Queue again_;                  ///< with a socket that could not be had or a full backlog, until kAgain has passed
    Queue relaying_;               ///< only if there is an idle timeout
    Connection* trial_ = nullptr;  ///< the one who waits and tries whether the backend is ready
    std::optional<Instant> try_at_;
    Duration try_pause_{};
    std::vector<Connection*> moving_;
    std::vector<std::unique_ptr<Connection>> over_;  ///< events of this round may still name them
    Episode unreachable_, scarce_;
};

}  // namespace proxy
