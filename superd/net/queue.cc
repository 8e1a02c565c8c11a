// SPDX-License-Identifier: MIT
#include "net/queue.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <optional>

namespace superd::net {
namespace {

std::optional<std::size_t> of_tcp(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_state != TCP_LISTEN) return std::nullopt;
    return info.tcpi_unacked;
}

std::optional<std::size_t> of_unix(int fd) {
    struct stat status {};
    const sys::Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink || fstat(fd, &status) != 0) return std::nullopt;
    struct {
        nlmsghdr header;
        unix_diag_req request;
    } question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.request.sdiag_family = AF_UNIX;
    question.request.udiag_ino = static_cast<std::uint32_t>(status.st_ino);
    question.request.udiag_show = UDIAG_SHOW_RQLEN;
    question.request.udiag_cookie[0] = question.request.udiag_cookie[1] = ~0U;  // INET_DIAG_NOCOOKIE
    if (send(netlink.get(), &question, sizeof question, 0) != sizeof question) return std::nullopt;
    alignas(nlmsghdr) char answer[1024];
    // The kernel answers from within send(2): nothing is waited for.
    const ssize_t size = recv(netlink.get(), answer, sizeof answer, MSG_DONTWAIT);
    const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
    if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(unix_diag_msg))) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return std::nullopt;
    std::size_t at = NLMSG_LENGTH(sizeof(unix_diag_msg));
    while (at + sizeof(nlattr) <= static_cast<std::size_t>(size)) {
        nlattr attribute;
        std::memcpy(&attribute, answer + at, sizeof attribute);
        if (attribute.nla_type == UNIX_DIAG_RQLEN && attribute.nla_len >= NLA_HDRLEN + sizeof(unix_diag_rqlen) &&
            at + attribute.nla_len <= static_cast<std::size_t>(size)) {
            unix_diag_rqlen length;
            std::memcpy(&length, answer + at + NLA_HDRLEN, sizeof length);
            return length.udiag_rqueue;
        }
        if (attribute.nla_len < sizeof attribute) break;
        at += NLA_ALIGN(attribute.nla_len);
    }
    return std::nullopt;
}

}  // namespace

std::size_t waiting(const Listener& listener) {
    std::optional<std::size_t> count;
    const int family = listener.address().family();
    if (listener.type() != conf::SocketType::datagram) {
        if (family == AF_INET || family == AF_INET6) count = of_tcp(listener.fd());
        if (family == AF_UNIX) count = of_unix(listener.fd());
    }
    if (count) return *count;
    pollfd readable{listener.fd(), POLLIN, 0};
    return poll(&readable, 1, 0) == 1 ? 1 : 0;
}

}  // namespace superd::net
