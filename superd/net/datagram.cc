// SPDX-License-Identifier: MIT
#include "net/datagram.h"

#include <netinet/in.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "sys/passed_rights.h"

namespace superd::net {
namespace {

constexpr std::size_t kLargest = 65536;

/// In the socket's family.
sys::Address inet(in_addr address, const sys::Address& bound) {
    const auto port = htons(static_cast<std::uint16_t>(bound.port()));
    if (bound.family() == AF_INET) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = port;
        v4.sin_addr = address;
        return {reinterpret_cast<const sockaddr*>(&v4), sizeof v4};
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = port;
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&v6.sin6_addr.s6_addr[12], &address, sizeof address);
    return {reinterpret_cast<const sockaddr*>(&v6), sizeof v6};
}

sys::Address destination(const msghdr& header, const sys::Address& bound) {
    std::optional<sys::Address> from;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(const_cast<msghdr*>(&header), c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            in_pktinfo info;
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            // The address to answer from, also for a broadcast or a group. A dual-stack socket gets it as well.
            return inet(info.ipi_spec_dst, bound);
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info;
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            sockaddr_in6 v6{};
            v6.sin6_family = AF_INET6;
            v6.sin6_port = htons(static_cast<std::uint16_t>(bound.port()));
            // No reply may come from a group address: the kernel chooses.
            if (!IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) v6.sin6_addr = info.ipi6_addr;
            if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                v6.sin6_scope_id = static_cast<std::uint32_t>(info.ipi6_ifindex);
            from = sys::Address(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
        }
    }
    return from.value_or(bound);
}

template <class Info>
void append_control(msghdr& header, int level, int type, const Info& info) {
    cmsghdr* c = static_cast<cmsghdr*>(header.msg_control);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(c), &info, sizeof info);
    header.msg_controllen = CMSG_SPACE(sizeof info);
}

}  // namespace

Result<Datagram> receive(int fd, const sys::Address& bound) {
    static_assert(kLargest >= 65507);
    const bool local = bound.family() == AF_UNIX;
    std::size_t size = kLargest;
    if (local) {                             // may be of any size
        if (sys::next_carries_rights(fd)) {  // a sender that wants an answer does not do that
            sys::drop_next(fd);
            return fail_errno("recvmsg", EPERM);
        }
        const ssize_t next = recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (next < 0) return fail_errno("recv", errno);
        size = static_cast<std::size_t>(next);
    }
    std::string data(size, '\0');
    sockaddr_storage from{};
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec part{data.data(), data.size()};
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    // There is no room for descriptors from a unix sender: the kernel drops them.
    header.msg_control = local ? nullptr : control.data();
    header.msg_controllen = local ? 0 : control.size();
    std::optional<sys::Dropping> dropping;
    if (local) dropping.emplace();
    ssize_t n;
    do n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail_errno("recvmsg", errno);
    data.resize(static_cast<std::size_t>(n));
    data.shrink_to_fit();
    Datagram datagram{std::move(data), {}, destination(header, bound)};
    if (header.msg_namelen > sizeof(sa_family_t))
        datagram.peer = sys::Address(reinterpret_cast<const sockaddr*>(&from), header.msg_namelen);
    return datagram;
}

std::string peek(int fd) {
    std::array<char, 64> data;
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const sys::Dropping dropping;  // peeking holds passed descriptors, and may be the last to do so
    const ssize_t n = recvfrom(fd, data.data(), data.size(), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT,
                               reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) return {};
    std::string print = std::to_string(n) + ":";
    print.append(data.data(), std::min<std::size_t>(static_cast<std::size_t>(n), data.size()));
    return print.append(reinterpret_cast<const char*>(&from), std::min<std::size_t>(size, sizeof from));
}

Result<void> send(int fd, std::string_view data, const sys::Address& to, const sys::Address& from, const Sender* as) {
    alignas(cmsghdr) std::array<char, 64> control{};
    iovec part{const_cast<char*>(data.data()), data.size()};
    msghdr header{};
    header.msg_name = const_cast<sockaddr*>(to.data());
    header.msg_namelen = to.size();
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    if (to.family() == AF_UNIX && as != nullptr) {
        append_control(header, SOL_SOCKET, SCM_CREDENTIALS, ucred{getpid(), as->uid, as->gid});
    } else if (from.family() == AF_INET && !from.is_wildcard()) {
        in_pktinfo info{};
        info.ipi_spec_dst = reinterpret_cast<const sockaddr_in*>(from.data())->sin_addr;
        append_control(header, IPPROTO_IP, IP_PKTINFO, info);
    } else if (from.family() == AF_INET6 && !from.is_wildcard()) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(from.data());
        in6_pktinfo info{};
        info.ipi6_addr = v6->sin6_addr;
        info.ipi6_ifindex = v6->sin6_scope_id;
        append_control(header, IPPROTO_IPV6, IPV6_PKTINFO, info);
    } else {
        header.msg_control = nullptr;
    }
    // Look up a path with the rights of the reply's sender: superd's own rights would open any socket.
    if (as != nullptr) {
        setfsgid(as->gid);
        setfsuid(as->uid);
    }
    ssize_t n;
    do n = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    const int code = errno;
    if (as != nullptr) {
        setfsuid(geteuid());
        setfsgid(getegid());
    }
    if (n < 0) return fail_errno("sendmsg", code);
    return {};
}

}  // namespace superd::net
