// SPDX-License-Identifier: MIT
#pragma once
// A service definition as a value: everything that a file says, resolved and checked, never changed afterwards.

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/boxed.h"
#include "base/names.h"
#include "base/time.h"
#include "conf/datagrams.h"
#include "conf/penalty.h"
#include "conf/proxy_protocol.h"
#include "conf/resources.h"
#include "conf/sandbox.h"
#include "conf/tls.h"
#include "sys/identity.h"
#include "sys/prefix.h"

namespace superd::conf {

using superd::name_of;

enum class Model { fork, prefork, iterative, delayed };
constexpr auto names_of(Model) {
    return std::array{"fork", "prefork", "iterative", "delayed"};
}
enum class Handoff { connection, listen };
constexpr auto names_of(Handoff) {
    return std::array{"connection", "listen"};
}
enum class SocketType { stream, datagram, seqpacket };
constexpr auto names_of(SocketType) {
    return std::array{"stream", "datagram", "seqpacket"};
}
enum class Transport { tcp, udp, unix_stream, unix_datagram, unix_seqpacket, vsock, inherited };
enum class Stderr { log, socket, null, inherit };
constexpr auto names_of(Stderr) {
    return std::array{"log", "socket", "null", "inherit"};
}
enum class LogConnections { none, failures, all };
constexpr auto names_of(LogConnections) {
    return std::array{"none", "failures", "all"};
}

/// One address to listen on. Two with equal uri() are the same address.
struct Listen {
    Transport transport = Transport::tcp;
    std::string host;        ///< tcp, udp: canonical literal ("127.0.0.1", "::1", "fe80::1%eth0") or "*"
    std::uint32_t port = 0;  ///< tcp, udp: 0..65535; vsock: any
    std::uint32_t cid = 0;   ///< vsock; VMADDR_CID_ANY for "*"
    std::string path;        ///< unix: absolute path, or '@' and the abstract name
    std::string name;        ///< inherited: the name in LISTEN_FDNAMES
    bool operator==(const Listen&) const = default;

    /// Canonical: "tcp://[::1]:7", "unix:///run/x", "systemd:web".
    std::string uri() const;
    /// nullopt for an inherited socket: the service manager decides its type.
    std::optional<SocketType> socket_type() const;
};

struct SocketOptions {
    int backlog = 4096;
    bool reuse_port = false;
    std::optional<bool> v6only;
    bool freebind = false;
    std::string bind_to_device;
    bool keepalive = false;
    std::optional<Duration> keepalive_time, keepalive_interval;  ///< whole seconds, at least 1 s
    std::optional<int> keepalive_probes;
    bool nodelay = false;
    std::optional<Duration> defer_accept;                      ///< whole seconds, at least 1 s
    std::optional<std::uint64_t> receive_buffer, send_buffer;  ///< bytes
    std::optional<int> priority, tos;
    std::optional<std::uint32_t> mark;
    std::optional<int> fast_open;  ///< handshakes under way whose data is here already
    bool mptcp = false;
    std::string congestion;  ///< "": the system's
    std::optional<int> ttl;
    bool transparent = false, broadcast = false;
    std::vector<std::string> multicast;  ///< groups: "239.1.2.3", "ff02::1%eth0"
    std::optional<mode_t> mode;          ///< of a unix path
    std::optional<uid_t> user;
    std::optional<gid_t> group;
    bool operator==(const SocketOptions&) const = default;
};

/// "30/m" with a burst: a bucket of `burst` tokens that fills by one each `interval`.
struct Rate {
    Duration interval{};
    int burst = 1;
    bool operator==(const Rate&) const = default;
};

/// What happens to a client that a limit keeps out.
enum class Excess { queue, close, reset, reject };
constexpr auto names_of(Excess) {
    return std::array{"queue", "close", "reset", "reject"};
}

struct Limits {
    int instances = 256;
    std::optional<int> per_source;
    std::optional<Rate> rate, per_source_rate;
    int source_prefix_ipv4 = 32;
    int source_prefix_ipv6 = 64;
    std::optional<double> max_load;
    Excess on_excess = Excess::queue;
    std::string reject_text;
    Duration wait_timeout = std::chrono::seconds(10);
    bool operator==(const Limits&) const = default;
};

/// Part of a week in local time. Days are bits from Sunday = 0; minutes count from midnight; if `until` is not above
/// `from`, it ends on the day after it began.
struct TimeWindow {
    unsigned days = 0x7f;
    int from = 0;         ///< 0..1439
    int until = 24 * 60;  ///< 0..1440, excluded; not above `from`: on the next day
    bool operator==(const TimeWindow&) const = default;
};

enum class Denial { close, reset, drop };
constexpr auto names_of(Denial) {
    return std::array{"close", "reset", "drop"};
}

struct Access {
    std::vector<sys::Prefix> allow, deny;
    std::vector<TimeWindow> times;  ///< empty: always
    Denial on_deny = Denial::close;
    bool operator==(const Access&) const = default;
    bool restricts_sources() const { return !allow.empty() || !deny.empty(); }
};

/// What is ready when a client comes. Each is the next lower value's better.
enum class Warm { off, start, clone };
constexpr auto names_of(Warm) {
    return std::array{"off", "start", "clone"};
}

struct Prefork {
    int min_spare = 2;
    int max_spare = 8;
    std::optional<int> max_requests;
    std::optional<Duration> max_idle, max_age;
    std::optional<Duration> grow_after;  ///< without a value, model::Workers chooses
    Warm warm = Warm::off;
    Duration warm_within = std::chrono::seconds(10);
    bool operator==(const Prefork&) const = default;
};

struct ResourceLimit {
    int resource = 0;  ///< RLIMIT_NOFILE …, getrlimit(2)
    rlim_t soft = 0, hard = 0;
    bool operator==(const ResourceLimit&) const = default;
};

/// How a handler is started: path, words, identity, surroundings.
struct Handler {
    std::string path;                       ///< absolute, found at load time
    std::vector<std::string> argv;          ///< argv[0] is argv0 if given, else exec[0]
    std::vector<std::string> environment;   ///< "NAME=value", complete except for section 4 of the contract
    std::optional<sys::Identity> identity;  ///< nullopt: superd's own
    std::string working_directory = "/";
    std::string root_directory;  ///< empty: none
    mode_t umask = 022;
    int nice = 0;
    Stderr error_output = Stderr::log;
    std::vector<ResourceLimit> rlimits;
    bool operator==(const Handler&) const = default;
};

struct Service {
    std::string name;
    std::string description;
    bool enabled = true;
    std::vector<Listen> listen;
    Model model = Model::fork;
    Handoff handoff = Handoff::connection;  ///< resolved: listen for datagrams
    Handler handler;
    int stop_signal = 15;
    Duration stop_timeout = std::chrono::seconds(10);
    std::optional<Duration> max_lifetime;
    Boxed<SocketOptions> socket;
    Boxed<Limits> limits;
    Boxed<Access> access;
    Boxed<Prefork> prefork;
    Boxed<Penalty> penalty;
    Boxed<ProxyProtocol> proxy_protocol;
    Boxed<Tls> tls;
    Boxed<Datagrams> datagram;
    Boxed<Sandbox> sandbox;
    Boxed<Resources> resources;
    Duration delay = std::chrono::milliseconds(250);
    LogConnections log_connections = LogConnections::failures;
    bool log_usage = false;                                  ///< what each client has cost
    Rate stderr_rate{std::chrono::milliseconds(1), 10'000};  ///< lines of handlers' stderr that go into the log
    bool operator==(const Service&) const = default;

    /// Gives back the memory of what is as it is by default.
    void settle();
    /// Does one handler serve all datagrams of a peer?
    bool has_sessions() const { return datagram->session == Session::peer; }
    /// The type of all its sockets; nullopt if all of them are inherited.
    std::optional<SocketType> socket_type() const;
};

/// The effective handoff on sockets of this type: datagrams always get the handler's own socket, except under fork,
/// where superd hands over one at a time.
Handoff handoff_for(Model model, Handoff handoff, SocketType type);

/// Why this combination cannot work, or nothing. For an inherited socket, ask again once its type is known, after
/// handoff_for().
std::optional<std::string> cannot_serve(Model model, Handoff handoff, SocketType type);
/// The same for [proxy_protocol], on a socket of this type and family.
std::optional<std::string> cannot_take_header(const Service& service, SocketType type, int family);

}  // namespace superd::conf
