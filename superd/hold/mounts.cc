// SPDX-License-Identifier: MIT
#include "hold/mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hold/devices.h"

namespace superd::hold {
namespace {

using Kind = Entry::Kind;

bool is_below(const std::string& path, const std::string& folder) {
    if (folder == "/") return true;
    return path.compare(0, folder.size(), folder) == 0 && (path.size() == folder.size() || path[folder.size()] == '/');
}

/// Where a path leads to below the root, without symbolic links; "" and errno.
std::string resolve(int root, const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const auto fd = static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
    if (fd < 0) return "";
    char link[64], target[4096];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, target, sizeof target);
    const int code = n < 0 ? errno : n == sizeof target ? ENAMETOOLONG : 0;
    close(fd);
    errno = code;
    return code != 0 ? "" : std::string(target, static_cast<std::size_t>(n));
}

Failure failed(const char* verb, const std::string& path) {
    const int code = errno;
    return {code, std::string(verb) + " " + path};
}

/// Paths as this process sees them, outer ones first; absent ones and second ones left out.
Failure settle(std::vector<Entry>& entries, const std::string& root) {
    const int from = open(root.empty() ? "/" : root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (from < 0) return failed("open", root);
    std::vector<Entry> found;
    for (Entry& entry : entries) {
        std::string path = resolve(from, entry.path);
        if (path.empty()) {
            // What this process may not reach is out of the handler's reach as well: where that matters, both are of
            // one user.
            if (entry.optional && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) continue;
            return failed("find", entry.path);
        }
        if (std::any_of(found.begin(), found.end(), [&](const Entry& other) { return other.path == path; })) continue;
        entry.path = std::move(path);
        found.push_back(std::move(entry));
    }
    close(from);
    std::sort(found.begin(), found.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
    // What lies in a folder that is hidden, or replaced by an empty one, cannot be seen either.
    std::vector<Entry> seen;
    for (Entry& entry : found) {
        const bool hidden = std::any_of(seen.begin(), seen.end(), [&](const Entry& outer) {
            const bool hides = outer.kind == Kind::inaccessible || outer.kind == Kind::empty ||
                               outer.kind == Kind::scratch || outer.kind == Kind::devices;
            return hides && is_below(entry.path, outer.path);
        });
        if (!hidden || entry.kind == Kind::queues) seen.push_back(std::move(entry));
    }
    entries = std::move(seen);
    return {};
}

/// A line of mountinfo has the mount point with octal escapes.
std::string unescape(const char* text) {
    std::string out;
    for (; *text != '\0'; ++text) {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] != '\0' && text[3] != '\0') {
            out += static_cast<char>((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 3;
        } else {
            out += *text;
        }
    }
    return out;
}

std::vector<std::string> mount_points(Failure& failure) {
    std::vector<std::string> out;
    FILE* const file = fopen("/proc/self/mountinfo", "re");
    if (file == nullptr) {
        failure = failed("open", "/proc/self/mountinfo");
        return out;
    }
    char* line = nullptr;
    std::size_t room = 0;
    while (getline(&line, &room, file) > 0) {
        char* at = line;
        for (int field = 0; field < 4 && at != nullptr; ++field)
            if ((at = std::strchr(at, ' ')) != nullptr) ++at;
        if (at == nullptr) continue;
        if (char* const end = std::strchr(at, ' ')) *end = '\0';
        out.push_back(unescape(at));
    }
    free(line);
    fclose(file);
    return out;
}

/// Nothing in it, no right to it. Mode 0 binds all who have no CAP_DAC_OVERRIDE; nobody can write to it.
Failure hide(const std::vector<const Entry*>& entries) {
    std::vector<int> targets;
    for (const Entry* entry : entries) {
        targets.push_back(open(entry->path.c_str(), O_PATH | O_CLOEXEC));
        if (targets.back() < 0) return failed("open", entry->path);
    }
    // Where the empty file and folder are bound from; whatever it covers meanwhile has been opened.
    const char* place = nullptr;
    for (const char* folder : {"/tmp", "/run", "/mnt", "/var"})
        if (place == nullptr && access(folder, F_OK) == 0) place = folder;
    if (place == nullptr) return errno = ENOENT, failed("find", "/tmp");
    if (mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=4k,nr_inodes=4") != 0)
        return failed("mount", place);
    const std::string folder = std::string(place) + "/folder", file = std::string(place) + "/file";
    const int made = open(file.c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (made < 0 || mkdir(folder.c_str(), 0) != 0) return failed("make", file);
    close(made);
    if (mount(nullptr, place, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) !=
        0)
        return failed("remount", place);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        struct stat about {};
        if (fstat(targets[i], &about) != 0) return failed("look at", entries[i]->path);
        const std::string& source = S_ISDIR(about.st_mode) ? folder : file;
        const int tree = open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (tree < 0) return failed("clone", source);
        if (move_mount(tree, "", targets[i], "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
            return failed("hide", entries[i]->path);
        close(tree);
        close(targets[i]);
    }
    if (umount2(place, MNT_DETACH) != 0) return failed("unmount", place);
    return {};
}

Failure overlay(const Entry& entry, bool as_owner) {
    const char* const path = entry.path.c_str();
    switch (entry.kind) {
        case Kind::scratch:
            if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=10%,nr_inodes=65536") != 0)
                return failed("mount tmpfs on", entry.path);
            return {};
        case Kind::empty:
            if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=755,size=4k,nr_inodes=2") != 0)
                return failed("mount tmpfs on", entry.path);
            return {};
        case Kind::processes: {
            const int flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
            const std::string option = entry.option.empty() ? "" : "hidepid=" + entry.option;
            if (mount("proc", path, "proc", flags, option.c_str()) != 0) return failed("mount proc on", entry.path);
            return {};
        }
        case Kind::devices:
            return make_devices(entry.path, as_owner);
        default:
            return {};
    }
}

Failure mount_queues(const Entry& entry) {
    if (mount("mqueue", entry.path.c_str(), "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
        return failed("mount mqueue on", entry.path);
    return {};
}

/// Each mount is as the innermost entry says that it lies below.
Failure set_read_only(const std::vector<Entry>& entries) {
    Failure failure;
    const std::vector<std::string> points = mount_points(failure);
    if (failure.code != 0) return failure;
    for (const std::string& point : points) {
        const Entry* innermost = nullptr;
        for (const Entry& entry : entries)
            if (is_below(point, entry.path)) innermost = &entry;  // they are sorted: the last is the longest
        if (innermost == nullptr || innermost->kind != Kind::read_only) continue;
        mount_attr attributes{};
        attributes.attr_set = MOUNT_ATTR_RDONLY;
        if (mount_setattr(AT_FDCWD, point.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, &attributes,
                          sizeof attributes) == 0)
            continue;
        // Covered by another mount, and so by what is said of that one.
        if (errno != ENOENT && errno != EINVAL && errno != EACCES) return failed("make read-only", point);
    }
    return {};
}

}  // namespace

Failure make_mounts(std::vector<Entry> entries, const std::string& root, bool as_owner) {
    // What the host mounts later shows, but nothing that is done here shows there.
    if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return failed("detach", "/");
    if (Failure unsettled = settle(entries, root); unsettled.code != 0) return unsettled;
    for (const Entry& entry : entries)
        if (Failure failure = overlay(entry, as_owner); failure.code != 0) return failure;
    for (const Entry& entry : entries)
        if (entry.kind == Kind::queues)
            if (Failure failure = mount_queues(entry); failure.code != 0) return failure;
    std::vector<const Entry*> hidden;
    for (const Entry& entry : entries)
        if (entry.kind == Kind::inaccessible) hidden.push_back(&entry);
    if (!hidden.empty())
        if (Failure failure = hide(hidden); failure.code != 0) return failure;
    // A mount of its own can be read-only, or stay writable when the one around it becomes read-only.
    for (const Entry& entry : entries) {
        if ((entry.kind != Kind::read_only && entry.kind != Kind::read_write) || entry.path == "/") continue;
        if (mount(entry.path.c_str(), entry.path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0) continue;
        if (!entry.optional || errno != ENOENT) return failed("bind", entry.path);
    }
    return set_read_only(entries);
}

}  // namespace superd::hold
