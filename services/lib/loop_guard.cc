// SPDX-License-Identifier: MIT
#include "lib/loop_guard.h"

#include <cstring>

namespace worker {
namespace {

bool is_unicast(const in6_addr& address) {
    if (!IN6_IS_ADDR_V4MAPPED(&address)) return !IN6_IS_ADDR_MULTICAST(&address) && !IN6_IS_ADDR_UNSPECIFIED(&address);
    in_addr_t ipv4 = 0;
    std::memcpy(&ipv4, &address.s6_addr[12], sizeof ipv4);
    ipv4 = ntohl(ipv4);
    return (ipv4 >> 24) != 0 && !IN_MULTICAST(ipv4) && ipv4 != INADDR_BROADCAST;
}

}  // namespace

bool may_answer(const Datagram& datagram, std::uint16_t min_port) {
    if (datagram.broadcast || (datagram.local.known && !is_unicast(datagram.local.address))) return false;
    if (!datagram.sender.known) return true;
    return datagram.sender.port >= min_port && datagram.sender.port != datagram.local.port &&
           is_unicast(datagram.sender.address);
}

}  // namespace worker
