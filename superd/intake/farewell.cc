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

void Farewell::close(sys::GuardedFd connection, std::string_view text) {
    const int fd = connection.get();
    if (!text.empty()) (void)send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    if (!read_away(fd) || leaving_.size() >= kMost) return;
    if (!timer_) {
        auto timer = loop_.timer([this] { expire(); });
        if (!timer) return;
        timer_ = std::move(*timer);
    }
    leaving_.push_back({std::move(connection), now() + kLinger, {}});
    const auto entry = std::prev(leaving_.end());
    auto source = loop_.io(fd, EPOLLIN | EPOLLRDHUP, [this, entry](std::uint32_t) {
        if (!read_away(entry->connection.get())) leaving_.erase(entry);
    });
    if (!source) {
        leaving_.erase(entry);
        return;
    }
    entry->source = std::move(*source);
    if (leaving_.size() == 1) (void)timer_.arm(entry->until);
}

void Farewell::expire() {
    const Instant time = now();
    while (!leaving_.empty() && leaving_.front().until <= time) leaving_.pop_front();
    if (!leaving_.empty()) (void)timer_.arm(leaving_.front().until);
}

}  // namespace superd::intake
