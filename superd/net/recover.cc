// SPDX-License-Identifier: MIT
// Listening sockets that an earlier superd left in the manager's descriptor store.
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "net/listener.h"
#include "net/unix_diag.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace superd::net {
namespace {

/// Is this what the socket was bound to, and not a file that may have replaced it since?
bool is_file_of(int fd, const struct stat& status) {
    const auto file = file_of_unix(fd);
    // The inode number is enough: the socket holds the file, so the number is not reused. On btrfs and overlayfs the
    // two sides disagree about the device.
    return file && S_ISSOCK(status.st_mode) && file->udiag_vfs_ino == static_cast<std::uint32_t>(status.st_ino);
}

/// The options of a socket whose definition is not known, as far as only a new socket could have different ones.
conf::SocketOptions with_fixed_options_of(int fd, const conf::Listen& where, conf::SocketOptions options) {
    const auto number = [fd](int level, int option) {
        int value = 0;
        socklen_t size = sizeof value;
        getsockopt(fd, level, option, &value, &size);
        return value;
    };
    const int family = sys::Address::of_socket(fd).family();
    if (family != AF_UNIX) options.reuse_port = number(SOL_SOCKET, SO_REUSEPORT) != 0;
    if (family == AF_INET6) options.freebind = number(IPPROTO_IPV6, IPV6_FREEBIND) != 0;
    const bool v6only = family == AF_INET6 && number(IPPROTO_IPV6, IPV6_V6ONLY) != 0;
    if (family == AF_INET6 && v6only != options.v6only.value_or(where.host != "*")) options.v6only = v6only;
    if (family == AF_INET) options.freebind = number(IPPROTO_IP, IP_FREEBIND) != 0;
    if (family != AF_UNIX) options.transparent = number(IPPROTO_IP, IP_TRANSPARENT) != 0;
    options.mptcp = number(SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
    char device[IFNAMSIZ] = "";
    socklen_t size = sizeof device;
    if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &size) == 0)
        options.bind_to_device = std::string(device, strnlen(device, size));
    return options;
}

}  // namespace

Result<Listener> Listener::recover(sys::PassedSocket& socket, const conf::Listen& where,
                                   const conf::SocketOptions& options) {
    auto listener = adopt(socket, where, options);
    if (!listener) return listener;
    listener->inherited_ = false;
    listener->note_given();  // perhaps: a worker of the earlier superd may still have it
    listener->options_ = with_fixed_options_of(listener->fd(), where, options);
    Result<void> fits;
    if (!listener->can_become(options))
        fits = fail(fmt::format("{}: its options changed and need a new socket", where.uri()));
    if (fits && where.path.starts_with('/')) {
        fits = listener->own_path(where.path) ? listener->set_path(options)
                                              : fail(fmt::format("{} no longer leads to the socket", where.path));
    }
    if (fits && listener->type_ != conf::SocketType::datagram && ::listen(listener->fd(), options.backlog) != 0)
        fits = fail_errno(fmt::format("listen {}", listener->address_.text()), errno);
    if (fits) return listener;
    socket = std::move(*listener).release();
    return std::unexpected(fits.error());
}

void Listener::discard(sys::Fd socket) {
    conf::Listen where;
    where.path = sys::Address::of_socket(socket.get()).host();
    Listener going(std::move(socket), where, {}, conf::SocketType::stream);
    if (going.address_.family() == AF_UNIX && where.path.starts_with('/')) (void)going.own_path(where.path);
}

bool Listener::leads_to(int fd, const std::string& path) {
    struct stat status;
    return lstat(path.c_str(), &status) == 0 && is_file_of(fd, status);
}

bool Listener::own_path(const std::string& path) {
    struct stat status;
    if (lstat(path.c_str(), &status) != 0 || !is_file_of(fd(), status)) return false;
    path_ = path;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    return true;
}

}  // namespace superd::net
