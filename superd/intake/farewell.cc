// SPDX-License-Identifier: MIT
#include "intake/farewell.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

namespace superd::intake {
namespace {

/// False once the client has closed its side or is gone.
bool read_away(int fd) {
    char buffer[4096];
    for (int i = 0; i < 16; ++i) {
        const ssize_t n = sys::receive_without_rights(fd, buffer, sizeof buffer);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
        if (n < 0) break;
    }
    return true;
}

}  // namespace

void Farewell::reset(sys::GuardedFd connection) {
    const linger none{1, 0};
    setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

void Farewell::close(sys::GuardedFd connection, std::string_view text, Instant now) {
    const int fd = connection.get();
    if (!text.empty()) (void)send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    if (!read_away(fd) || leaving_.size() >= kMost) return;
    leaving_.push_back({std::move(connection), now + kLinger, {}});
    const auto entry = std::prev(leaving_.end());
    auto source = loop_.io(fd, EPOLLIN | EPOLLRDHUP, [this, entry](std::uint32_t) {
        if (!read_away(entry->connection.get())) leaving_.erase(entry);
    });
    if (!source) {
        leaving_.erase(entry);
        return;
    }
    entry->source = std::move(*source);
}

std::optional<Instant> Farewell::ends_at() const {
    return leaving_.empty() ? std::nullopt : std::optional(leaving_.front().until);
}

void Farewell::expire(Instant now) {
    while (!leaving_.empty() && leaving_.front().until <= now) leaving_.pop_front();
}

}  // namespace superd::intake
