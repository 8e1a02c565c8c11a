// SPDX-License-Identifier: MIT
#pragma once
// A socket address of any family that superd serves.

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"

namespace superd::sys {

class Address {
  public:
    Address() = default;
    Address(const sockaddr* address, socklen_t size);
    Address(const Address& other) : Address(other.data(), other.size_) {}
    Address(Address&& other) noexcept
        : small_(other.small_), size_(std::exchange(other.size_, 0)), large_(std::move(other.large_)) {}
    Address& operator=(Address other) noexcept {
        small_ = other.small_;
        size_ = other.size_;
        large_ = std::move(other.large_);
        return *this;
    }
    ~Address() = default;

    /// `host`: an IPv4 or IPv6 literal, the latter with an optional "%interface".
    static Result<Address> inet(const std::string& host, std::uint16_t port);
    /// `path`: absolute, or '@' and an abstract name. unix(7)
    static Result<Address> local(const std::string& path);
    static Address vsock(std::uint32_t cid, std::uint32_t port);

    /// getsockname(2), getpeername(2); AF_UNSPEC if the kernel gives no address.
    static Address of_socket(int fd);
    static Address of_peer(int fd);

    const sockaddr* data() const {
        return reinterpret_cast<const sockaddr*>(large_ ? static_cast<const void*>(large_.get()) : small_.data());
    }
    socklen_t size() const { return size_; }
    int family() const { return size_ == 0 ? AF_UNSPEC : data()->sa_family; }

    /// IP: the literal, IPv4-mapped written as IPv4, a link-local one with its scope. vsock: the CID.
    /// Unix: the path as in local(); empty if unnamed.
    std::string host() const;
    /// IP and vsock; 0 otherwise.
    std::uint32_t port() const;
    /// For people: "127.0.0.1:79", "[::1]:79", "/run/x", "vsock:2:79".
    std::string text() const;
    bool is_wildcard() const;

    bool operator==(const Address& other) const;

  private:
    /// Every address but the longer ones of unix sockets: there are many of them, and sockaddr_storage has 128 bytes.
    alignas(4) std::array<unsigned char, 28> small_{};
    socklen_t size_ = 0;
    std::unique_ptr<sockaddr_storage> large_;
};

}  // namespace superd::sys
