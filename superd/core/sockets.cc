// SPDX-License-Identifier: MIT
#include "core/sockets.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace superd::core {
namespace {

bool has_address(int fd, const conf::Listen& where) {
    const auto wanted = where.socket_type();
    int type = 0;
    socklen_t size = sizeof type;
    if (!wanted || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return false;
    const int kind = *wanted == conf::SocketType::stream     ? SOCK_STREAM
                     : *wanted == conf::SocketType::datagram ? SOCK_DGRAM
                                                             : SOCK_SEQPACKET;
    if (type != kind) return false;
    const auto bound = sys::Address::of_socket(fd);
    switch (where.transport) {
        case conf::Transport::tcp:
        case conf::Transport::udp:
            if (where.port != 0 && bound.port() != where.port) return false;
            return where.host == "*" ? bound.is_wildcard() : bound.host() == where.host;
        case conf::Transport::vsock:
            return bound == sys::Address::vsock(where.cid, where.port);
        default:
            if (bound.family() != AF_UNIX) return false;
            return bound.host() == where.path ||
                   (where.path.starts_with('/') && net::Listener::leads_to(fd, where.path));
    }
}

}  // namespace

std::size_t PassedSockets::count(const std::string& name) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(sockets_, [&](const auto& socket) { return socket.name == name && !is_stored(socket); }));
}

sys::PassedSocket PassedSockets::claim(const conf::Listen& where, const std::string& service) {
    const auto at = std::ranges::find_if(sockets_, [&](const auto& socket) {
        if (where.transport == conf::Transport::inherited) return socket.name == where.name && !is_stored(socket);
        if (any_port(where) && socket.name != stored_name(socket.fd.get(), service)) return false;
        return has_address(socket.fd.get(), where);
    });
    if (at == sockets_.end()) return {};
    sys::PassedSocket socket = std::move(*at);
    sockets_.erase(at);
    return socket;
}

void PassedSockets::discard_stored() {
    std::erase_if(sockets_, [](auto& socket) {
        if (!is_stored(socket)) return false;
        net::Listener::discard(std::move(socket.fd));
        return true;
    });
}

Result<void> check_type(const conf::Service& service, const conf::Listen& where, conf::SocketType type) {
    const auto handoff = conf::handoff_for(service.model, service.handoff, type);
    if (const auto why = conf::cannot_serve(service.model, handoff, type))
        return fail(fmt::format("{}: {}", where.uri(), *why));
    return {};
}

Result<net::Listener> open_socket(PassedSockets& passed, const conf::Service& service, const conf::Listen& where,
                                  bool overlap) {
    if (auto socket = passed.claim(where, service.name); socket.fd) {
        auto listener = is_stored(socket) ? net::Listener::recover(socket, where, service.socket)
                                          : net::Listener::adopt(socket, where, service.socket);
        if (!listener) {
            passed.give_back(std::move(socket));
            return listener;
        }
        if (auto fits = check_type(service, where, listener->type()); !fits) {
            passed.give_back(std::move(*listener).release());
            return std::unexpected(fits.error());
        }
        return listener;
    }
    if (where.transport == conf::Transport::inherited)
        return fail_errno(fmt::format("no socket named \"{}\" was passed by the service manager", where.name), ENOENT);
    conf::SocketOptions options = service.socket;
    options.reuse_port = options.reuse_port || overlap;
    auto listener = net::Listener::open(where, options);
    if (listener && overlap) listener->overlaps(service.socket);
    return listener;
}

}  // namespace superd::core
