// SPDX-License-Identifier: MIT
#include "net/health.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "net/listener.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace superd::net {
namespace {

/// `otherwise`: the value to assume if the kernel has no memory for an answer. A failed query must not break a healthy
/// socket.
int number(int fd, int option, int otherwise) {
    int value = otherwise;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : otherwise;
}

/// connect(2): AF_UNSPEC removes the peer, and with it a stream socket's state.
void disconnect(int fd) {
    const sockaddr nobody{AF_UNSPEC, {}};
    ::connect(fd, &nobody, sizeof nobody);
}

bool is_inet(int family) {
    return family == AF_INET || family == AF_INET6;
}

}  // namespace

void Listener::note_given() {
    if (settings_.empty()) settings_ = read_settings(fd());
    given_ = true;
}

Result<void> Listener::set_filter(const std::optional<filter::Program>& program) {
    auto set = program ? filter::attach(fd(), *program) : filter::detach(fd());
    filter_ = filter_print(fd()).value_or(filter_);  // on failure the caller gets the error
    return set;
}

Health Listener::examine() {
    Health health;
    if (given_) {
        mend_state(health);
        mend_filter(health);
        if (!restore_settings(fd(), settings_, is_bound_to_device(), health))
            health.leave(Error{fmt::format("{} cannot be set back", health.wrong), EPERM});
    }
    mend_device(health);
    struct stat status;
    const bool there = !path_.empty() && lstat(path_.c_str(), &status) == 0;
    const bool gone = !path_.empty() && !there && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
    if (gone || (there && !is_own(status))) {
        health.add(there ? "its path leads elsewhere" : "its path is gone");
        health.leave(fail_errno(path_, there ? EEXIST : ENOENT).error());
    }
    return health;
}

void Listener::mend_state(Health& health) {
    const bool stream = type_ != conf::SocketType::datagram;
    const auto listens = [&] { return number(fd(), SO_ACCEPTCONN, 1) != 0; };
    const auto has_address = [&] {
        if (!is_inet(address_.family())) return true;
        const auto now = sys::Address::of_socket(fd());
        return now.family() == AF_UNSPEC || now.text() == address_.text();
    };
    const bool connected = !stream && sys::Address::of_peer(fd()).family() != AF_UNSPEC;
    const bool closed = stream && !listens();
    const bool moved = !connected && !closed && !has_address();
    if (connected) health.add("connected to a peer");
    if (closed) health.add("not listening");
    if (moved) health.add("without its address");
    if (connected || closed || moved) {
        disconnect(fd());
        // Disconnecting also gives up a port that the kernel chose, whatever getsockname(2) says.
        if (is_inet(address_.family())) ::bind(fd(), address_.data(), address_.size());
    }
    // A changed backlog is not detected, but restored with the rest. Sockets from the manager keep the manager's
    // backlog.
    if (stream && (!inherited_ || closed || moved)) ::listen(fd(), options().backlog);
    if (connected && sys::Address::of_peer(fd()).family() != AF_UNSPEC)
        health.leave(fail_errno("disconnect", EISCONN).error());
    if (stream && !listens()) health.leave(fail_errno("listen", EINVAL).error());
    if (!has_address()) health.leave(fail_errno(fmt::format("bind {}", address_.text()), EADDRINUSE).error());
    pollfd hung_up{fd(), POLLRDHUP, 0};
    if (poll(&hung_up, 1, 0) == 1 && (hung_up.revents & (POLLHUP | POLLRDHUP)) != 0) {
        health.add("shut down");
        health.leave(fail_errno("shut down", ESHUTDOWN).error());
    }
    health.deaf = health.left.has_value();
}

void Listener::mend_filter(Health& health) {
    if (number(fd(), SO_LOCK_FILTER, 0) != 0) {
        health.add("its filter is locked");
        health.leave(fail_errno("change its filter", EPERM).error());
    } else if (filter_print(fd()).value_or(filter_) != filter_) {
        health.add("its filter was changed");
        health.filter = filter_ != 0;
        if (!health.filter && !filter::detach(fd())) health.leave(fail_errno("detach its filter", EPERM).error());
    }
}

std::string Listener::device() const {
    if (inherited_) return {};
    if (!options().bind_to_device.empty()) return options().bind_to_device;
    const auto percent = where_.host.find('%');
    return percent == std::string::npos ? std::string() : where_.host.substr(percent + 1);
}

bool Listener::is_bound_to_device() const {
    if (inherited_) return false;
    if (!options().bind_to_device.empty()) return true;
    if (address_.family() != AF_INET6) return false;
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(address_.data())->sin6_addr;
    return IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_MC_LINKLOCAL(&address) || IN6_IS_ADDR_MC_NODELOCAL(&address);
}

/// A socket is bound to an interface's number; an interface recreated under the same name has a different one.
void Listener::mend_device(Health& health) {
    const std::string name = device();
    if (!name.empty()) {
        const auto index = static_cast<int>(if_nametoindex(name.c_str()));
        if (index == 0 && errno != ENODEV) return;  // unknown
        if (index == 0) {
            health.add(fmt::format("interface {} is gone", name));
            health.leave(fail_errno(fmt::format("interface {}", name), ENODEV).error());
            health.deaf = true;
            health.renewable = false;
            return;
        }
        if (is_bound_to_device() && number(fd(), SO_BINDTOIFINDEX, index) != index) {
            health.add(fmt::format("interface {} was recreated", name));
            if (setsockopt(fd(), SOL_SOCKET, SO_BINDTODEVICE, name.c_str(), static_cast<socklen_t>(name.size() + 1)) !=
                0) {
                health.leave(fail_errno(fmt::format("bind to interface {}", name), errno).error());
                health.deaf = true;
            }
            if (auto address = sys::Address::of_socket(fd()); address.family() != AF_UNSPEC) address_ = address;
        }
    }
    const auto joined = join(options().multicast);
    if (!joined)
        health.leave(joined.error());
    else if (*joined)
        health.add("it had left its multicast group");
}

Result<Listener> Listener::renew(const std::optional<filter::Program>& program) {
    if (inherited_)
        return fail_errno("the service manager passed this socket and must make a new one: restart its socket unit",
                          EPERM);
    conf::Listen where = where_;
    if (is_inet(address_.family())) where.port = address_.port();
    conf::SocketOptions options = options_;
    if (is_inet(address_.family())) {
        options.reuse_port = true;
        allow_overlap(true);
    }
    auto next = make(where, options, this, program ? &*program : nullptr);
    if (!next) {
        if (is_inet(address_.family())) allow_overlap(false);
        return next;
    }
    next->where_ = where_;
    next->options_ = options_;
    return next;
}

bool Listener::lead_to(const Listener& next) const {
    if (!is_inet(address_.family())) return false;
    if (type_ == conf::SocketType::datagram || let_migrate(next.fd())) return true;
    // Where others may have joined, nobody knows its place.
    if (!options().reuse_port) steer(next.fd(), 1);
    return false;
}

void Listener::hand_on_to(Listener* next) {
    const bool inet = is_inet(address_.family());
    if (inet && type_ == conf::SocketType::stream) {
        shutdown(fd(), SHUT_RDWR);
        const int unused = 0;
        if (next != nullptr) setsockopt(next->fd(), SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof unused);
    } else if (inet) {
        // Its other holders receive nothing more on it: its only peer is its own address.
        sys::Address self = address_;
        if (self.is_wildcard())
            if (auto loopback = sys::Address::inet(self.family() == AF_INET6 ? "::1" : "127.0.0.1",
                                                   static_cast<std::uint16_t>(self.port())))
                self = *loopback;
        ::connect(fd(), self.data(), self.size());
    } else {
        // A handler that is working on a datagram still answers it on this socket.
        shutdown(fd(), type_ == conf::SocketType::datagram ? SHUT_RD : SHUT_RDWR);
    }
    if (inet && next != nullptr) next->overlaps(next->options_);
    // After a shutdown, its holders may make it listen again, but no longer next to the new one.
    if (inet) allow_overlap(false);
}

}  // namespace superd::net
