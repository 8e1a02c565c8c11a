// SPDX-License-Identifier: MIT
#include "sys/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>

#include "base/text.h"
#include "sys/fd.h"

namespace superd::sys {

namespace {

std::unexpected<Error> reason(int code) {
    return std::unexpected(Error{std::string(errno_text(code)), code});
}

FileStatus status_from(const struct stat& about) {
    return {about.st_mode, about.st_uid, about.st_gid};
}

std::chrono::nanoseconds since_epoch(const timespec& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

FileStamp stamp_from(const struct stat& about) {
    return {about.st_dev, about.st_ino, about.st_size, since_epoch(about.st_mtim), since_epoch(about.st_ctim)};
}

const char* kind_of(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

int open_in_root(int root, const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT;
    // EAGAIN: something was renamed meanwhile, on the way or elsewhere on the machine. openat2(2)
    long fd = -1;
    for (int i = 0; i < 32; ++i) {
        fd = syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    return static_cast<int>(fd);
}

/// The whole of a regular file, or just enough of it to be longer than `enough`.
Result<FileText> read_until(const std::string& path, std::size_t enough, Links links) {
    // Without O_NONBLOCK, open(2) on a FIFO waits for a writer.
    const int follow = links == Links::refuse ? O_NOFOLLOW : 0;
    const Fd file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | follow));
    // A socket cannot be opened.
    if (!file) return errno == ENXIO ? fail("is a socket, not a file") : reason(errno);
    struct stat about {};
    if (fstat(file.get(), &about) < 0) return reason(errno);
    if (!S_ISREG(about.st_mode)) return fail(fmt::format("is {}, not a file", kind_of(about.st_mode)));
    FileText out{{}, status_from(about), stamp_from(about)};
    std::array<char, 16384> buffer;
    while (out.text.size() <= enough) {
        const ssize_t count = read(file.get(), buffer.data(), std::min(buffer.size(), enough + 1));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return reason(errno);
        if (count == 0) break;
        out.text.append(buffer.data(), static_cast<std::size_t>(count));
        if (out.text.size() == static_cast<std::size_t>(about.st_size)) break;  // files of /proc have no size
    }
    return out;
}

}  // namespace

bool tells_changes(const FileStamp& stamp, std::chrono::nanoseconds read) {
    constexpr std::chrono::seconds kCoarsest{2};  // FAT's
    return read - stamp.changed >= kCoarsest;
}

Result<FileStamp> stamp_of(const std::string& path, Links links) {
    struct stat about {};
    if (fstatat(AT_FDCWD, path.c_str(), &about, links == Links::refuse ? AT_SYMLINK_NOFOLLOW : 0) < 0)
        return reason(errno);
    if (!S_ISREG(about.st_mode)) return reason(S_ISLNK(about.st_mode) ? ELOOP : EINVAL);
    return stamp_from(about);
}

Result<FileText> read_file(const std::string& path, std::size_t limit, Links links) {
    auto file = read_until(path, limit, links);
    if (file && file->text.size() > limit) return fail(fmt::format("is larger than {} bytes", format_size(limit)));
    return file;
}

std::string interpreter_of(const std::string& path) {
    constexpr std::size_t kLongest = 255;  // BINPRM_BUF_SIZE
    const auto file = read_until(path, kLongest, Links::follow);
    if (!file || !file->text.starts_with("#!")) return "";
    const std::string line = file->text.substr(2, std::min(file->text.find('\n'), kLongest) - 2);
    const std::size_t start = line.find_first_not_of(" \t");
    if (start == std::string::npos) return "";
    return line.substr(start, line.find_first_of(" \t", start) - start);
}

Form form_of(const std::string& path) {
    constexpr std::string_view kElf =
        "\x7f"
        "ELF";
    const auto file = read_until(path, kElf.size(), Links::follow);
    if (!file) return Form::unknown;
    if (file->text.starts_with("#!")) return Form::script;
    return file->text.starts_with(kElf) ? Form::binary : Form::text;
}

bool is_noexec(const std::string& path) {
    struct statvfs about {};
    return statvfs(path.c_str(), &about) == 0 && (about.f_flag & ST_NOEXEC) != 0;
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
    if (!directory) return reason(errno);
    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const dirent* entry = readdir(directory.get());
        if (entry == nullptr) break;
        if (const std::string name = entry->d_name; name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) return reason(errno);
    std::ranges::sort(names);
    return names;
}

Result<FileStatus> status_of(const std::string& path) {
    struct stat about {};
    if (stat(path.c_str(), &about) < 0) return reason(errno);
    return status_from(about);
}

Result<FileStatus> status_of_link(const std::string& path) {
    struct stat about {};
    if (lstat(path.c_str(), &about) < 0) return reason(errno);
    return status_from(about);
}

Result<std::string> target_of_link(const std::string& path) {
    std::array<char, PATH_MAX> target;
    const ssize_t length = readlink(path.c_str(), target.data(), target.size());
    if (length < 0) return reason(errno);
    return std::string(target.data(), static_cast<std::size_t>(length));
}

Result<FoundFile> find_in_root(const std::string& root, const std::string& path) {
    const Fd folder(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return reason(errno);
    int opened = open_in_root(folder.get(), path);
    // Before Linux 5.6, and in sandboxes that do not know the call.
    if (opened < 0 && (errno == ENOSYS || errno == EPERM)) {
        opened = open((root + path).c_str(), O_PATH | O_CLOEXEC);
    }
    const Fd file(opened);
    if (!file) return reason(errno);
    struct stat about {};
    if (fstat(file.get(), &about) < 0) return reason(errno);
    std::array<char, PATH_MAX> real;
    const ssize_t length = readlink(fmt::format("/proc/self/fd/{}", file.get()).c_str(), real.data(), real.size());
    std::string found = length > 0 ? std::string(real.data(), static_cast<std::size_t>(length)) : root + path;
    return FoundFile{std::move(found), status_from(about)};
}

bool may_access(const std::string& path, const FileStatus& status, int wanted, uid_t uid, gid_t gid,
                const std::vector<gid_t>& groups) {
    if (uid == 0) {
        return S_ISDIR(status.mode) || (wanted & X_OK) == 0 || (status.mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0;
    }
    const bool in_group = status.gid == gid || std::ranges::find(groups, status.gid) != groups.end();
    const unsigned shift = status.uid == uid ? 6 : in_group ? 3 : 0;
    if (((status.mode >> shift) & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted)) return true;
    return getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

}  // namespace superd::sys
