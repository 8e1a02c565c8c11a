// SPDX-License-Identifier: MIT
#pragma once
// One datagram in hand, with the addresses that the reply needs.

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/worker.h"

namespace worker {

/// Has the socket tell with each datagram which address it was sent to.
void ask_for_local_address(int fd);

/// The port that an IPv4 or IPv6 socket is bound to, 0 for others.
std::uint16_t local_port(int fd);

/// Room for one datagram at a time; each thread has its own.
class Inbox {
  public:
    explicit Inbox(int fd);

    /// As recvmsg(2), from that socket or a duplicate of it. Descriptors that a sender passes along are not taken.
    ssize_t receive(int fd, int flags);

    /// What came last, valid until the next one; nullopt if it did not fit and must not be answered by halves.
    std::optional<Datagram> datagram(std::uint16_t port) const;

    /// Sends from the address that the datagram came to. Never waits: a reply that finds no room is lost, as any
    /// datagram may be, because a receiver that has stopped must not hold the service.
    void reply(int fd, std::string_view data);

  private:
    struct Arrival {
        bool broadcast = false;
        std::optional<in_pktinfo> ipv4;
        std::optional<in6_pktinfo> ipv6;
    };
    Arrival arrival() const;

    bool has_addresses_;  ///< tells in control messages where a datagram was sent to
    std::array<char, 65536> data_;
    std::size_t size_ = 0;
    sockaddr_storage sender_;
    alignas(cmsghdr) std::array<char, 512> control_;
    msghdr message_;
};

}  // namespace worker
