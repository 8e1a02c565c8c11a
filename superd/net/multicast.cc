// SPDX-License-Identifier: MIT
// Listening on a multicast group: a socket bound to the group's address and a member of the group.
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "net/listener.h"

#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL 49
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

namespace superd::net {

bool Listener::is_multicast() const {
    if (type_ != conf::SocketType::datagram) return false;
    if (address_.family() == AF_INET)
        return IN_MULTICAST(ntohl(reinterpret_cast<const sockaddr_in*>(address_.data())->sin_addr.s_addr));
    return address_.family() == AF_INET6 &&
           IN6_IS_ADDR_MULTICAST(&reinterpret_cast<const sockaddr_in6*>(address_.data())->sin6_addr);
}

Result<bool> Listener::join() const {
    if (!is_multicast()) return false;
    const std::string name = device();
    const unsigned index = name.empty() ? 0 : if_nametoindex(name.c_str());  // 0: by the kernel's routes
    // Do not receive for groups that others on this machine have joined on other interfaces.
    const int off = 0;
    int r;
    if (address_.family() == AF_INET) {
        setsockopt(fd(), IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
        ip_mreqn group{};
        group.imr_multiaddr = reinterpret_cast<const sockaddr_in*>(address_.data())->sin_addr;
        group.imr_ifindex = static_cast<int>(index);
        r = setsockopt(fd(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group);
    } else {
        setsockopt(fd(), IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
        ipv6_mreq group{};
        group.ipv6mr_multiaddr = reinterpret_cast<const sockaddr_in6*>(address_.data())->sin6_addr;
        group.ipv6mr_interface = index;
        r = setsockopt(fd(), IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group);
    }
    if (r == 0) return true;
    if (errno == EADDRINUSE) return false;  // already a member
    return fail_errno(fmt::format("join {}{}", address_.text(), name.empty() ? "" : " on " + name), errno);
}

}  // namespace superd::net
