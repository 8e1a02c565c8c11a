// SPDX-License-Identifier: MIT
// Listening on multicast groups: the one that a socket is bound to, and those that its definition names.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "net/listener.h"

#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL 49
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

namespace superd::net {

namespace {

struct Group {
    sys::Address address;
    std::string device;
};

/// As conf::parse_group() writes it.
std::optional<Group> group_of(const std::string& text) {
    const auto percent = text.find('%');
    auto address = sys::Address::inet(text.substr(0, percent), 0);
    if (!address) return std::nullopt;
    return Group{std::move(*address), percent == std::string::npos ? "" : text.substr(percent + 1)};
}

/// setsockopt(2) for a member that joins or leaves.
int set_member(int fd, const Group& group, bool joins) {
    const unsigned index =
        group.device.empty() ? 0 : if_nametoindex(group.device.c_str());  // 0: by the kernel's routes
    if (!group.device.empty() && index == 0) return -1;
    if (group.address.family() == AF_INET) {
        ip_mreqn member{};
        member.imr_multiaddr = reinterpret_cast<const sockaddr_in*>(group.address.data())->sin_addr;
        member.imr_ifindex = static_cast<int>(index);
        return setsockopt(fd, IPPROTO_IP, joins ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &member, sizeof member);
    }
    ipv6_mreq member{};
    member.ipv6mr_multiaddr = reinterpret_cast<const sockaddr_in6*>(group.address.data())->sin6_addr;
    member.ipv6mr_interface = index;
    return setsockopt(fd, IPPROTO_IPV6, joins ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &member, sizeof member);
}

/// Do not receive for groups that others on this machine have joined on other interfaces.
void receive_for_own_groups(int fd, int family) {
    const int off = 0;
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
}

bool is_v6only(int fd) {
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &size) == 0 && value != 0;
}

}  // namespace

std::string Listener::own_group() const {
    if (type_ != conf::SocketType::datagram) return {};
    if (address_.family() == AF_INET)
        return IN_MULTICAST(ntohl(reinterpret_cast<const sockaddr_in*>(address_.data())->sin_addr.s_addr))
                   ? address_.host()
                   : "";
    if (address_.family() != AF_INET6) return {};
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(address_.data())->sin6_addr;
    char text[INET6_ADDRSTRLEN] = "";
    return IN6_IS_ADDR_MULTICAST(&address) ? inet_ntop(AF_INET6, &address, text, sizeof text) : "";
}

bool Listener::is_multicast() const {
    return !options().multicast.empty() || !own_group().empty();
}

Result<bool> Listener::join(const std::vector<std::string>& groups) const {
    const std::string own = own_group();
    if (own.empty() && groups.empty()) return false;
    receive_for_own_groups(fd(), address_.family());
    const std::string by_default = device();
    bool joined = false;
    const auto enter = [&](const std::string& text) -> Result<void> {
        auto group = group_of(text);
        if (!group) return {};
        // Another socket of the service may have the other family.
        const bool v4 = group->address.family() == AF_INET;
        if (v4 ? address_.family() == AF_INET6 && is_v6only(fd()) : address_.family() != AF_INET6) return {};
        if (group->device.empty()) group->device = by_default;
        if (set_member(fd(), *group, true) == 0) {
            joined = true;
        } else if (errno != EADDRINUSE) {  // already a member
            const std::string on = group->device.empty() ? "" : " on " + group->device;
            return fail_errno(fmt::format("join {}{}", group->address.host(), on), errno);
        }
        return {};
    };
    Result<void> all;
    if (!own.empty()) all = enter(own);
    for (const std::string& group : groups)
        if (auto entered = enter(group); !entered && all) all = entered;
    if (!all) return std::unexpected(all.error());
    return joined;
}

void Listener::leave(const std::vector<std::string>& groups, const std::vector<std::string>& but) const {
    for (const std::string& text : groups) {
        auto group = group_of(text);
        if (!group || std::ranges::count(but, text) > 0) continue;
        if (group->device.empty()) group->device = device();
        (void)set_member(fd(), *group, false);  // it may not have been a member where the interface is gone
    }
}

}  // namespace superd::net
