// SPDX-License-Identifier: MIT
#include "conf/listen.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"

namespace superd::conf {

namespace {

constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path) - 1;

struct Scheme {
    const char* prefix;
    Transport transport;
};
constexpr std::array<Scheme, 7> schemes{{{"tcp://", Transport::tcp},
                                         {"udp://", Transport::udp},
                                         {"unix://", Transport::unix_stream},
                                         {"unix-dgram://", Transport::unix_datagram},
                                         {"unix-seqpacket://", Transport::unix_seqpacket},
                                         {"vsock://", Transport::vsock},
                                         {"systemd:", Transport::inherited}}};

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number number = 0;
    if (!all_digits(text)) return std::nullopt;
    const bool fits = std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc{};
    return fits ? std::optional(number) : std::nullopt;
}

Result<std::string> canonical_ipv6(std::string_view literal) {
    const std::size_t percent = literal.find('%');
    const std::string address(literal.substr(0, percent));
    in6_addr binary{};
    if (inet_pton(AF_INET6, address.c_str(), &binary) != 1)
        return fail(fmt::format("\"{}\" is not an IPv6 address", literal));
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(AF_INET6, &binary, text.data(), text.size());
    if (IN6_IS_ADDR_V4MAPPED(&binary)) {
        return fail(fmt::format("an IPv4 address in IPv6 form: write {}", std::string_view(text.data()).substr(7)));
    }
    if (percent == std::string_view::npos) return text.data();
    const std::string_view scope = literal.substr(percent + 1);
    if (scope.empty() || scope.size() >= IFNAMSIZ) return fail("an interface name must follow the \"%\"");
    return fmt::format("{}%{}", text.data(), scope);
}

Result<std::string> canonical_host(std::string_view host) {
    if (host == "*") return "*";
    if (host.empty()) return fail("has no address before the port: write \"*\" for all of them");
    in_addr binary{};
    if (inet_pton(AF_INET, std::string(host).c_str(), &binary) == 1) return std::string(host);
    return fail(fmt::format("\"{}\" is neither an IP address nor \"*\"", host));
}

Result<std::uint32_t> parse_port(std::string_view port, const char* protocol, sys::Names& names) {
    if (port.empty()) return fail("has no port: write a number, a service name, or 0 for any free one");
    if (all_digits(port)) {
        if (const auto number = parse_number<std::uint16_t>(port)) return *number;
        return fail(fmt::format("port {} is out of range 0 to 65535", port));
    }
    const auto found = names.find_port(std::string(port), protocol);
    if (!found) return std::unexpected(found.error());
    if (*found) return **found;
    return std::unexpected(
        Error{fmt::format("port \"{}\" is not a number, nor in the services database for {}", port, protocol), ENOENT});
}

Result<Listen> parse_inet(Listen out, std::string_view rest, sys::Names& names) {
    const bool bracketed = rest.starts_with('[');
    const std::size_t bracket = bracketed ? rest.find(']') : 0;
    if (bracket == std::string_view::npos) return fail("has a \"[\" without its \"]\"");
    const std::size_t colon = rest.rfind(':');
    if (colon == std::string_view::npos || colon < bracket) return fail("has no port: write ADDRESS:PORT");
    if (bracketed && colon != bracket + 1) return fail("must have a \":\" and the port right after the \"]\"");
    if (!bracketed && rest.find(':') != colon) {
        return fail(fmt::format("has an IPv6 address without brackets: write [{}]:{}", rest.substr(0, colon),
                                rest.substr(colon + 1)));
    }
    auto host = bracketed ? canonical_ipv6(rest.substr(1, bracket - 1)) : canonical_host(rest.substr(0, colon));
    if (!host) return std::unexpected(host.error());
    const auto port = parse_port(rest.substr(colon + 1), out.transport == Transport::tcp ? "tcp" : "udp", names);
    if (!port) return std::unexpected(port.error());
    out.host = std::move(*host);
    out.port = *port;
    return out;
}

Result<Listen> parse_unix(Listen out, std::string_view path) {
    if (path.starts_with('@')) {
        if (path.size() == 1) return fail("has no name after the \"@\"");
        // The name may fill sun_path: it starts after a NUL, written as '@' here, and needs none at its end.
        if (path.size() > longest_path + 1)
            return fail(fmt::format("is longer than the {} bytes of a socket's name", longest_path));
        out.path = path;
        return out;
    }
    if (!path.starts_with('/')) return fail("must be an absolute path, such as unix:///run/name, or \"@\" and a name");
    if (path.ends_with('/')) return fail("is the path of a folder, not of a socket");
    for (const std::string_view part : split(path.substr(1), '/')) {
        if (part.empty() || part == ".") continue;
        out.path += '/';
        out.path += part;
    }
    if (out.path.size() > longest_path) {
        return fail(
            fmt::format("has a path of {} bytes; a socket's path has at most {}", out.path.size(), longest_path));
    }
    return out;
}

Result<Listen> parse_vsock(Listen out, std::string_view rest) {
    const std::size_t colon = rest.find(':');
    const std::string_view cid = rest.substr(0, colon);
    const auto port = parse_number<std::uint32_t>(colon == std::string_view::npos ? "" : rest.substr(colon + 1));
    const auto number = cid == "*" ? std::optional<std::uint32_t>(VMADDR_CID_ANY) : parse_number<std::uint32_t>(cid);
    if (!number || !port) return fail("must be vsock://CID:PORT: two numbers, or \"*\" for any CID");
    out.cid = *number;
    out.port = *port;
    return out;
}

Result<Listen> parse_inherited(Listen out, std::string_view name) {
    // sd_listen_fds_with_names(3): a colon separates names.
    if (name.empty() || name.size() > 255 || name.find(':') != std::string_view::npos) {
        return fail("must name a socket as its FileDescriptorName= does: 1 to 255 characters, no colon");
    }
    out.name = name;
    return out;
}

bool is_inet(const Listen& listen) {
    return listen.transport == Transport::tcp || listen.transport == Transport::udp;
}

struct Wildcard {
    bool ipv4 = false, ipv6 = false;
};

// A separate IPv6 wildcard takes IPv4 only if v6only says so: "*" is the name for both.
Wildcard wildcard(const Listen& listen, const SocketOptions& options) {
    if (listen.host == "*") return {!options.v6only.value_or(false), true};
    return {listen.host == "0.0.0.0" || (listen.host == "::" && !options.v6only.value_or(true)), listen.host == "::"};
}

bool covers(const Wildcard& any, const Listen& other, const SocketOptions& options) {
    const Wildcard too = wildcard(other, options);
    if (too.ipv4 || too.ipv6) return (any.ipv4 && too.ipv4) || (any.ipv6 && too.ipv6);
    return other.host.find(':') == std::string::npos ? any.ipv4 : any.ipv6;
}

}  // namespace

std::vector<std::string> listen_prefixes() {
    std::vector<std::string> known;
    for (const Scheme& scheme : schemes) known.emplace_back(scheme.prefix);
    return known;
}

Result<Listen> parse_listen(std::string_view uri, sys::Names& names) {
    for (const Scheme& scheme : schemes) {
        if (!uri.starts_with(scheme.prefix)) continue;
        Listen out;
        out.transport = scheme.transport;
        const std::string_view rest = uri.substr(std::string_view(scheme.prefix).size());
        switch (scheme.transport) {
            case Transport::tcp:
            case Transport::udp:
                return parse_inet(std::move(out), rest, names);
            case Transport::unix_stream:
            case Transport::unix_datagram:
            case Transport::unix_seqpacket:
                return parse_unix(std::move(out), rest);
            case Transport::vsock:
                return parse_vsock(std::move(out), rest);
            case Transport::inherited:
                return parse_inherited(std::move(out), rest);
        }
    }
    const std::vector<std::string> known = listen_prefixes();
    const std::size_t colon = std::min(uri.find(':'), uri.size());
    const auto meant = closest(uri.substr(0, uri.find_first_not_of(":/", colon)), known);
    return fail(fmt::format("must begin with one of {}{}", fmt::join(known, ", "),
                            meant ? fmt::format(" (did you mean \"{}\"?)", *meant) : ""));
}

std::optional<std::string> cannot_bind(const Listen& listen, const SocketOptions& options) {
    if (!is_inet(listen)) return std::nullopt;
    const std::size_t percent = listen.host.find('%');
    in_addr ipv4{};
    in6_addr ipv6{};
    const bool is_ipv6 = inet_pton(AF_INET6, listen.host.substr(0, percent).c_str(), &ipv6) == 1;
    const bool group = is_ipv6
                           ? IN6_IS_ADDR_MULTICAST(&ipv6)
                           : inet_pton(AF_INET, listen.host.c_str(), &ipv4) == 1 && IN_MULTICAST(ntohl(ipv4.s_addr));
    if (group && listen.transport == Transport::tcp) return "a multicast group: only udp:// can listen on it";
    const bool of_link =
        is_ipv6 && (IN6_IS_ADDR_LINKLOCAL(&ipv6) || IN6_IS_ADDR_MC_LINKLOCAL(&ipv6) || IN6_IS_ADDR_MC_NODELOCAL(&ipv6));
    if (of_link && percent == std::string::npos && options.bind_to_device.empty())
        return fmt::format("an address of one link: name its interface, as in [{}%eth0] or socket.bind_to_device",
                           listen.host);
    return std::nullopt;
}

Overlap overlap(const Listen& a, const SocketOptions& a_options, const Listen& b, const SocketOptions& b_options) {
    if (is_inet(a) || a.transport == Transport::vsock) {
        if (a.port == 0) return Overlap::none;
    } else if (a.path.starts_with('/') && a.path == b.path) {
        return Overlap::same;  // of either type: there is one file
    }
    if (a.transport != b.transport || a.port != b.port) return Overlap::none;
    const bool other_device = !a_options.bind_to_device.empty() && !b_options.bind_to_device.empty() &&
                              a_options.bind_to_device != b_options.bind_to_device;
    if (is_inet(a) && other_device) return Overlap::none;
    if (a.uri() == b.uri()) return Overlap::same;
    if (!is_inet(a)) return Overlap::none;
    const bool meet = covers(wildcard(a, a_options), b, b_options) || covers(wildcard(b, b_options), a, a_options);
    return meet ? Overlap::partial : Overlap::none;
}

}  // namespace superd::conf
