// SPDX-License-Identifier: MIT
#include "net/tcp_usage.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>
#include <initializer_list>

namespace superd::net {
namespace {

/// include/net/tcp_states.h: user space has no name for them beside those of netinet/tcp.h, which does not go with
/// linux/tcp.h.
enum State : std::uint8_t {
    kFinWait1 = 4,
    kFinWait2,
    kTimeWait,
    kClose,
    kCloseWait,
    kLastAck,
    kClosing = 11,
};

bool is_among(std::uint8_t state, std::initializer_list<State> states) {
    for (const State one : states)
        if (state == one) return true;
    return false;
}

/// The kernel tells of one path only of a connection that has several (MPTCP).
bool has_one_path(int fd) {
    int protocol = 0;
    socklen_t size = sizeof protocol;
    return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP;
}

bool ask(int fd, tcp_info& info) {
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           size >= offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received;
}

}  // namespace

std::optional<TcpUsage> tcp_usage(int fd) {
    tcp_info info{};
    int pending = 0;  // sent or not, but not acknowledged
    if (!has_one_path(fd) || !ask(fd, info)) return std::nullopt;
    // An acknowledgement between the two questions moves bytes from one number to the other.
    for (int i = 0; i < 8; ++i) {
        const auto acked = info.tcpi_bytes_acked;
        if (ioctl(fd, SIOCOUTQ, &pending) != 0 || !ask(fd, info)) return std::nullopt;
        if (info.tcpi_bytes_acked == acked) break;
    }
    // An end takes a number in the sequence as a byte does.
    const bool received = is_among(info.tcpi_state, {kTimeWait, kClose, kCloseWait, kLastAck, kClosing});
    const bool sent = is_among(info.tcpi_state, {kFinWait1, kFinWait2, kTimeWait, kClose, kLastAck, kClosing});
    const auto without = [](std::uint64_t bytes, bool end) { return end && bytes > 0 ? bytes - 1 : bytes; };
    TcpUsage usage;
    usage.in = without(info.tcpi_bytes_received, received);
    usage.out = without(info.tcpi_bytes_acked + static_cast<std::uint64_t>(pending), sent);
    usage.retransmits = info.tcpi_total_retrans;
    usage.rtt = std::chrono::microseconds(info.tcpi_rtt);
    return usage;
}

}  // namespace superd::net
