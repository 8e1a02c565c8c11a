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

/// Where a socket receives: its port, 0 if it is not IPv4 or IPv6, and its address if that is known to belong to this
/// host alone. Otherwise the socket reports from now on the address to which each datagram was sent.
Endpoint receive_at(int fd);

/// Room for a batch of datagrams; each thread has its own.
class Inbox {
  public:
    /// `local` is the result of receive_at().
    Inbox(int fd, const Endpoint& local);

    /// `fd` is that socket or a duplicate. Waits for a datagram if the socket blocks, and takes what else is there, up
    /// to `most`. Returns how many, or -1 as recvmsg(2) does. Ignores descriptors that a sender passes along.
    int receive(int fd, int most);

    /// One of the last datagrams, valid until the next receive(); nullopt if it did not fit: half a datagram must not
    /// be answered.
    std::optional<Datagram> datagram(int index) const;

    /// Replies to that datagram's sender, from the address that received it, with the next send(). At most one each.
    void reply(int index, std::string data);

    /// Never waits: a reply without room is lost, as any datagram may be, because a receiver that has stopped must not
    /// hold up the service. A reply that cannot be sent does not hold back the others.
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
    bool has_addresses_;  ///< control messages report where a datagram was sent to
    std::size_t received_ = 0;
    std::size_t replies_ = 0;
    std::array<mmsghdr, kMost> headers_;
    std::array<iovec, kMost> rooms_;
    std::array<mmsghdr, kMost> reply_headers_;
    std::array<Incoming, kMost> incoming_;  ///< pages that no datagram has reached use no memory
    std::array<Outgoing, kMost> outgoing_;
};

}  // namespace worker
