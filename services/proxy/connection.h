// SPDX-License-Identifier: MIT
#pragma once
// One client and its backend, and the queues that connections wait in.

#include <string>

#include "proxy/relay.h"

namespace proxy {

struct Connection;

/// Connections in the order in which they came into the queue, so the first is due first.
class Queue {
  public:
    void push(Connection& connection, Instant since);
    void remove(Connection& connection);
    Connection* first() const { return first_; }
    std::size_t size() const { return size_; }

  private:
    Connection* first_ = nullptr;
    Connection* last_ = nullptr;
    std::size_t size_ = 0;
};

struct Connection {
    enum class Stage { waiting, resolving, connecting, relaying, over };

    Connection(Fd fd, Pipes& pipes, Instant now) : up(pipes), down(pipes), arrived(now) { client.fd = std::move(fd); }

    End client, server;
    Flow up, down;  ///< to the server and to the client
    Stage stage = Stage::waiting;
    bool moving = false;  ///< has its turn once more before epoll is asked
    bool served = false;  ///< is connected, and its backend has not ended its side
    int code = 0;         ///< of the last attempt to connect
    int queued = 0;       ///< in the kernel for both ends, when nothing had moved for the idle timeout
    Instant arrived;
    Instant begun;                                    ///< to try the target
    std::uint32_t target = 0;                         ///< that is tried, or would be next
    std::uint32_t address = 0;                        ///< of the target
    std::unique_ptr<std::vector<Address>> addresses;  ///< of the target, while they are tried

    Queue* queue = nullptr;
    Instant since;  ///< it came into the queue
    Connection* before = nullptr;
    Connection* after = nullptr;
};

}  // namespace proxy
