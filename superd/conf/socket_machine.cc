// SPDX-License-Identifier: MIT
#include "conf/socket_machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "sys/address.h"
#include "sys/fd.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace superd::conf {
namespace {

std::string why_not_fast(Lookups&) {
    constexpr const char* path = "/proc/sys/net/ipv4/tcp_fastopen";
    constexpr int servers = 2;  // ip-sysctl: the bit for listening sockets
    char text[32] = "";
    const sys::Fd file(::open(path, O_RDONLY | O_CLOEXEC));
    if (!file || ::read(file.get(), text, sizeof text - 1) <= 0) return "this kernel has no TCP Fast Open";
    if ((std::atoi(text) & servers) != 0) return "";
    return fmt::format(
        "it is switched off for servers on this machine: the sysctl net.ipv4.tcp_fastopen is {}, and needs {}",
        std::atoi(text), std::atoi(text) | servers);
}

std::string why_not_mptcp(Lookups&) {
    const sys::Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    if (probe) return "";
    if (errno == ENOPROTOOPT) return "it is switched off on this machine by the sysctl net.mptcp.enabled";
    if (errno == EPROTONOSUPPORT || errno == EINVAL) return "this kernel has no Multipath TCP";
    return std::string(errno_text(errno));
}

std::string why_not_by(const std::string& name) {
    const sys::Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!probe) return std::string(errno_text(errno));
    if (::setsockopt(probe.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size())) == 0)
        return "";
    if (errno == ENOENT)
        return "this kernel has none of that name; net.ipv4.tcp_available_congestion_control lists those that it has";
    if (errno == EPERM) return "only root may use one that net.ipv4.tcp_allowed_congestion_control does not list";
    return std::string(errno_text(errno));
}

}  // namespace

std::string cannot_open_fast(Lookups& lookups) {
    return lookups.ask<std::string>(Lookups::question({"tcp fast open"}), why_not_fast);
}

std::string cannot_use_mptcp(Lookups& lookups) {
    return lookups.ask<std::string>(Lookups::question({"mptcp"}), why_not_mptcp);
}

std::string cannot_control_congestion(Lookups& lookups, const std::string& by) {
    return lookups.ask<std::string>(Lookups::question({"congestion control", by}),
                                    [by](Lookups&) { return why_not_by(by); });
}

std::optional<std::string> parse_group(const std::string& text) {
    const auto percent = text.find('%');
    const std::string device = percent == std::string::npos ? "" : text.substr(percent + 1);
    if (percent != std::string::npos && (device.empty() || device.size() >= IFNAMSIZ)) return std::nullopt;
    const auto address = sys::Address::inet(text.substr(0, percent), 0);
    if (!address) return std::nullopt;
    const bool group =
        address->family() == AF_INET
            ? IN_MULTICAST(ntohl(reinterpret_cast<const sockaddr_in*>(address->data())->sin_addr.s_addr))
            : IN6_IS_ADDR_MULTICAST(&reinterpret_cast<const sockaddr_in6*>(address->data())->sin6_addr) != 0;
    if (!group) return std::nullopt;
    return address->host() + (device.empty() ? "" : "%" + device);
}

}  // namespace superd::conf
