// SPDX-License-Identifier: MIT
#pragma once
// The datagrams in hand, with the addresses that the replies need.

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "lib/pace.h"
#include "lib/worker.h"

namespace worker {

/// Where a socket receives: its port, 0 for what is not IPv4 or IPv6, and its address if that is known to belong to
/// this host alone. Else the socket tells with each datagram from now on which address it was sent to.
Endpoint receive_at(int fd);

/// Room for a batch of datagrams; each thread has its own.
class Inbox {
  public:
    /// `local` is what receive_at() found.
    Inbox(int fd, const Endpoint& local);

    /// From that socket or a duplicate of it: waits for one if the socket blocks, and takes what else is there, up to
    /// `most`. Their number, or -1 as recvmsg(2). Descriptors that a sender passes along are not taken.
    int receive(int fd, int most);

    /// One of those that came last, valid until the next receive(); nullopt if it did not fit and must not be answered
    /// by halves.
    std::optional<Datagram> datagram(int index) const;

    /// To the sender of that one, from the address that it came to, with the next send(). One each at most.
    void reply(int index, std::string data);

    /// Never waits: a reply that finds no room is lost, as any datagram may be, because a receiver that has stopped
    /// must not hold the service. One that cannot be sent does not keep the others.
    void send(int fd);

  private:
    static constexpr std::size_t kMost = Pace::kBatch;

    struct Arrival {
        bool broadcast = false;
        std::optional<in_pktinfo> ipv4;
        std::optional<in6_pktinfo> ipv6;
    };
    struct Incoming {
        sockaddr_storage sender;
        alignas(cmsghdr) std::array<char, 512> control;
        std::array<char, 65536> data;
    };
    struct Outgoing {
        std::string data;
        iovec part;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control;
    };
    void make_room(std::size_t index);
    int receive_one(int fd);
    Arrival arrival(std::size_t index) const;

    const Endpoint local_;
    bool has_addresses_;  ///< tells in control messages where a datagram was sent to
    std::size_t received_ = 0;
    std::size_t replies_ = 0;
    std::array<mmsghdr, kMost> headers_;
    std::array<iovec, kMost> rooms_;
    std::array<mmsghdr, kMost> reply_headers_;
    std::array<Incoming, kMost> incoming_;  ///< pages that no datagram has reached take no memory
    std::array<Outgoing, kMost> outgoing_;
};

}  // namespace worker
