// SPDX-License-Identifier: MIT
#include "proxy/target.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <stddef.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>
#include <memory>

namespace proxy {
namespace {

template <class Native>
Address address_of(const Native& native, std::size_t size = sizeof(Native)) {
    Address result;
    std::memcpy(&result.storage, &native, size);
    result.size = static_cast<socklen_t>(size);
    return result;
}

std::expected<std::vector<Address>, std::string> look_up(const char* host, const char* port, bool datagrams,
                                                         int flags) {
    addrinfo hints{};
    hints.ai_socktype = datagrams ? SOCK_DGRAM : SOCK_STREAM;
    hints.ai_flags = flags;
    addrinfo* found = nullptr;
    const int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) return std::unexpected(code == EAI_SYSTEM ? error_text(errno) : gai_strerror(code));
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
    std::vector<Address> addresses;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
        Address address;
        std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
        address.size = one->ai_addrlen;
        addresses.push_back(address);
    }
    if (addresses.empty()) return std::unexpected("it has no address");
    return addresses;
}

std::optional<unsigned> number(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
}

std::expected<Target, std::string> parse_unix(Target target, std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const bool abstract = path.starts_with('@') && path.size() > 1;
    if (!abstract && !path.starts_with('/')) return std::unexpected("must be unix:///PATH or unix://@NAME");
    if (path.size() >= sizeof address.sun_path) return std::unexpected("its path is too long for a socket");
    std::memcpy(address.sun_path, path.data(), path.size());
    if (abstract) address.sun_path[0] = '\0';
    // The name of an abstract socket has no end of its own; that of a path ends in NUL.
    target.fixed = address_of(address, offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
    target.kind = Target::Kind::unix_path;
    return target;
}

}  // namespace

std::expected<Target, std::string> parse_target(std::string_view text) {
    Target target;
    target.text = text;
    const std::size_t colon = text.find("://");
    const std::string_view scheme = text.substr(0, colon);
    const bool known = scheme == "tcp" || scheme == "udp" || scheme == "unix" || scheme == "vsock";
    if (colon == std::string_view::npos || !known)
        return std::unexpected("must be tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or vsock://CID:PORT");
    const std::string_view rest = text.substr(colon + 3);
    if (scheme == "unix") return parse_unix(std::move(target), rest);

    const std::size_t end = rest.rfind(':');
    if (end == std::string_view::npos || end + 1 == rest.size()) return std::unexpected("has no port");
    std::string_view host = rest.substr(0, end);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (host.empty()) return std::unexpected("has no host");
    if (!bracketed && host.find(':') != std::string_view::npos)
        return std::unexpected("an IPv6 address needs brackets: [ADDRESS]:PORT");
    target.host = host;
    target.port = rest.substr(end + 1);
    const auto port = number(target.port);
    if (scheme == "vsock") {
        const auto cid = number(host);
        if (!cid || !port) return std::unexpected("must be vsock://CID:PORT, both numbers");
        sockaddr_vm address{};
        address.svm_family = AF_VSOCK;
        address.svm_cid = *cid;
        address.svm_port = *port;
        target.kind = Target::Kind::vsock;
        target.fixed = address_of(address);
        return target;
    }
    if (port && (*port == 0 || *port > 65535)) return std::unexpected("its port must be from 1 to 65535");
    target.kind = scheme == "udp" ? Target::Kind::udp : Target::Kind::tcp;
    const auto literal = look_up(target.host.c_str(), target.port.c_str(), target.datagrams(), AI_NUMERICHOST);
    if (literal) target.fixed = literal->front();
    if (!port && !literal && getservbyname(target.port.c_str(), target.datagrams() ? "udp" : "tcp") == nullptr)
        return std::unexpected("its port is neither a number nor in the services database");
    return target;
}

std::expected<Address, std::string> parse_address(std::string_view text) {
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    const auto found = look_up(std::string(text).c_str(), nullptr, false, AI_NUMERICHOST);
    if (!found) return std::unexpected("must be an address of this machine, without a port");
    return found->front();
}

std::expected<std::vector<Address>, std::string> resolve(const std::string& host, const std::string& port,
                                                         bool datagrams) {
    return look_up(host.c_str(), port.c_str(), datagrams, AI_ADDRCONFIG);
}

}  // namespace proxy
