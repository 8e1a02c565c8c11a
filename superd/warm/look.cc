// SPDX-License-Identifier: MIT
// What /proc shows of a process that is about to be parked: files, locks, mappings.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "warm/tracee.h"

namespace superd::warm {
namespace {

/// A file in /proc by lines; the end of a long line is left out.
class Lines {
  public:
    Lines(pid_t process, const char* name) {
        const int fd = open_proc(process, name);
        if (fd >= 0 && (file_ = fdopen(fd, "re")) == nullptr) close(fd);
    }
    Lines(const Lines&) = delete;
    ~Lines() {
        if (file_ != nullptr) fclose(file_);
    }
    explicit operator bool() const { return file_ != nullptr; }
    const char* next() {
        if (fgets(line_, sizeof line_, file_) == nullptr) return nullptr;
        if (char* end = std::strchr(line_, '\n')) *end = '\0';
        return line_;
    }

  private:
    FILE* file_ = nullptr;
    char line_[8192];
};

bool is_idle_device(dev_t device) {
    if (major(device) != 1) return false;
    switch (minor(device)) {
        case 3:  // null, zero, full, random, urandom: no offset, no state for each opener
        case 5:
        case 7:
        case 8:
        case 9:
            return true;
        default:
            return false;
    }
}

std::int64_t nanoseconds(const timespec& at) {
    return at.tv_sec * 1'000'000'000 + at.tv_nsec;
}

Obstacle look_at_file(pid_t process, int fd, StubData& data) {
    char name[64];
    std::snprintf(name, sizeof name, "/proc/%d/fd/%d", process, fd);
    struct stat about {};
    if (stat(name, &about) != 0) return Obstacle::descriptor;
    if (S_ISCHR(about.st_mode) && is_idle_device(about.st_rdev)) return Obstacle::none;
    if (!S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) return Obstacle::descriptor;
    std::snprintf(name, sizeof name, "fdinfo/%d", fd);
    Lines lines(process, name);
    if (!lines) return Obstacle::no_proc;
    int flags = O_RDWR;
    long offset = 0;
    while (const char* line = lines.next()) {
        if (std::strncmp(line, "lock:", 5) == 0) return Obstacle::locked_file;
        if (std::strncmp(line, "pos:", 4) == 0) offset = std::strtol(line + 4, nullptr, 10);
        if (std::strncmp(line, "flags:", 6) == 0) flags = static_cast<int>(std::strtol(line + 6, nullptr, 8));
    }
    if ((flags & O_PATH) != 0) return Obstacle::none;
    if ((flags & O_ACCMODE) != O_RDONLY && (flags & O_APPEND) == 0) return Obstacle::descriptor;
    if (data.count == proc::warm::kMostReopened) return Obstacle::too_many_files;
    Reopened& file = data.files[data.count++];
    file.fd = fd;
    file.flags = flags & ~(O_CLOEXEC | O_NOFOLLOW | O_CREAT | O_EXCL | O_TRUNC);
    file.close_on_exec = flags & O_CLOEXEC;
    file.offset = offset;
    std::snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", fd);
    // The tracer has the same ids: a file that it cannot open, a copy cannot open either.
    std::snprintf(name, sizeof name, "/proc/%d/fd/%d", process, fd);
    const int again = open(name, file.flags | O_CLOEXEC);
    if (again >= 0) close(again);
    return again < 0 ? Obstacle::descriptor : Obstacle::none;
}

}  // namespace

int open_proc(pid_t process, const char* name) {
    char path[96];
    std::snprintf(path, sizeof path, "/proc/%d/%s", process, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool gains_privilege(const char* path) {
    struct stat about {};
    if (stat(path, &about) != 0) return false;
    return (about.st_mode & (S_ISUID | S_ISGID)) != 0 || getxattr(path, "security.capability", nullptr, 0) > 0;
}

Obstacle look_at_files(pid_t process, StubData& data, char (&detail)[128]) {
    const int folder = open_proc(process, "fd");
    DIR* entries = folder < 0 ? nullptr : fdopendir(folder);
    if (entries == nullptr) return Obstacle::no_proc;
    Obstacle found = Obstacle::none;
    while (const dirent* entry = readdir(entries)) {
        const int fd = std::atoi(entry->d_name);
        if (fd <= STDERR_FILENO) continue;
        found = look_at_file(process, fd, data);
        if (found == Obstacle::none) continue;
        char path[64], link[96];
        std::snprintf(path, sizeof path, "/proc/%d/fd/%d", process, fd);
        const ssize_t n = readlink(path, link, sizeof link);
        std::snprintf(detail, sizeof detail, "descriptor %d: %.*s", fd, n < 0 ? 0 : static_cast<int>(n), link);
        break;
    }
    closedir(entries);
    return found;
}

Obstacle look_at_memory(pid_t process, Files& files, char (&detail)[128]) {
    Lines lines(process, "maps");
    if (!lines) return Obstacle::no_proc;
    Obstacle found = Obstacle::none;
    while (const char* line = lines.next()) {
        char rights[5] = "";
        unsigned device[2] = {};
        unsigned long inode = 0;
        int path = 0;
        if (std::sscanf(line, "%*x-%*x %4s %*x %x:%x %lu %n", rights, &device[0], &device[1], &inode, &path) < 4)
            continue;
        if (rights[3] == 's' && rights[1] == 'w' && found == Obstacle::none) {
            std::snprintf(detail, sizeof detail, "%.100s", line + path);
            found = Obstacle::shared_memory;
        }
        if (inode != 0 && line[path] == '/') files.tell_mapped(line + path, makedev(device[0], device[1]), inode);
    }
    return found;
}

bool Files::tell_open(pid_t process, const char* name) {
    char link[64], path[4096];
    std::snprintf(link, sizeof link, "/proc/%d/%s", process, name);
    struct stat about {
    }, how{};
    if (stat(link, &about) != 0 || lstat(link, &how) != 0) return false;
    // What it writes as well is its own business; the link's mode is that of the open file (proc_pid_fd(5)).
    if (S_ISREG(about.st_mode) && std::strncmp(name, "fd/", 3) == 0 && (how.st_mode & S_IWUSR) != 0) return false;
    if (S_ISCHR(about.st_mode))
        return major(about.st_rdev) == 1 && (minor(about.st_rdev) == 8 || minor(about.st_rdev) == 9);
    if (!S_ISREG(about.st_mode)) return false;
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = '\0';
    if (about.st_nlink == 0) {
        // A file of its own that it has removed, or one that was replaced just now, which superd must know.
        constexpr char kDeleted[] = " (deleted)";
        const auto length = static_cast<std::size_t>(n);
        if (length > sizeof kDeleted && std::strcmp(path + length + 1 - sizeof kDeleted, kDeleted) == 0)
            path[length + 1 - sizeof kDeleted] = '\0';
        if (access(path, F_OK) != 0) return false;
    }
    tell(path, about);
    return false;
}

void Files::tell_mapped(const char* path, std::uint64_t device, std::uint64_t inode) {
    for (unsigned i = 0; i < count_; ++i)
        if (known_[i].inode == inode) return;  // the device may differ from that of stat(2) (btrfs, overlayfs)
    struct stat about {};
    if (stat(path, &about) != 0) return;
    if (about.st_ino != inode) {  // replaced since: superd sees that it is another
        about = {};
        about.st_dev = device;
        about.st_ino = inode;
    }
    tell(path, about);
}

void Files::tell(const char* path, const struct stat& about) {
    for (unsigned i = 0; i < count_; ++i)
        if (known_[i].inode == about.st_ino && known_[i].device == about.st_dev) return;
    if (count_ == proc::warm::kMostFiles) {
        more_ = true;
        return;
    }
    known_[count_++] = {about.st_dev, about.st_ino};
    proc::warm::File file{};
    file.word = proc::warm::Word::file;
    file.device = about.st_dev;
    file.inode = about.st_ino;
    file.size = static_cast<std::uint64_t>(about.st_size);
    file.modified = nanoseconds(about.st_mtim);
    file.changed = nanoseconds(about.st_ctim);
    iovec parts[] = {{&file, sizeof file}, {const_cast<char*>(path), std::strlen(path)}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    sendmsg(channel_, &message, MSG_NOSIGNAL);  // if superd is gone, the handler ends as soon as it is parked
}

}  // namespace superd::warm
