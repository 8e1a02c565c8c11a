// SPDX-License-Identifier: MIT
#include "net/queue.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <optional>

#include "net/unix_diag.h"

namespace superd::net {
namespace {

std::optional<std::size_t> of_tcp(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_state != TCP_LISTEN) return std::nullopt;
    return info.tcpi_unacked;
}

}  // namespace

std::size_t waiting(const Listener& listener) {
    std::optional<std::size_t> count;
    const int family = listener.address().family();
    if (listener.type() != conf::SocketType::datagram) {
        if (family == AF_INET || family == AF_INET6) count = of_tcp(listener.fd());
        if (family == AF_UNIX)
            if (const auto queue = queue_of_unix(listener.fd())) count = queue->udiag_rqueue;
    }
    if (count) return *count;
    pollfd readable{listener.fd(), POLLIN, 0};
    return poll(&readable, 1, 0) == 1 ? 1 : 0;
}

}  // namespace superd::net
