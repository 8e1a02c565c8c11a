// SPDX-License-Identifier: MIT
#include "hold/devices.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "hold/mounts.h"

namespace superd::hold {
namespace {

constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};
constexpr std::size_t kCount = sizeof kDevices / sizeof *kDevices;
constexpr const char* kLinks[][2] = {
    {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
    {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
};

Failure failed(const std::string& what) {
    return {errno, what};
}

/// A file to bind a device over.
bool make_file(const std::string& path) {
    const int fd = open(path.c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    return fd >= 0 && close(fd) == 0;
}

/// The way to the system's log: a link on some systems, a socket on others; -1: neither.
int log_socket(const std::string& path, std::string& link) {
    char target[4096];
    const ssize_t n = readlink(path.c_str(), target, sizeof target);
    if (n > 0 && n < static_cast<ssize_t>(sizeof target)) link.assign(target, static_cast<std::size_t>(n));
    struct stat about {};
    if (!link.empty() || stat(path.c_str(), &about) != 0 || !S_ISSOCK(about.st_mode)) return -1;
    return open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

bool attach(int tree, const std::string& path) {
    const bool done = make_file(path) && move_mount(tree, "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0;
    const int code = errno;
    close(tree);
    errno = code;
    return done;
}

/// Binds, since whoever has no right to make devices may show those that are there.
Failure fill(const std::string& path, const int (&devices)[kCount], int log, const std::string& log_link) {
    for (std::size_t i = 0; i < kCount; ++i)
        if (devices[i] >= 0 && !attach(devices[i], path + "/" + kDevices[i]))
            return failed("bind " + path + "/" + kDevices[i]);
    if (log >= 0 && !attach(log, path + "/log")) return failed("bind " + path + "/log");
    if (!log_link.empty() && symlink(log_link.c_str(), (path + "/log").c_str()) != 0)
        return failed("link " + path + "/log");
    for (const auto& [target, name] : kLinks)
        if (symlink(target, (path + "/" + name).c_str()) != 0) return failed("link " + path + "/" + name);
    for (const char* folder : {"/pts", "/shm", "/mqueue"})
        if (mkdir((path + folder).c_str(), 0755) != 0) return failed("make " + path + folder);
    return {};
}

}  // namespace

Failure make_devices(const std::string& path, bool as_owner) {
    int devices[kCount];
    for (std::size_t i = 0; i < kCount; ++i)
        devices[i] = open_tree(AT_FDCWD, (path + "/" + kDevices[i]).c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    std::string log_link;
    const int log = log_socket(path + "/log", log_link);
    if (mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k,nr_inodes=64") != 0)
        return failed("mount tmpfs on " + path);
    if (Failure failure = fill(path, devices, log, log_link); failure.code != 0) return failure;
    const char* const terminals =
        as_owner ? "newinstance,ptmxmode=0666,mode=620" : "newinstance,ptmxmode=0666,mode=620,gid=5";
    if (mount("devpts", (path + "/pts").c_str(), "devpts", MS_NOSUID | MS_NOEXEC, terminals) != 0)
        return failed("mount devpts on " + path + "/pts");
    if (mount("tmpfs", (path + "/shm").c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=1777,size=10%,nr_inodes=65536") != 0)
        return failed("mount tmpfs on " + path + "/shm");
    if (mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, nullptr) != 0)
        return failed("remount " + path);
    return {};
}

}  // namespace superd::hold
