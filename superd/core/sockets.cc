// SPDX-License-Identifier: MIT
#include "core/sockets.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

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

std::string by_name(const std::string& name) {
    return "name " + name;
}

/// The key if the kernel chose the port. The store holds only the beginning of a long name.
std::string by_service(const std::string& service) {
    return "of " + service.substr(0, 200);
}

/// The key of an address with a port; unix sockets, whose path may lead elsewhere, share one.
std::string by_address(int family, const std::string& host, std::uint32_t port) {
    return family == AF_UNIX ? "unix" : fmt::format("{} {} {}", family == AF_VSOCK ? "vsock" : "inet", host, port);
}

std::string by_address(const conf::Listen& where) {
    switch (where.transport) {
        case conf::Transport::tcp:
        case conf::Transport::udp:
            return by_address(AF_INET, where.host, where.port);
        case conf::Transport::vsock:
            return by_address(AF_VSOCK, "", where.port);
        default:
            return by_address(AF_UNIX, "", 0);
    }
}

/// All keys by which a socket may be asked for.
std::vector<std::string> keys_of(const sys::PassedSocket& socket) {
    std::vector<std::string> keys{by_name(socket.name)};
    const auto bound = sys::Address::of_socket(socket.fd.get());
    if (bound.family() == AF_UNIX) {
        keys.push_back(by_address(AF_UNIX, "", 0));
        keys.push_back("path " + bound.host());
    } else if (bound.family() == AF_VSOCK) {
        keys.push_back(by_address(AF_VSOCK, "", bound.port()));
    } else {
        keys.push_back(by_address(AF_INET, bound.host(), bound.port()));
        if (bound.is_wildcard()) keys.push_back(by_address(AF_INET, "*", bound.port()));
    }
    // superd's own name for it begins with the inode, which the service does not know.
    const auto plain = stored_name(socket.fd.get(), "");
    if (socket.name.starts_with(plain + "-")) keys.push_back(by_service(socket.name.substr(plain.size() + 1)));
    return keys;
}

}  // namespace

void PassedSockets::give_back(sys::PassedSocket socket) {
    sockets_.push_back(std::move(socket));
    const Position at = std::prev(sockets_.end());
    for (std::string& key : keys_of(*at)) index_.emplace(std::move(key), at);
}

template <class Fits>
std::optional<PassedSockets::Position> PassedSockets::find(const std::string& by, Fits fits) {
    for (auto [at, end] = index_.equal_range(by); at != end; ++at)
        if (fits(*at->second)) return at->second;
    return std::nullopt;
}

sys::PassedSocket PassedSockets::take(Position at) {
    for (const std::string& key : keys_of(*at)) {
        auto [entry, end] = index_.equal_range(key);
        while (entry != end) entry = entry->second == at ? index_.erase(entry) : std::next(entry);
    }
    sys::PassedSocket socket = std::move(*at);
    sockets_.erase(at);
    return socket;
}

std::size_t PassedSockets::count(const std::string& name) const {
    const auto [begin, end] = index_.equal_range(by_name(name));
    return static_cast<std::size_t>(
        std::count_if(begin, end, [](const auto& entry) { return !is_stored(*entry.second); }));
}

sys::PassedSocket PassedSockets::claim(const conf::Listen& where, const std::string& service) {
    if (sockets_.empty()) return {};
    const auto has_it = [&](const sys::PassedSocket& socket) { return has_address(socket.fd.get(), where); };
    std::optional<Position> at;
    if (where.transport == conf::Transport::inherited) {
        at = find(by_name(where.name), [](const sys::PassedSocket& socket) { return !is_stored(socket); });
    } else if (any_port(where)) {
        at = find(by_service(service), [&](const sys::PassedSocket& socket) {
            return socket.name == stored_name(socket.fd.get(), service) && has_it(socket);
        });
    } else {
        if (by_address(where) == by_address(AF_UNIX, "", 0)) at = find("path " + where.path, has_it);
        if (!at) at = find(by_address(where), has_it);
    }
    return at ? take(*at) : sys::PassedSocket{};
}

void PassedSockets::discard_stored() {
    for (auto at = sockets_.begin(); at != sockets_.end();) {
        const auto next = std::next(at);
        if (is_stored(*at)) net::Listener::discard(take(at).fd);
        at = next;
    }
}

Result<void> check_type(const conf::Service& service, const conf::Listen& where, const net::Listener& socket) {
    const conf::SocketType type = socket.type();
    const auto handoff = conf::handoff_for(service.model, service.handoff, type);
    auto why = conf::cannot_serve(service.model, handoff, type);
    if (!why) why = conf::cannot_take_header(service, type, socket.address().family());
    if (why) return fail(fmt::format("{}: {}", where.uri(), *why));
    if (service.has_sessions() && type != conf::SocketType::datagram)
        return fail(fmt::format("{}: datagram.session needs datagram sockets", where.uri()));
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
        if (auto fits = check_type(service, where, *listener); !fits) {
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
