// SPDX-License-Identifier: MIT
#include "lib/stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace worker {

std::size_t read_some(int fd, std::span<char> buffer) {
    ssize_t got = 0;
    while ((got = read(fd, buffer.data(), buffer.size())) < 0 && errno == EINTR) {
    }
    return got < 0 ? 0 : static_cast<std::size_t>(got);
}

bool write_all(int fd, std::string_view data) {
    while (!data.empty()) {
        const ssize_t put = write(fd, data.data(), data.size());
        if (put < 0 && errno != EINTR) return false;
        if (put > 0) data.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
}

bool is_readable(int fd) {
    pollfd look{fd, POLLIN, 0};
    return poll(&look, 1, 0) == 1;
}

void discard_received(int fd) {
    std::array<char, 16384> scrap;
    // A client that sends without pause must not hold us here.
    for (int turn = 0; turn < 64 && recv(fd, scrap.data(), scrap.size(), MSG_DONTWAIT) > 0; ++turn) {
    }
}

}  // namespace worker
