// SPDX-License-Identifier: MIT
// A handler for every fault: answers at once, late or on permission, counts itself, fails. Static, so that its own
// start costs as little as possible and it runs inside any limit.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr char kAnswer[] = "answer\n";

int answer() {
    return write(1, kAnswer, sizeof kAnswer - 1) == static_cast<ssize_t>(sizeof kAnswer - 1) ? 0 : 1;
}

void pause_for(long milliseconds) {
    timespec left{milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

/// What all handlers of one test share.
struct Shared {
    std::atomic<std::uint64_t> running, most, total;
};

Shared* map(const char* path) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return nullptr;
    void* at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? nullptr : static_cast<Shared*>(at);
}

/// Counts among the running ones for this long, then answers.
int count(const char* path, long milliseconds) {
    Shared* shared = map(path);
    if (shared == nullptr) return 2;
    const std::uint64_t here = ++shared->running;
    std::uint64_t most = shared->most;
    while (here > most && !shared->most.compare_exchange_weak(most, here)) {
    }
    ++shared->total;
    pause_for(milliseconds);
    const int status = answer();
    --shared->running;
    return status;
}

/// The owner of a datagram socket: answers what is there, then exits.
int answer_datagrams() {
    char data[64];
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (recvfrom(0, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&peer), &size) < 0) return 1;
    do {
        sendto(0, kAnswer, sizeof kAnswer - 1, 0, reinterpret_cast<sockaddr*>(&peer), size);
        size = sizeof peer;
    } while (recvfrom(0, data, sizeof data, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&peer), &size) >= 0);
    return 0;
}

/// A worker that exits after this long, and four processes that report busy and idle for it without end. They leave
/// their mark in the file when nobody reads them any more.
int flood_status(const char* path, long milliseconds) {
    const char* number = std::getenv("SUPERD_STATUS_FD");
    const int status = number != nullptr ? std::atoi(number) : -1;
    for (int i = 0; i < 4; ++i) {
        if (fork() != 0) continue;
        setsid();
        for (int fd = 0; fd <= 3; ++fd)
            if (fd != status) close(fd);
        std::signal(SIGPIPE, SIG_IGN);
        while (write(status, "busy\nidle\n", 10) > 0) {
        }
        const int mark = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        return mark >= 0 && write(mark, "ended\n", 6) == 6 ? 0 : 1;
    }
    pause_for(milliseconds);
    return 0;
}

[[noreturn]] void crash() {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    std::signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    _exit(3);
}

}  // namespace

// wait MS | until FILE | count FILE MS | flood-status FILE MS | exit-unless FILE | crash-unless FILE | datagrams
int main(int argc, char** argv) {
    const char* mode = argc > 1 ? argv[1] : "";
    if (std::strcmp(mode, "datagrams") == 0) return answer_datagrams();
    if (argc < 3) return 2;
    if (std::strcmp(mode, "wait") == 0) {
        pause_for(std::atol(argv[2]));
        return answer();
    }
    if (std::strcmp(mode, "until") == 0) {
        while (access(argv[2], F_OK) != 0) pause_for(10);
        return answer();
    }
    if (std::strcmp(mode, "count") == 0 && argc > 3) return count(argv[2], std::atol(argv[3]));
    if (std::strcmp(mode, "flood-status") == 0 && argc > 3) return flood_status(argv[2], std::atol(argv[3]));
    const bool mended = access(argv[2], F_OK) == 0;
    if (mended) return answer();
    if (std::strcmp(mode, "crash-unless") == 0) crash();
    return 1;
}
