// SPDX-License-Identifier: MIT
// bare_echo ADDRESS: only what a datagram service cannot do without: recvfrom and sendto. Prints "bound PORT".

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>

namespace {

int bind_to(const char* host) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address {};
    address.sin_family = AF_INET;
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<struct sockaddr*>(&address);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || bind(fd, generic, size) != 0 ||
        getsockname(fd, generic, &size) != 0) {
        std::perror(host);
        return -1;
    }
    std::printf("bound %d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: bare_echo ADDRESS\n", stderr);
        return 2;
    }
    const int fd = bind_to(argv[1]);
    if (fd < 0) return 1;
    static char data[65536];
    for (;;) {
        struct sockaddr_storage sender;
        socklen_t size = sizeof sender;
        auto* const from = reinterpret_cast<struct sockaddr*>(&sender);
        const ssize_t got = recvfrom(fd, data, sizeof data, 0, from, &size);
        if (got < 0 && errno != EINTR) {
            std::perror("recvfrom");
            return 1;
        }
        if (got >= 0) sendto(fd, data, static_cast<std::size_t>(got), 0, from, size);
    }
}
