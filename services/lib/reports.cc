// SPDX-License-Identifier: MIT
#include "lib/reports.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace worker {
namespace {

constexpr std::uint64_t one_busy = std::uint64_t{1} << 32;

std::int64_t nanoseconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Non-blocking: a supervisor that does not listen must not hold a client.
int adopt(std::optional<int> fd) {
    if (!fd || fcntl(*fd, F_SETFD, FD_CLOEXEC) != 0) return -1;
    fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
    return *fd;
}

}  // namespace

Reports::Reports(std::optional<int> fd) : fd_(adopt(fd)) {}

// An alarm would find nothing here any more. Nobody needs what has waited: the process ends.
Reports::~Reports() {
    fd_ = -1;  // one that comes now arms none again
    const itimerval never{};
    if (armed_) setitimer(ITIMER_REAL, &never, nullptr);
}

void Reports::watch() {
    if (fd_ < 0) return;
    fcntl(fd_, F_SETOWN, getpid());
    fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_ASYNC);
}

bool Reports::is_closed() const {
    char byte;
    const ssize_t got = fd_ >= 0 ? recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) : 1;
    // Reset: the other side closed with unread reports. unix(7)
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

void Reports::note(std::uint32_t busy, std::uint32_t idle) {
    if (fd_ < 0) return;
    waiting_ += busy * one_busy + idle;
    if (nanoseconds() - sent_at_ >= std::chrono::nanoseconds(kTogether).count()) return flush();
    send_later();
}

void Reports::send_later() {
    if (armed_.exchange(true)) return;
    const itimerval once{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = kTogether.count() * 1000}};
    setitimer(ITIMER_REAL, &once, nullptr);
}

void Reports::flush() {
    armed_ = false;
    if (fd_ < 0) return;
    if (sending_.exchange(true)) return send_later();
    const int kept = errno;
    const std::uint64_t counts = waiting_.exchange(0);
    std::uint64_t busy = counts / one_busy;
    std::uint64_t idle = counts % one_busy;
    char message[5 * 256];  // superd reads no more than this of one message
    while (busy + idle > 0) {
        std::size_t size = 0;
        const std::uint64_t busy_before = busy;
        const std::uint64_t idle_before = idle;
        // In pairs: superd may read one message without the next, and each must be true by itself.
        const auto say = [&](std::uint64_t& count, const char* record) {
            if (count == 0) return;
            memcpy(message + size, record, 5);
            size += 5;
            --count;
        };
        while (size < sizeof message && busy + idle > 0) {
            say(busy, "busy\n");
            say(idle, "idle\n");
        }
        sent_at_ = nanoseconds();
        if (write(fd_, message, size) >= 0) continue;
        // If superd has gone, nobody counts any more; if it reads slowly, they are sent again.
        if (errno == EAGAIN || errno == ENOBUFS) {
            waiting_ += busy_before * one_busy + idle_before;
            send_later();
        }
        break;
    }
    errno = kept;
    sending_ = false;
}

}  // namespace worker
