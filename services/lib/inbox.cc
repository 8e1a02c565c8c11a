// SPDX-License-Identifier: MIT
#include "lib/inbox.h"

#include <cstring>
#include <span>

namespace worker {
namespace {

in6_addr mapped(in_addr ipv4) {
    in6_addr address{};
    address.s6_addr[10] = address.s6_addr[11] = 0xff;
    std::memcpy(&address.s6_addr[12], &ipv4, sizeof ipv4);
    return address;
}

Endpoint endpoint(const sockaddr_storage& storage, socklen_t size) {
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

}  // namespace

void ask_for_local_address(int fd) {
    const int on = 1;
    // Both, because a dual-stack socket tells broadcasts apart in IP_PKTINFO alone; each fails where it has no meaning.
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

std::uint16_t local_port(int fd) {
    sockaddr_storage local{};
    socklen_t size = sizeof local;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) return 0;
    return endpoint(local, size).port;
}

Inbox::Inbox(int fd) {
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
    has_addresses_ = family == AF_INET || family == AF_INET6;
}

ssize_t Inbox::receive(int fd, int flags) {
    iovec room{data_.data(), data_.size()};
    message_ = {};
    message_.msg_name = &sender_;
    message_.msg_namelen = sizeof sender_;
    message_.msg_iov = &room;
    message_.msg_iovlen = 1;
    if (has_addresses_) {  // on a unix socket room for control messages would be room for a sender's descriptors
        message_.msg_control = control_.data();
        message_.msg_controllen = control_.size();
    }
    const ssize_t got = recvmsg(fd, &message_, flags | MSG_CMSG_CLOEXEC);
    message_.msg_iov = nullptr;
    if (got >= 0) size_ = static_cast<std::size_t>(got);
    return got;
}

Inbox::Arrival Inbox::arrival() const {
    Arrival result;
    msghdr message = message_;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            in_pktinfo& to = result.ipv4.emplace();
            std::memcpy(&to, CMSG_DATA(header), sizeof to);
            // None for what came before the socket was asked. From a broadcast address no reply would leave this host.
            if (to.ipi_spec_dst.s_addr == INADDR_ANY) to.ipi_spec_dst = to.ipi_addr;
            // The kernel puts an address of ours there when the one in the packet is not.
            result.broadcast = to.ipi_spec_dst.s_addr != to.ipi_addr.s_addr;
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            std::memcpy(&result.ipv6.emplace(), CMSG_DATA(header), sizeof(in6_pktinfo));
        }
    }
    return result;
}

std::optional<Datagram> Inbox::datagram(std::uint16_t port) const {
    if ((message_.msg_flags & MSG_TRUNC) != 0) return std::nullopt;
    const Arrival to = arrival();
    Datagram result{.data = {data_.data(), size_},
                    .sender = endpoint(sender_, message_.msg_namelen),
                    .local = {.port = port},
                    .broadcast = to.broadcast};
    if (to.ipv4 || to.ipv6) {
        result.local.known = true;
        result.local.address = to.ipv4 ? mapped(to.ipv4->ipi_addr) : to.ipv6->ipi6_addr;
    }
    return result;
}

void Inbox::reply(int fd, std::string_view data) {
    if (message_.msg_namelen == 0) return;  // an unnamed unix socket cannot be answered
    const Arrival to = arrival();
    iovec part{const_cast<char*>(data.data()), data.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control;
    msghdr message{};
    message.msg_name = &sender_;
    message.msg_namelen = message_.msg_namelen;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    // The interface is left to routing, which knows it from the sender's scope where it matters.
    if (to.ipv4) {
        const in_pktinfo from{.ipi_ifindex = 0, .ipi_spec_dst = to.ipv4->ipi_spec_dst, .ipi_addr = {}};
        message.msg_controllen = put_control(control, IPPROTO_IP, IP_PKTINFO, from);
    } else if (to.ipv6 && !IN6_IS_ADDR_MULTICAST(&to.ipv6->ipi6_addr)) {
        const in6_pktinfo from{.ipi6_addr = to.ipv6->ipi6_addr, .ipi6_ifindex = 0};
        message.msg_controllen = put_control(control, IPPROTO_IPV6, IPV6_PKTINFO, from);
    }
    if (message.msg_controllen > 0) message.msg_control = control.data();
    sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace worker
