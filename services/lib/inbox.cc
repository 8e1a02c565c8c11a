// SPDX-License-Identifier: MIT
#include "lib/inbox.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace worker {
namespace {

in6_addr mapped(in_addr ipv4) {
    in6_addr address{};
    address.s6_addr[10] = address.s6_addr[11] = 0xff;
    std::memcpy(&address.s6_addr[12], &ipv4, sizeof ipv4);
    return address;
}

Endpoint endpoint_of(const sockaddr_storage& storage, socklen_t size) {
    if (storage.ss_family == AF_INET && size >= sizeof(sockaddr_in)) {
        sockaddr_in ipv4;
        std::memcpy(&ipv4, &storage, sizeof ipv4);
        return {true, mapped(ipv4.sin_addr), ntohs(ipv4.sin_port)};
    }
    if (storage.ss_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
        sockaddr_in6 ipv6;
        std::memcpy(&ipv6, &storage, sizeof ipv6);
        return {true, ipv6.sin6_addr, ntohs(ipv6.sin6_port)};
    }
    return {};
}

template <class Info>
std::size_t put_control(std::span<char> room, int level, int type, const Info& info) {
    cmsghdr header{};
    header.cmsg_level = level;
    header.cmsg_type = type;
    header.cmsg_len = CMSG_LEN(sizeof info);
    std::memset(room.data(), 0, CMSG_SPACE(sizeof info));
    std::memcpy(room.data(), &header, sizeof header);
    std::memcpy(room.data() + CMSG_LEN(0), &info, sizeof info);
    return CMSG_SPACE(sizeof info);
}

struct Name {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;

    explicit Name(int fd) {
        if (getsockname(fd, address(), &size) != 0) size = 0;
    }
    sockaddr* address() { return reinterpret_cast<sockaddr*>(&storage); }
    Endpoint endpoint() const { return endpoint_of(storage, size); }
};

/// False for a wildcard, a multicast group and a broadcast address, to which a socket can also be bound. Routing knows
/// the difference: a route from one of our own addresses to itself starts at that address. Nothing is sent.
bool is_own_address(Name bound) {
    const int probe = socket(bound.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool connected = probe >= 0 && connect(probe, bound.address(), bound.size) == 0;
    const Endpoint from = connected ? Name(probe).endpoint() : Endpoint{};
    if (probe >= 0) close(probe);
    const in6_addr address = bound.endpoint().address;
    return from.known && IN6_ARE_ADDR_EQUAL(&from.address, &address);
}

}  // namespace

Endpoint receive_at(int fd) {
    const Name bound(fd);
    Endpoint local = bound.endpoint();
    local.known = local.known && is_own_address(bound);
    if (local.known) return local;
    const int on = 1;
    // Both, because a dual-stack socket reports broadcasts only in IP_PKTINFO; each option fails where it does not
    // apply.
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    return local;
}

Inbox::Inbox(int fd, const Endpoint& local) : local_(local) {
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
    has_addresses_ = !local.known && (family == AF_INET || family == AF_INET6);
    for (std::size_t i = 0; i < kMost; ++i) make_room(i);
}

void Inbox::make_room(std::size_t index) {
    Incoming& incoming = incoming_[index];
    rooms_[index] = {incoming.data.data(), incoming.data.size()};
    headers_[index] = {};
    msghdr& header = headers_[index].msg_hdr;
    header.msg_name = &incoming.sender;
    header.msg_namelen = sizeof incoming.sender;
    header.msg_iov = &rooms_[index];
    header.msg_iovlen = 1;
    if (!has_addresses_) return;  // on a unix socket, control messages would bring a sender's descriptors
    header.msg_control = incoming.control.data();
    header.msg_controllen = incoming.control.size();
}

int Inbox::receive(int fd, int most) {
    for (; received_ > 0; --received_) make_room(received_ - 1);
    if (most == 1 && !has_addresses_) return receive_one(fd);
    const auto room = std::min(static_cast<unsigned>(most), static_cast<unsigned>(kMost));
    const int got = recvmmsg(fd, headers_.data(), room, MSG_WAITFORONE | MSG_CMSG_CLOEXEC, nullptr);
    if (got > 0) received_ = static_cast<std::size_t>(got);
    return got;
}

/// Copies less between us and the kernel, which matters when a datagram comes alone.
int Inbox::receive_one(int fd) {
    Incoming& incoming = incoming_[0];
    msghdr& header = headers_[0].msg_hdr;
    const ssize_t got = recvfrom(fd, incoming.data.data(), incoming.data.size(), MSG_TRUNC,
                                 reinterpret_cast<sockaddr*>(&incoming.sender), &header.msg_namelen);
    if (got < 0) return -1;
    if (static_cast<std::size_t>(got) > incoming.data.size()) header.msg_flags = MSG_TRUNC;
    headers_[0].msg_len = static_cast<unsigned>(got);
    received_ = 1;
    return 1;
}

Inbox::Arrival Inbox::arrival(std::size_t index) const {
    Arrival result;
    msghdr message = headers_[index].msg_hdr;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            in_pktinfo& to = result.ipv4.emplace();
            std::memcpy(&to, CMSG_DATA(header), sizeof to);
            // Unset in datagrams that came before the socket option. No reply from a broadcast address leaves this
            // host.
            if (to.ipi_spec_dst.s_addr == INADDR_ANY) to.ipi_spec_dst = to.ipi_addr;
            // If the packet's address is not ours, the kernel puts one of ours there.
            result.broadcast = to.ipi_spec_dst.s_addr != to.ipi_addr.s_addr;
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            std::memcpy(&result.ipv6.emplace(), CMSG_DATA(header), sizeof(in6_pktinfo));
        }
    }
    return result;
}

std::optional<Datagram> Inbox::datagram(int index) const {
    const auto at = static_cast<std::size_t>(index);
    const mmsghdr& header = headers_[at];
    if ((header.msg_hdr.msg_flags & MSG_TRUNC) != 0) return std::nullopt;
    const Arrival to = arrival(at);
    Datagram result{.data = {incoming_[at].data.data(), header.msg_len},
                    .sender = endpoint_of(incoming_[at].sender, header.msg_hdr.msg_namelen),
                    .local = local_,
                    .broadcast = to.broadcast};
    if (to.ipv4 || to.ipv6) {
        result.local.known = true;
        result.local.address = to.ipv4 ? mapped(to.ipv4->ipi_addr) : to.ipv6->ipi6_addr;
    }
    return result;
}

void Inbox::reply(int index, std::string data) {
    const auto at = static_cast<std::size_t>(index);
    const socklen_t sender_size = headers_[at].msg_hdr.msg_namelen;
    if (sender_size == 0) return;  // an unnamed unix socket cannot be answered
    const Arrival to = arrival(at);
    Outgoing& outgoing = outgoing_[replies_];
    outgoing.data = std::move(data);
    outgoing.part = {outgoing.data.data(), outgoing.data.size()};
    reply_headers_[replies_] = {};
    msghdr& message = reply_headers_[replies_++].msg_hdr;
    message.msg_name = &incoming_[at].sender;
    message.msg_namelen = sender_size;
    message.msg_iov = &outgoing.part;
    message.msg_iovlen = 1;
    // Routing picks the interface; where it matters, it knows it from the sender's scope.
    if (to.ipv4) {
        const in_pktinfo from{.ipi_ifindex = 0, .ipi_spec_dst = to.ipv4->ipi_spec_dst, .ipi_addr = {}};
        message.msg_controllen = put_control(outgoing.control, IPPROTO_IP, IP_PKTINFO, from);
    } else if (to.ipv6 && !IN6_IS_ADDR_MULTICAST(&to.ipv6->ipi6_addr)) {
        const in6_pktinfo from{.ipi6_addr = to.ipv6->ipi6_addr, .ipi6_ifindex = 0};
        message.msg_controllen = put_control(outgoing.control, IPPROTO_IPV6, IPV6_PKTINFO, from);
    }
    if (message.msg_controllen > 0) message.msg_control = outgoing.control.data();
}

void Inbox::send(int fd) {
    const std::size_t replies = std::exchange(replies_, 0);
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (replies == 1 && reply_headers_[0].msg_hdr.msg_controllen == 0) {  // as in receive_one()
        const msghdr& message = reply_headers_[0].msg_hdr;
        sendto(fd, outgoing_[0].data.data(), outgoing_[0].data.size(), flags, static_cast<sockaddr*>(message.msg_name),
               message.msg_namelen);
        return;
    }
    for (std::size_t at = 0; at < replies;) {
        const int sent = sendmmsg(fd, &reply_headers_[at], static_cast<unsigned>(replies - at), flags);
        at += sent > 0 ? static_cast<std::size_t>(sent) : 1;  // an error concerns only the first one
    }
}

}  // namespace worker
