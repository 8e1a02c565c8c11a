// SPDX-License-Identifier: MIT
#include "net/socket_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)  // linux/un.h, which conflicts with sys/un.h
#endif

namespace superd::net {

using conf::SocketOptions;

namespace {

/// Nobody answers at this path: it is left over from a process that has gone.
bool is_stale(const std::string& path, const sys::Address& address, int type) {
    struct stat status;
    if (lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    const sys::Fd probe(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return probe && connect(probe.get(), address.data(), address.size()) != 0 && errno == ECONNREFUSED;
}

void make_parents(const std::string& path) {
    for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
        mkdir(path.substr(0, slash).c_str(), 0755);
}

}  // namespace

sys::Fd open_own(int fd, const std::string& path, dev_t device, ino_t inode) {
    sys::Fd own(ioctl(fd, SIOCUNIXFILE));  // unix(7); needs CAP_NET_ADMIN
    if (own) return own;
    own.reset(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status;
    const bool same = own && fstat(own.get(), &status) == 0 && S_ISSOCK(status.st_mode) && status.st_dev == device &&
                      status.st_ino == inode;
    if (!same) own.reset();
    return own;
}

Result<void> set_owner_and_mode(int own, const std::string& path, const SocketOptions& o) {
    if ((o.user || o.group) &&
        fchownat(own, "", o.user.value_or(uid_t(-1)), o.group.value_or(gid_t(-1)), AT_EMPTY_PATH) != 0)
        return fail_errno(fmt::format("chown {}", path), errno);
    // fchmod(2) does not work on O_PATH.
    if (chmod(fmt::format("/proc/self/fd/{}", own).c_str(), o.mode.value_or(0666)) != 0)
        return fail_errno(fmt::format("chmod {}", path), errno);
    return {};
}

Result<void> bind_path(int fd, int type, const sys::Address& address, const std::string& path, const SocketOptions& o) {
    make_parents(path);
    // The file is created with the socket's mode: it is never open to anyone who may not use it in the end.
    const mode_t mode = o.mode.value_or(0666);
    if (fchmod(fd, o.user || o.group ? mode & 0700 : mode) != 0)
        return fail_errno(fmt::format("fchmod {}", path), errno);
    const mode_t before = umask(0);
    int r = bind(fd, address.data(), address.size());
    int code = errno;
    if (r != 0 && code == EADDRINUSE && is_stale(path, address, type)) {
        unlink(path.c_str());
        r = bind(fd, address.data(), address.size());
        code = errno;
    }
    umask(before);
    if (r != 0) return fail_errno(fmt::format("bind {}", path), code);
    return {};
}

Result<void> bind_over(int fd, int type, const sys::Address& address, const std::string& path, const SocketOptions& o,
                       bool own) {
    struct stat status;
    if (lstat(path.c_str(), &status) != 0) return bind_path(fd, type, address, path, o);
    if (!own && !is_stale(path, address, type)) {
        const int why = S_ISDIR(status.st_mode) ? EISDIR : S_ISSOCK(status.st_mode) ? EADDRINUSE : EEXIST;
        return fail_errno(fmt::format("bind {}", path), why);
    }
    std::uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = static_cast<std::uint32_t>(getpid());
    const std::string beside = fmt::format("{}~{:x}", path, random);
    const auto name = sys::Address::local(beside);
    if (!name) {  // no room for a longer name
        unlink(path.c_str());
        return bind_path(fd, type, address, path, o);
    }
    if (auto bound = bind_path(fd, type, *name, beside, o); !bound) return bound;
    if (rename(beside.c_str(), path.c_str()) == 0) return {};
    const int code = errno;
    unlink(beside.c_str());
    return fail_errno(fmt::format("bind {}", path), code);
}

}  // namespace superd::net
