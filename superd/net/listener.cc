// SPDX-License-Identifier: MIT
#include "net/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "net/socket_path.h"
#include "sys/interruption.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace superd::net {
namespace {

using conf::SocketOptions;
using conf::SocketType;
using conf::Transport;

int kernel_type(SocketType type) {
    switch (type) {
        case SocketType::stream:
            return SOCK_STREAM;
        case SocketType::datagram:
            return SOCK_DGRAM;
        case SocketType::seqpacket:
            return SOCK_SEQPACKET;
    }
    return SOCK_STREAM;
}

Result<sys::Address> resolve(const conf::Listen& where, const SocketOptions& options) {
    switch (where.transport) {
        case Transport::tcp:
        case Transport::udp: {
            const auto port = static_cast<std::uint16_t>(where.port);
            if (where.host != "*") return sys::Address::inet(where.host, port);
            // Dual stack; IPv4 alone where the kernel has no IPv6.
            const sys::Fd probe(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
            const bool v6 = probe || errno != EAFNOSUPPORT || options.v6only.value_or(false);
            return sys::Address::inet(v6 ? "::" : "0.0.0.0", port);
        }
        case Transport::vsock:
            return sys::Address::vsock(where.cid, where.port);
        default:
            return sys::Address::local(where.path);
    }
}

class Setter {
  public:
    explicit Setter(int fd) : fd_(fd) {}

    void set(const char* what, int level, int option, int value) {
        if (setsockopt(fd_, level, option, &value, sizeof value) != 0) note(what);
    }
    void set(const char* what, int level, int option, const std::string& value) {
        if (setsockopt(fd_, level, option, value.c_str(), static_cast<socklen_t>(value.size() + 1)) != 0) note(what);
    }
    /// Root may exceed the system's limit; others get what it allows. socket(7)
    void set_buffer(const char* what, int forced, int plain, std::uint64_t bytes) {
        const int value = static_cast<int>(bytes);
        if (setsockopt(fd_, SOL_SOCKET, forced, &value, sizeof value) != 0) set(what, SOL_SOCKET, plain, value);
    }
    Result<void> done() {
        if (first_) return std::unexpected(*first_);
        return {};
    }

  private:
    void note(const char* what) {
        if (!first_) first_ = fail_errno(fmt::format("socket option {}", what), errno).error();
    }
    int fd_;
    std::optional<Error> first_;
};

int seconds(Duration value) {
    return static_cast<int>(std::chrono::ceil<std::chrono::seconds>(value).count());
}

/// The options that can also be set on a live socket.
Result<void> apply(int fd, int family, SocketType type, const SocketOptions& o, const SocketOptions& before) {
    Setter socket(fd);
    const bool tcp = type == SocketType::stream && (family == AF_INET || family == AF_INET6);
    if (tcp) {
        if (o.keepalive || before.keepalive) socket.set("keepalive", SOL_SOCKET, SO_KEEPALIVE, o.keepalive);
        if (o.keepalive_time) socket.set("keepalive_time", IPPROTO_TCP, TCP_KEEPIDLE, seconds(*o.keepalive_time));
        if (o.keepalive_interval)
            socket.set("keepalive_interval", IPPROTO_TCP, TCP_KEEPINTVL, seconds(*o.keepalive_interval));
        if (o.keepalive_probes) socket.set("keepalive_probes", IPPROTO_TCP, TCP_KEEPCNT, *o.keepalive_probes);
        if (o.nodelay || before.nodelay) socket.set("nodelay", IPPROTO_TCP, TCP_NODELAY, o.nodelay);
        if (o.defer_accept || before.defer_accept)
            socket.set("defer_accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, o.defer_accept ? seconds(*o.defer_accept) : 0);
        if (o.fast_open || before.fast_open)
            socket.set("fast_open", IPPROTO_TCP, TCP_FASTOPEN, o.fast_open.value_or(0));
        if (!o.congestion.empty()) socket.set("congestion", IPPROTO_TCP, TCP_CONGESTION, o.congestion);
    }
    if (o.broadcast || before.broadcast) socket.set("broadcast", SOL_SOCKET, SO_BROADCAST, o.broadcast);
    if (o.receive_buffer) socket.set_buffer("receive_buffer", SO_RCVBUFFORCE, SO_RCVBUF, *o.receive_buffer);
    if (o.send_buffer) socket.set_buffer("send_buffer", SO_SNDBUFFORCE, SO_SNDBUF, *o.send_buffer);
    if (o.priority || before.priority) socket.set("priority", SOL_SOCKET, SO_PRIORITY, o.priority.value_or(0));
    if (o.mark || before.mark) socket.set("mark", SOL_SOCKET, SO_MARK, static_cast<int>(o.mark.value_or(0)));
    if (o.tos || before.tos) {
        if (family == AF_INET || family == AF_INET6) socket.set("tos", IPPROTO_IP, IP_TOS, o.tos.value_or(0));
        if (family == AF_INET6) socket.set("tos", IPPROTO_IPV6, IPV6_TCLASS, o.tos.value_or(0));
    }
    if (o.ttl || before.ttl) {
        constexpr int by_system = -1;
        if (family == AF_INET || family == AF_INET6) socket.set("ttl", IPPROTO_IP, IP_TTL, o.ttl.value_or(by_system));
        if (family == AF_INET6) socket.set("ttl", IPPROTO_IPV6, IPV6_UNICAST_HOPS, o.ttl.value_or(by_system));
    }
    return socket.done();
}

/// The options that can be set only before a socket has an address.
Result<void> apply_before_bind(int fd, const sys::Address& address, const conf::Listen& where, const SocketOptions& o) {
    Setter socket(fd);
    if (where.transport == Transport::tcp) socket.set("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1);
    if (o.reuse_port && address.family() != AF_UNIX) socket.set("reuse_port", SOL_SOCKET, SO_REUSEPORT, 1);
    if (address.family() == AF_INET6) {
        // Unless the definition says otherwise, only "*" is dual stack, whatever bindv6only says.
        socket.set("v6only", IPPROTO_IPV6, IPV6_V6ONLY, o.v6only.value_or(where.host != "*"));
        if (o.freebind) socket.set("freebind", IPPROTO_IPV6, IPV6_FREEBIND, 1);
        if (o.transparent) socket.set("transparent", IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
    } else if (address.family() == AF_INET) {
        if (o.freebind) socket.set("freebind", IPPROTO_IP, IP_FREEBIND, 1);
        if (o.transparent) socket.set("transparent", IPPROTO_IP, IP_TRANSPARENT, 1);
    }
    if (!o.bind_to_device.empty()) socket.set("bind_to_device", SOL_SOCKET, SO_BINDTODEVICE, o.bind_to_device);
    return socket.done();
}

/// Replies must leave from the address that was asked, so every receiver learns it. ip(7)
void ask_for_destination(int fd, int family) {
    const int on = 1;
    if (family == AF_INET || family == AF_INET6) setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

/// The system's value is not known: getting it back takes a new socket.
template <class T>
bool is_taken_back(const std::optional<T>& before, const std::optional<T>& next) {
    return before && !next;
}

std::unexpected<Error> cannot_bind(const sys::Address& address, int code) {
    auto why = fail_errno(fmt::format("bind {}", address.text()), code);
    if (code != EACCES || address.family() == AF_UNIX || address.port() >= IPPORT_RESERVED) return why;
    std::string text = why.error().text + ": such a port needs root, CAP_NET_BIND_SERVICE, or a lower ";
    return std::unexpected(Error{text + "net.ipv4.ip_unprivileged_port_start", code});
}

bool is_path(const conf::Listen& where) {
    return (where.transport == Transport::unix_stream || where.transport == Transport::unix_datagram ||
            where.transport == Transport::unix_seqpacket) &&
           where.path.starts_with('/');
}

}  // namespace

Listener::Listener(sys::Fd fd, conf::Listen where, conf::SocketOptions options, conf::SocketType type)
    : fd_(std::move(fd)),
      where_(std::move(where)),
      options_(std::move(options)),
      type_(type),
      address_(sys::Address::of_socket(fd_.get())) {
    // A socket bound next to a path and renamed still has its first name.
    if (is_path(where_))
        if (auto address = sys::Address::local(where_.path)) address_ = *address;
}

Result<Listener> Listener::open(const conf::Listen& where, const conf::SocketOptions& options) {
    return make(where, options);
}

Result<Listener> Listener::make(const conf::Listen& where, const conf::SocketOptions& options, const Listener* over,
                                const filter::Program* program) {
    auto address = resolve(where, options);
    if (!address) return std::unexpected(address.error());
    const SocketType type = *where.socket_type();
    const int kind = kernel_type(type);
    const int protocol = options.mptcp && where.transport == Transport::tcp ? IPPROTO_MPTCP : 0;
    sys::Fd fd(socket(address->family(), kind | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    if (!fd) return fail_errno(fmt::format("socket for {}", where.uri()), errno);
    fd = std::move(fd).lifted();
    if (address->family() == AF_UNIX) sys::let_rights_in(fd.get(), false);  // before anyone can connect
    if (auto set = apply_before_bind(fd.get(), *address, where, options); !set) return std::unexpected(set.error());
    if (auto set = apply(fd.get(), address->family(), type, options, {}); !set) return std::unexpected(set.error());
    if (program != nullptr)
        if (auto attached = filter::attach(fd.get(), *program); !attached) return std::unexpected(attached.error());
    if (is_path(where)) {
        auto bound = over != nullptr ? bind_over(fd.get(), kind, *address, where.path, options, over->has_path())
                                     : bind_path(fd.get(), kind, *address, where.path, options);
        if (!bound) return std::unexpected(bound.error());
    } else if (bind(fd.get(), address->data(), address->size()) != 0) {
        return cannot_bind(*address, errno);
    }
    Listener listener(std::move(fd), where, options, type);
    if (is_path(where)) {
        struct stat status;
        if (lstat(where.path.c_str(), &status) == 0) {
            listener.device_ = status.st_dev;
            listener.inode_ = status.st_ino;
        }
        listener.path_ = where.path;
        if (options.user || options.group)
            if (auto set = listener.set_path(options); !set) return std::unexpected(set.error());
    }
    if (listener.address_.family() == AF_UNSPEC)  // its port, and where to answer from, would be unknown
        return fail_errno(fmt::format("address of {}", where.uri()), ENOBUFS);
    if (type == SocketType::datagram) {
        ask_for_destination(listener.fd(), address->family());
        if (auto joined = listener.join(options.multicast); !joined) return std::unexpected(joined.error());
    } else if (listen(listener.fd(), options.backlog) != 0) {
        return fail_errno(fmt::format("listen {}", address->text()), errno);
    }
    return listener;
}

Result<Listener> Listener::adopt(sys::PassedSocket& socket, const conf::Listen& where,
                                 const conf::SocketOptions& options) {
    const sys::Fd& fd = socket.fd;
    int kind = 0;
    socklen_t size = sizeof kind;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &kind, &size) != 0)
        return fail_errno(fmt::format("passed socket {}", where.uri()), errno);
    SocketType type = SocketType::stream;
    if (kind == SOCK_DGRAM)
        type = SocketType::datagram;
    else if (kind == SOCK_SEQPACKET)
        type = SocketType::seqpacket;
    else if (kind != SOCK_STREAM)
        return fail(fmt::format("passed socket {} is neither stream, datagram nor seqpacket", where.uri()));
    const int family = sys::Address::of_socket(fd.get()).family();
    if (family == AF_UNSPEC) return fail_errno(fmt::format("address of passed socket {}", where.uri()), ENOBUFS);
    if (auto set = apply(fd.get(), family, type, options, {}); !set) return std::unexpected(set.error());
    if (type == SocketType::datagram) {
        ask_for_destination(fd.get(), family);
    } else {
        int listening = 0;
        size = sizeof listening;
        getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
        // The manager chose the backlog of a listening socket; ours is for one that does not listen yet.
        if (listening == 0 && listen(fd.get(), options.backlog) != 0)
            return fail_errno(fmt::format("listen on passed socket {}", where.uri()), errno);
    }
    Listener listener(std::move(socket.fd), where, options, type);
    listener.passed_name_ = socket.name;
    listener.set_blocking(false);
    listener.inherited_ = true;
    if (type == SocketType::datagram && !options.multicast.empty())
        if (auto joined = listener.join(options.multicast); !joined) {
            socket = std::move(listener).release();
            return std::unexpected(joined.error());
        }
    return listener;
}

Listener::~Listener() {
    if (fd_ && !path_.empty() && has_path()) unlink(path_.c_str());
}

bool Listener::has_path() const {
    struct stat status;
    return lstat(path_.c_str(), &status) == 0 && is_own(status);
}

bool Listener::is_own(const struct stat& status) const {
    return status.st_dev == device_ && status.st_ino == inode_;
}

std::string Listener::uri() const {
    conf::Listen actual = where_;
    if (actual.transport == Transport::tcp || actual.transport == Transport::udp) actual.port = address_.port();
    return actual.uri();
}

bool Listener::can_become(const conf::SocketOptions& next) const {
    return inherited_ || (next.reuse_port == options().reuse_port && next.v6only == options().v6only &&
                          next.freebind == options().freebind && next.bind_to_device == options().bind_to_device &&
                          next.transparent == options().transparent && next.mptcp == options().mptcp &&
                          (next.congestion == options().congestion || !next.congestion.empty()) &&
                          !is_taken_back(options().keepalive_time, next.keepalive_time) &&
                          !is_taken_back(options().keepalive_interval, next.keepalive_interval) &&
                          !is_taken_back(options().keepalive_probes, next.keepalive_probes) &&
                          !is_taken_back(options().receive_buffer, next.receive_buffer) &&
                          !is_taken_back(options().send_buffer, next.send_buffer));
}

Result<void> Listener::set_path(const conf::SocketOptions& options) const {
    const sys::Fd own = open_own(fd(), path_, device_, inode_);
    if (!own) return fail(fmt::format("{} is no longer the socket that was bound there", path_));
    return set_owner_and_mode(own.get(), path_, options);
}

Result<void> Listener::become(const conf::SocketOptions& next) {
    if (next == options()) return {};
    const std::string before = given_ ? read_settings(fd()) : std::string();
    auto result = apply(fd(), address_.family(), type_, next, options());
    if (next.multicast != options().multicast) {
        leave(options().multicast, next.multicast);
        if (auto joined = join(next.multicast); !joined && result) result = std::unexpected(joined.error());
    }
    if (given_) settings_ = merge_settings(settings_, before, read_settings(fd()));
    if (type_ != SocketType::datagram && !inherited_ && next.backlog != options().backlog)
        listen(fd(), next.backlog);  // on a listening socket, listen(2) changes only the backlog
    if (!path_.empty())
        if (auto set = set_path(next); !set && result) result = set;
    if (result) options_ = next;  // otherwise the next reload tries again
    return result;
}

void Listener::set_blocking(bool on) const {
    const int flags = fcntl(fd(), F_GETFL);
    const int wanted = on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (wanted != flags) fcntl(fd(), F_SETFL, wanted);
    let_rights_in(on);
}

void Listener::let_rights_in(bool on) const {
    if (address_.family() == AF_UNIX) sys::let_rights_in(fd(), on);
}

void Listener::allow_overlap(bool on) const {
    allow_overlap(fd(), on || options().reuse_port);
}

void Listener::allow_overlap(int fd, bool on) {
    const int value = on;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value);
}

void Listener::overlaps(const conf::SocketOptions& asked) {
    // No other socket may join once the change is done.
    const std::string before = given_ ? read_settings(fd()) : std::string();
    const int off = 0;
    if (!asked.reuse_port) setsockopt(fd(), SOL_SOCKET, SO_REUSEPORT, &off, sizeof off);
    options_ = asked;
    if (given_) settings_ = merge_settings(settings_, before, read_settings(fd()));
}

/// O_NONBLOCK belongs to the open file. A handler that was given the socket shares that file and may change the flag at
/// any moment. So where accept would wait, a repeating timer interrupts it.
sys::Fd Listener::accept(sockaddr_storage& from, socklen_t& size) const {
    const auto take = [&] { return sys::Fd(accept4(fd(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC)); };
    if (!given_) return take();
    set_blocking(false);
    const sys::Interruption interruption(std::chrono::milliseconds(2));
    sys::Fd connection = take();
    if (!connection && errno == EINTR) errno = EAGAIN;
    // Inherited from the listening socket, where only a worker can have set it.
    const linger off{};
    if (connection) setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &off, sizeof off);
    return connection;
}

Listener::Kept Listener::kept() const {
    return {fd(), where_, options_, type_, inherited_, given_, passed_name_, path_, device_, inode_, settings_};
}

Listener Listener::go_on(sys::Fd fd, Kept kept) {
    Listener listener(std::move(fd), std::move(kept.where), std::move(kept.options), kept.type);
    listener.inherited_ = kept.inherited;
    listener.given_ = kept.given;
    listener.passed_name_ = std::move(kept.passed_name);
    listener.path_ = std::move(kept.path);
    listener.device_ = kept.device;
    listener.inode_ = kept.inode;
    listener.settings_ = std::move(kept.settings);
    if (listener.given_ && listener.settings_.empty()) listener.note_given();
    return listener;
}

sys::PassedSocket Listener::release() && {
    return {passed_name_, std::move(fd_)};
}

}  // namespace superd::net
