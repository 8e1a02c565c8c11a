// SPDX-License-Identifier: MIT
#include "sys/changes.h"

#include <fmt/format.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

namespace superd::sys {
namespace {

/// True: there was something to read. Its content does not matter, only that it came; an overrun shows as ENOBUFS.
bool drain(int fd) {
    std::array<char, 16384> data;
    bool some = false;
    for (int i = 0; i < 64; ++i) {  // anything left wakes the loop again
        const ssize_t n = read(fd, data.data(), data.size());
        if (n <= 0 && errno != ENOBUFS && errno != EINTR) break;
        some = true;
    }
    return some;
}

}  // namespace

Result<void> Changes::listen(Fd fd, Fd& to, Source& source) {
    auto made = loop_.io(fd.get(), EPOLLIN, [this, &source](std::uint32_t) {
        (void)source.enable(false);
        heard_();
    });
    if (!made) return std::unexpected(made.error());
    to = std::move(fd);
    source = std::move(*made);
    return {};
}

Result<void> Changes::network(bool on) {
    if (on == static_cast<bool>(network_)) return {};
    network_source_ = {};
    network_.reset();
    if (!on) return {};
    Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (!fd || bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return fail_errno("watch network interfaces", errno);
    return listen(std::move(fd).lifted(), network_, network_source_);
}

Result<void> Changes::files(const std::set<std::string>& paths) {
    if (paths.empty() || paths != watched_) {
        // A watch disappears with its file. Watches on folders that are no longer needed disappear with the descriptor.
        files_source_ = {};
        files_.reset();
        watched_.clear();
    }
    if (paths.empty()) return {};
    if (!files_) {
        Fd fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
        if (!fd) return fail_errno("inotify", errno);
        if (auto heard = listen(std::move(fd).lifted(), files_, files_source_); !heard) return heard;
    }
    std::optional<int> failed;
    for (const std::string& path : paths) {
        // When a file loses its last name, in whatever way, the file itself changes. So nothing else in its folder
        // wakes the loop.
        if (inotify_add_watch(files_.get(), path.c_str(), IN_ATTRIB | IN_MOVE_SELF | IN_DONT_FOLLOW) < 0 &&
            errno != ENOENT)
            failed = errno;
        for (auto slash = path.rfind('/'); slash != 0 && slash != std::string::npos; slash = path.rfind('/', slash - 1))
            inotify_add_watch(files_.get(), path.substr(0, slash).c_str(), IN_MOVE_SELF | IN_ONLYDIR);
    }
    if (failed) return fail_errno("inotify", *failed);
    watched_ = paths;
    return {};
}

bool Changes::take() {
    const bool changed = network_ && drain(network_.get());
    if (files_) (void)drain(files_.get());
    if (network_source_) (void)network_source_.enable(true);
    if (files_source_) (void)files_source_.enable(true);
    return changed;
}

}  // namespace superd::sys
