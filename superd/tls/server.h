// SPDX-License-Identifier: MIT
#pragma once
// The loop of superd-tls: all clients of one service.

#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "sys/fd.h"
#include "tls/channel.h"
#include "tls/connection.h"
#include "tls/line.h"
#include "tls/settings.h"

namespace superd::tls {

class Server {
  public:
    Server(Channel channel, Contexts& contexts) : channel_(std::move(channel)), contexts_(contexts) {}

    /// An error as text; empty: done.
    std::string set_up();
    /// Until superd sends no more clients, and the last one has gone.
    void run();

  private:
    /// Notes what has happened, and has it dealt with.
    void note(std::uint64_t whose, std::uint32_t events);
    void hear();
    void take(Order order);
    void lose(std::uint64_t ticket, std::string_view why);
    void work(Connection& one);
    /// The same; without memory it ends, and all others go on.
    void attempt(Connection& one);
    void queue(Connection& one);
    void leave(Connection& one);
    void wait_for_reader(Connection& one);
    void end(Connection& one);
    void expire();
    void bury();
    int patience() const;
    void watch_channel(bool for_room);

    Channel channel_;
    Contexts& contexts_;
    sys::Fd epoll_;
    bool open_ = true;             ///< superd may send more
    std::int64_t forgets_at_ = 0;  ///< old keys of tickets; ms
    bool waits_for_room_ = false;
    std::size_t count_ = 0;
    Line leaving_;
    Line unread_;  ///< whose handlers have gone, and who are still to read what those said
    std::deque<Connection*> queue_;
    std::vector<Connection*> dead_;
    char scratch_[Connection::kScratch];
};

}  // namespace superd::tls
