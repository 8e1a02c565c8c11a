// SPDX-License-Identifier: MIT
#include "sys/service_manager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace superd::sys {
std::vector<PassedSocket> passed_sockets() {
    std::vector<PassedSocket> sockets;
    char** names = nullptr;
    const int count = sd_listen_fds_with_names(1, &names);
    for (int i = 0; i < count; ++i) {
        Fd fd(SD_LISTEN_FDS_START + i);
        struct stat status {};
        if (fstat(fd.get(), &status) == 0 && S_ISSOCK(status.st_mode))
            sockets.push_back({names[i], std::move(fd).lifted()});
        std::free(names[i]);
    }
    std::free(names);
    return sockets;
}

Result<std::unique_ptr<ServiceManager>> ServiceManager::create(Loop& loop) {
    std::unique_ptr<ServiceManager> manager(new ServiceManager(loop));
    if (auto done = manager->set_up(); !done) return std::unexpected(done.error());
    return manager;
}

Result<void> ServiceManager::set_up() {
    const char* path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr || (*path != '/' && *path != '@')) return {};
    const std::size_t length = std::strlen(path);
    if (length >= sizeof address_.sun_path) return fail("NOTIFY_SOCKET is too long");
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, path, length);
    if (*path == '@') address_.sun_path[0] = '\0';
    address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + (*path == '/' ? 1 : 0));
    // Held open: the watchdog must be told even when clients hold all other descriptors.
    Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("socket for NOTIFY_SOCKET", errno);
    auto retry = loop_.timer([this] {
        retrying_ = false;
        send_unsaid();
        if (unsaid_.empty() && room_) room_();
    });
    if (!retry) return std::unexpected(retry.error());
    retry_ = std::move(*retry);
    socket_ = std::move(socket).lifted();
    std::uint64_t period = 0;
    if (sd_watchdog_enabled(0, &period) <= 0) return {};
    watchdog_period_ = Duration(period / 2);
    auto watchdog = loop_.timer([this] {
        tell("WATCHDOG=1");
        (void)watchdog_.arm(now() + watchdog_period_);
    });
    if (!watchdog) return std::unexpected(watchdog.error());
    watchdog_ = std::move(*watchdog);
    // A round through thousands of sockets that all have clients can take longer than the manager waits.
    if (auto set = watchdog_.come_first(); !set) return set;
    return watchdog_.arm(now());
}

void ServiceManager::tell(const std::string& state) {
    say(state.substr(0, state.find('=')), state);
}

void ServiceManager::tell_reloading() {
    tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now().time_since_epoch().count()));
}

void ServiceManager::say(std::string kind, std::string state) {
    if (!socket_) return;
    std::erase_if(unsaid_, [&](const auto& older) { return older.first == kind; });
    unsaid_.emplace_back(std::move(kind), std::move(state));
    send_unsaid();
}

void ServiceManager::send_unsaid() {
    while (!unsaid_.empty()) {
        if (send(unsaid_.front().second) == EAGAIN) return try_again();
        unsaid_.pop_front();
    }
}

void ServiceManager::try_again() {
    if (std::exchange(retrying_, true)) return;
    (void)retry_.arm(now() + backoff_.next());
}

/// 0 or an errno; EAGAIN for every temporary failure.
int ServiceManager::send(const std::string& state, int fd) {
    iovec text{const_cast<char*>(state.data()), state.size()};
    msghdr message{};
    message.msg_name = &address_;
    message.msg_namelen = address_size_;
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    if (sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        backoff_.reset();
        return 0;
    }
    switch (errno) {
        case EINTR:
        case ENOBUFS:
        case ENOMEM:
        case ETOOMANYREFS:  // descriptors that the manager has not taken yet
            return EAGAIN;
        default:
            return errno;
    }
}

bool ServiceManager::has_store() const {
    if (!socket_) return false;
    const char* most = std::getenv("FDSTORE");
    return most == nullptr || std::atoi(most) > 0;
}

Result<void> ServiceManager::store(int fd, const std::string& name) {
    // FDPOLL=0: otherwise the manager drops a socket that has a pending error.
    const int code = unsaid_.empty() ? send(fmt::format("FDSTORE=1\nFDNAME={}\nFDPOLL=0", name), fd) : EAGAIN;
    if (code == EAGAIN) try_again();
    if (code != 0) return fail_errno(fmt::format("descriptor store: {}", name), code);
    return {};
}

void ServiceManager::remove(const std::string& name) {
    say(name, fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name));
}

std::vector<std::string> ServiceManager::unremoved() const {
    std::vector<std::string> names;
    for (const auto& [kind, state] : unsaid_)
        if (state.starts_with("FDSTOREREMOVE=")) names.push_back(kind);
    return names;
}

/// With BARRIER=1 the manager closes the accompanying descriptor when it has read everything before it.
void ServiceManager::wait(Duration most) {
    if (!socket_ || !unsaid_.empty()) return;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    const Fd ours(ends[0]);
    Fd theirs(ends[1]);
    if (send("BARRIER=1", theirs.get()) != 0) return;
    theirs.reset();
    pollfd end{ours.get(), 0, 0};
    poll(&end, 1, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(most).count()));
}

}  // namespace superd::sys
