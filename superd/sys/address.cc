// SPDX-License-Identifier: MIT
#include "sys/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace superd::sys {

Address::Address(const sockaddr* address, socklen_t size) : size_(std::min<socklen_t>(size, sizeof(sockaddr_storage))) {
    if (size_ > small_.size()) large_ = std::make_unique<sockaddr_storage>();
    std::memcpy(large_ ? static_cast<void*>(large_.get()) : small_.data(), address, size_);
}

Result<Address> Address::inet(const std::string& host, std::uint16_t port) {
    if (sockaddr_in v4{}; inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        return Address(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
    }
    sockaddr_in6 v6{};
    const auto percent = host.find('%');
    if (inet_pton(AF_INET6, host.substr(0, percent).c_str(), &v6.sin6_addr) != 1)
        return fail(fmt::format("{} is not an IP address", host));
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (percent != std::string::npos) {
        v6.sin6_scope_id = if_nametoindex(host.c_str() + percent + 1);
        if (v6.sin6_scope_id == 0) return fail_errno(fmt::format("interface {}", host.substr(percent + 1)), ENODEV);
    }
    return Address(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

Result<Address> Address::local(const std::string& path) {
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    const bool abstract = path.starts_with('@');
    if (path.empty() || path.size() + (abstract ? 0 : 1) > sizeof un.sun_path)
        return fail_errno(fmt::format("unix socket {}", path), ENAMETOOLONG);
    std::memcpy(un.sun_path, path.data(), path.size());
    if (abstract) un.sun_path[0] = '\0';
    return Address(reinterpret_cast<const sockaddr*>(&un),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1)));
}

Address Address::vsock(std::uint32_t cid, std::uint32_t port) {
    sockaddr_vm vm{};
    vm.svm_family = AF_VSOCK;
    vm.svm_cid = cid;
    vm.svm_port = port;
    return Address(reinterpret_cast<const sockaddr*>(&vm), sizeof vm);
}

Address Address::of_socket(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
    return Address(reinterpret_cast<const sockaddr*>(&storage), size);
}

Address Address::of_peer(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
    return Address(reinterpret_cast<const sockaddr*>(&storage), size);
}

std::string Address::host() const {
    char text[INET6_ADDRSTRLEN] = "";
    if (family() == AF_INET) {
        inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(data())->sin_addr, text, sizeof text);
        return text;
    }
    if (family() == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(data());
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof text);
            return text;
        }
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        std::string host = text;
        char name[IF_NAMESIZE];
        if (v6->sin6_scope_id != 0)
            host += fmt::format(
                "%{}", if_indextoname(v6->sin6_scope_id, name) ? std::string(name) : std::to_string(v6->sin6_scope_id));
        return host;
    }
    if (family() == AF_VSOCK) return std::to_string(reinterpret_cast<const sockaddr_vm*>(data())->svm_cid);
    if (family() == AF_UNIX) {
        const auto* un = reinterpret_cast<const sockaddr_un*>(data());
        const auto length = size_ - offsetof(sockaddr_un, sun_path);
        if (size_ <= offsetof(sockaddr_un, sun_path)) return {};
        if (un->sun_path[0] == '\0') return "@" + std::string(un->sun_path + 1, length - 1);
        return std::string(un->sun_path, strnlen(un->sun_path, length));
    }
    return {};
}

std::uint32_t Address::port() const {
    if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(data())->sin_port);
    if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(data())->sin6_port);
    if (family() == AF_VSOCK) return reinterpret_cast<const sockaddr_vm*>(data())->svm_port;
    return 0;
}

std::string Address::text() const {
    const std::string name = host();
    switch (family()) {
        case AF_INET:
        case AF_INET6:
            return name.find(':') == std::string::npos ? fmt::format("{}:{}", name, port())
                                                       : fmt::format("[{}]:{}", name, port());
        case AF_VSOCK:
            return fmt::format("vsock:{}:{}", name, port());
        case AF_UNIX:
            return name.empty() ? "unix" : name;
        default:
            return "unknown";
    }
}

bool Address::is_wildcard() const {
    if (family() == AF_INET) return reinterpret_cast<const sockaddr_in*>(data())->sin_addr.s_addr == INADDR_ANY;
    if (family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(data())->sin6_addr);
    return false;
}

bool Address::operator==(const Address& other) const {
    return size_ == other.size_ && std::memcmp(data(), other.data(), size_) == 0;
}

}  // namespace superd::sys
