// SPDX-License-Identifier: MIT
#include "proxy/common.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <cstring>

namespace proxy {

Address unmapped(const Address& address) {
    sockaddr_in6 six;
    if (address.family() != AF_INET6 || address.size < sizeof six) return address;
    std::memcpy(&six, &address.storage, sizeof six);
    if (!IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) return address;
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = six.sin6_port;
    std::memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], sizeof four.sin_addr);
    Address result;
    std::memcpy(&result.storage, &four, sizeof four);
    result.size = sizeof four;
    return result;
}

bool connected_to_itself(int fd) {
    Address local, peer;
    local.size = peer.size = sizeof local.storage;
    if (getsockname(fd, local.get(), &local.size) != 0 || getpeername(fd, peer.get(), &peer.size) != 0) return false;
    if (local.size != peer.size || std::memcmp(&local.storage, &peer.storage, local.size) != 0) return false;
    errno = ECONNREFUSED;
    return true;
}

void reset_at_close(int fd) {
    const linger cut{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &cut, sizeof cut);
}

void say(std::string_view line) {
    const std::string text = "superd-proxy: " + std::string(line) + "\n";
    (void)!write(STDERR_FILENO, text.data(), text.size());
}

std::string error_text(int code) {
    const char* const known = strerrordesc_np(code);
    return known != nullptr ? known : "error " + std::to_string(code);
}

}  // namespace proxy
