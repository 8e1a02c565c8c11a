// SPDX-License-Identifier: MIT
// [socket] on these listeners and this machine: which options none of the sockets can take, and which require root.
#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "conf/socket_machine.h"
#include "conf/validate.h"

namespace superd::conf {

namespace {

using toml::Value;

constexpr std::string_view no_udp = "does not apply: the service listens on no UDP socket";
constexpr int highest_free_priority = 6;  ///< SO_PRIORITY, socket(7): above it, only with CAP_NET_ADMIN

bool has_ipv6(const Listen& listen) {
    const bool ip = listen.transport == Transport::tcp || listen.transport == Transport::udp;
    return ip && (listen.host == "*" || listen.host.find(':') != std::string::npos);
}

class SocketResolver {
  public:
    SocketResolver(Draft& draft, const Context& context, Diagnostics& errors)
        : draft_(draft), service_(draft.service), socket_(*service_.socket), context_(context), errors_(errors) {}

    void resolve() {
        resolve_owner();
        if (!service_.listen.empty() && !draft_.is_broken("listen")) {
            leave_what_applies();
            check_keepalive();
            resolve_groups();
            check_machine();
        }
        if (context_.from.uid != 0) check_privileges();
    }

  private:
    void resolve_owner() {
        if (const Value* value = draft_.get("socket.user")) {
            const auto user = context_.from.names.find_user(value->text);
            if (!user) {
                draft_.reject_here("socket.user", value, user.error().text, errors_);
            } else if (!*user) {
                draft_.reject_here("socket.user", value, fmt::format("socket.user \"{}\": no such user", value->text),
                                   errors_);
            } else {
                socket_.user = (*user)->uid;
            }
        }
        if (const Value* value = draft_.get("socket.group")) {
            const auto group = context_.from.names.find_group(value->text);
            if (!group) {
                draft_.reject_here("socket.group", value, group.error().text, errors_);
            } else if (!*group) {
                draft_.reject_here("socket.group", value,
                                   fmt::format("socket.group \"{}\": no such group", value->text), errors_);
            } else {
                socket_.group = **group;
            }
        }
    }

    /// Nobody else's [socket] need hold on this machine, but nothing would come of these values.
    void check_machine() {
        if (socket_.fast_open && !draft_.is_broken("socket.fast_open"))
            if (const std::string why = cannot_open_fast(context_.lookups); !why.empty())
                reject_here("socket.fast_open", "socket.fast_open: " + why);
        if (socket_.mptcp && !draft_.is_broken("socket.mptcp"))
            if (const std::string why = cannot_use_mptcp(context_.lookups); !why.empty())
                reject_here("socket.mptcp", "socket.mptcp: " + why);
        if (!socket_.congestion.empty() && !draft_.is_broken("socket.congestion"))
            if (const std::string why = cannot_control_congestion(context_.lookups, socket_.congestion); !why.empty())
                reject_here("socket.congestion", fmt::format("socket.congestion \"{}\": {}", socket_.congestion, why));
    }

    /// Only a socket without an address of its own receives for other addresses than that.
    bool receives_from_groups(bool ipv6) const {
        return any([&](const Listen& listen) {
            if (listen.transport == Transport::inherited) return true;
            if (listen.transport != Transport::udp) return false;
            if (listen.host == "*") return ipv6 || !socket_.v6only.value_or(false);
            return listen.host == (ipv6 ? "::" : "0.0.0.0") ||
                   (!ipv6 && listen.host == "::" && socket_.v6only == false);
        });
    }

    void resolve_groups() {
        const Value* value = draft_.get("socket.multicast");
        if (value == nullptr || draft_.is_broken("socket.multicast")) return;
        const auto type = service_.socket_type();
        if (type && *type != SocketType::datagram) {
            reject_own(draft_, context_, {"socket.multicast"}, no_udp, errors_);
            return;
        }
        for (const Value* word : words_of(*value)) {
            const auto reject = [&](std::string_view why) {
                draft_.reject("socket.multicast", word->spot,
                              fmt::format("socket.multicast \"{}\": {}", word->text, why), errors_);
            };
            const auto group = parse_group(word->text);
            if (!group) {
                reject("not the address of a group, such as \"239.1.2.3\" or \"ff02::1%eth0\"");
            } else if (!receives_from_groups(group->find(':') != std::string::npos)) {
                reject("only a socket on \"*\", or on no other address of this kind, receives what is sent to a group");
            } else if (std::ranges::count(socket_.multicast, *group) == 0) {
                socket_.multicast.push_back(*group);
            }
        }
    }

    template <class Is>
    bool any(Is is) const {
        return std::ranges::any_of(service_.listen, is);
    }
    bool any(Transport transport) const {
        return any([=](const Listen& listen) { return listen.transport == transport; });
    }

    /// Leaves the field unchanged where it applies; elsewhere sets it to the plain default.
    template <class Field>
    void keep(bool applies, const char* name, Field SocketOptions::*field, std::string_view why) {
        if (applies) return;
        if constexpr (std::is_same_v<Field, bool>) {
            if (!(socket_.*field)) return;  // switched off, as it must be
        }
        reject_own(draft_, context_, {name}, why, errors_);
        socket_.*field = SocketOptions().*field;
    }

    void leave_what_applies() {
        const auto type = service_.socket_type();
        // Only the type of an inherited socket is known, and only if there is another socket next to it.
        const bool unknown = any(Transport::inherited);
        const bool stream = !type || type == SocketType::stream;
        const bool tcp = any(Transport::tcp) || (unknown && stream);
        const bool ip = any(Transport::tcp) || any(Transport::udp) || unknown;
        const bool ipv6 = any(has_ipv6) || unknown;
        const bool path = any([](const Listen& listen) { return listen.path.starts_with('/'); });

        constexpr std::string_view no_tcp = "does not apply: the service listens on no TCP socket";
        keep(tcp, "socket.keepalive", &SocketOptions::keepalive, no_tcp);
        keep(tcp, "socket.keepalive_time", &SocketOptions::keepalive_time, no_tcp);
        keep(tcp, "socket.keepalive_interval", &SocketOptions::keepalive_interval, no_tcp);
        keep(tcp, "socket.keepalive_probes", &SocketOptions::keepalive_probes, no_tcp);
        keep(tcp, "socket.nodelay", &SocketOptions::nodelay, no_tcp);
        keep(tcp, "socket.defer_accept", &SocketOptions::defer_accept, no_tcp);
        keep(type != SocketType::datagram, "socket.backlog", &SocketOptions::backlog,
             "does not apply: a datagram socket has no connections that could wait");

        keep(tcp, "socket.fast_open", &SocketOptions::fast_open, no_tcp);
        keep(tcp, "socket.congestion", &SocketOptions::congestion, no_tcp);
        keep(any(Transport::tcp), "socket.mptcp", &SocketOptions::mptcp,
             "does not apply: superd opens no TCP socket for the service");
        const bool datagram = !type || type == SocketType::datagram;
        keep(any(Transport::udp) || (unknown && datagram), "socket.broadcast", &SocketOptions::broadcast, no_udp);

        constexpr std::string_view no_ip = "does not apply: the service listens on no IP address";
        keep(ip, "socket.freebind", &SocketOptions::freebind, no_ip);
        keep(ip, "socket.bind_to_device", &SocketOptions::bind_to_device, no_ip);
        keep(ip, "socket.tos", &SocketOptions::tos, no_ip);
        keep(ip, "socket.ttl", &SocketOptions::ttl, no_ip);
        keep(!socket_.mptcp, "socket.ttl", &SocketOptions::ttl,
             "cannot be had with mptcp: the kernel does not let such a socket have one");
        keep(any(Transport::tcp) || any(Transport::udp), "socket.transparent", &SocketOptions::transparent,
             "does not apply: superd opens no socket on an IP address for the service");
        keep(ip, "socket.reuse_port", &SocketOptions::reuse_port, no_ip);
        keep(!any(Transport::vsock), "socket.reuse_port", &SocketOptions::reuse_port,
             "does not apply: vsock ports cannot be shared");
        keep(ipv6, "socket.v6only", &SocketOptions::v6only,
             "does not apply: the service listens on no IPv6 address, nor on \"*\"");

        constexpr std::string_view no_path = "does not apply: the service listens on no unix path in the file system";
        keep(path, "socket.mode", &SocketOptions::mode, no_path);
        keep(path, "socket.user", &SocketOptions::user, no_path);
        keep(path, "socket.group", &SocketOptions::group, no_path);
    }

    void check_keepalive() {
        if (socket_.keepalive || draft_.is_broken("socket.keepalive")) return;
        constexpr std::string_view why = "needs keepalive = true";
        keep(false, "socket.keepalive_time", &SocketOptions::keepalive_time, why);
        keep(false, "socket.keepalive_interval", &SocketOptions::keepalive_interval, why);
        keep(false, "socket.keepalive_probes", &SocketOptions::keepalive_probes, why);
    }

    // As with the handler's user, no service could have these, so a default is an error like a service's own value.
    void check_privileges() {
        if (socket_.mark) reject_here("socket.mark", "socket.mark: only root may set one");
        if (socket_.transparent)
            reject_here("socket.transparent", "socket.transparent: only root may listen on others' addresses");
        if (socket_.priority > highest_free_priority) {
            reject_here("socket.priority", fmt::format("socket.priority {}: only root may set more than {}",
                                                       *socket_.priority, highest_free_priority));
        }
        if (socket_.user && *socket_.user != context_.from.uid) {
            reject_here("socket.user",
                        fmt::format("socket.user \"{}\": only root may give a socket's path to another user",
                                    draft_.get("socket.user")->text));
        }
        if (socket_.group && *socket_.group != context_.from.gid &&
            std::ranges::count(sys::own_groups(), *socket_.group) == 0) {
            reject_here(
                "socket.group",
                fmt::format("socket.group \"{}\": only root may give a socket's path to a group that superd is not "
                            "in",
                            draft_.get("socket.group")->text));
        }
    }

    void reject_here(const char* name, std::string message) {
        draft_.reject_here(name, draft_.get(name), std::move(message), errors_);
    }

    Draft& draft_;
    Service& service_;
    SocketOptions& socket_;
    const Context& context_;
    Diagnostics& errors_;
};

}  // namespace

void resolve_socket(Draft& draft, const Context& context, Diagnostics& errors) {
    SocketResolver(draft, context, errors).resolve();
}

}  // namespace superd::conf
