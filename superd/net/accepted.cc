// SPDX-License-Identifier: MIT
#include "net/accepted.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/time.h"
#include "net/unix_diag.h"
#include "sys/fd.h"

namespace superd::net {
namespace {

/// A service with more connections than this is not searched for one worker's.
constexpr int kMostConnections = 16384;
/// Nor is a machine with so many that the kernel takes long to go through them.
constexpr Duration kMostTime = std::chrono::milliseconds(20);

/// A connection still being set up is not accepted yet, and one in TIME_WAIT belongs to no process. Each state is
/// named: for sockets that are merely bound (TCP_BOUND_INACTIVE, Linux 6.8) the kernel goes through the table of ports
/// as well, where each TIME_WAIT costs it ten times as much as in the table of connections.
constexpr std::uint32_t kConnected = 1U << TCP_ESTABLISHED | 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 |
                                     1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING;

enum class Found { yes, no, unknown };

/// Searches the connections in one part of the kernel's answer; `more`: another part follows.
Found find_in(const char* answer, std::size_t size, const std::vector<ino_t>& sorted, int& left, bool& more) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
    for (; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
        if (header->nlmsg_type == NLMSG_DONE) return more = false, Found::no;
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg)))
            return Found::unknown;
        if (--left < 0) return Found::unknown;
        const auto* connection = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
        if (std::ranges::binary_search(sorted, ino_t{connection->idiag_inode})) return Found::yes;
    }
    return Found::no;
}

/// Searches the TCP connections at this machine's `port`.
Found find_tcp(std::uint8_t family, std::uint16_t port, const std::vector<ino_t>& sorted, int& left) {
    const sys::Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink) return Found::unknown;
    struct {
        nlmsghdr header;
        inet_diag_req_v2 request;
    } question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    question.request.sdiag_family = family;
    question.request.sdiag_protocol = IPPROTO_TCP;
    question.request.idiag_states = kConnected;
    question.request.id.idiag_sport = htons(port);
    if (::send(netlink.get(), &question, sizeof question, 0) != sizeof question) return Found::unknown;
    const Instant until = now() + kMostTime;
    for (bool more = true; more;) {
        if (now() > until) return Found::unknown;
        alignas(nlmsghdr) char answer[32768];
        // The kernel continues from within recv(2): this does not wait.
        const ssize_t size = recv(netlink.get(), answer, sizeof answer, MSG_DONTWAIT);
        if (size <= 0) return Found::unknown;
        const Found found = find_in(answer, static_cast<std::size_t>(size), sorted, left, more);
        if (found != Found::no) return found;
    }
    return Found::no;
}

/// A connection is of the family of the socket that accepted it, an IPv4 client of a dual-stack one as well.
bool any_accepted_by_tcp(int family, std::uint16_t port, std::vector<ino_t> sockets) {
    std::ranges::sort(sockets);
    int left = kMostConnections;
    return find_tcp(static_cast<std::uint8_t>(family), port, sockets, left) != Found::no;
}

}  // namespace

bool any_accepted(const sys::Address& where, conf::SocketType type, const std::vector<ino_t>& sockets) {
    const int family = where.family();
    if (sockets.empty()) return false;
    if (type == conf::SocketType::stream && (family == AF_INET || family == AF_INET6))
        return any_accepted_by_tcp(family, static_cast<std::uint16_t>(where.port()), sockets);
    std::string own;
    if (family == AF_UNIX && where.size() > offsetof(sockaddr_un, sun_path))
        own.assign(reinterpret_cast<const char*>(where.data()) + offsetof(sockaddr_un, sun_path),
                   where.size() - offsetof(sockaddr_un, sun_path));
    return std::ranges::any_of(sockets, [&](ino_t inode) {
        const auto name = name_of_unix(inode);
        if (!name) return name.error().code != ENOENT || family != AF_UNIX;
        // A worker for datagrams may have a socket for each peer.
        return family == AF_UNIX && (type == conf::SocketType::datagram || *name == own);
    });
}

}  // namespace superd::net
