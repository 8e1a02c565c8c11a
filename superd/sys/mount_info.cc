// SPDX-License-Identifier: MIT
#include "sys/mount_info.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "base/text.h"

namespace superd::sys {
namespace {

/// What is in these can be reached only by their mounts: not by another machine, a process, or a layer below.
constexpr std::array kLocal = {"btrfs",   "erofs", "ext2",     "ext3",  "ext4", "f2fs",
                               "iso9660", "ramfs", "squashfs", "tmpfs", "xfs",  "zfs"};

struct Mount {
    std::uint64_t id = 0;
    std::string_view device;
    std::string root, at;
    bool read_only = false, local = false;
};

bool has_word(std::string_view list, std::string_view word) {
    const auto words = split(list, ',');
    return std::ranges::find(words, word) != words.end();
}

/// ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAG…] - TYPE SOURCE SUPER-OPTIONS
std::optional<Mount> mount_of(std::string_view line) {
    const auto fields = split(line, ' ');
    const auto dash = std::ranges::find(fields, "-");
    if (fields.size() < 6 || fields.end() - dash < 4) return std::nullopt;
    Mount mount;
    const char* const end = fields[0].data() + fields[0].size();
    if (std::from_chars(fields[0].data(), end, mount.id).ptr != end) return std::nullopt;
    mount.device = fields[2];
    mount.root = unescaped(fields[3]);
    mount.at = unescaped(fields[4]);
    mount.read_only = has_word(fields[5], "ro") || has_word(dash[3], "ro");
    mount.local = std::ranges::find(kLocal, dash[1]) != kLocal.end();
    return mount;
}

bool is_below(std::string_view path, std::string_view folder) {
    if (folder.ends_with('/')) folder.remove_suffix(1);
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

}  // namespace

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        int code = 0;
        const auto digits = text.substr(i + 1, 3);
        const bool escape = text[i] == '\\' && digits.size() == 3 &&
                            std::from_chars(digits.data(), digits.data() + 3, code, 8).ptr == digits.data() + 3;
        out += escape ? static_cast<char>(code) : text[i];
        if (escape) i += 3;
    }
    return out;
}

bool is_sealed(std::string_view table, std::uint64_t mount, std::string_view path) {
    std::vector<Mount> mounts;
    for (const std::string_view line : split(table, '\n'))
        if (auto read = mount_of(line)) mounts.push_back(std::move(*read));
    const auto its = std::ranges::find(mounts, mount, &Mount::id);
    if (its == mounts.end() || !its->read_only || !its->local || !is_below(path, its->at)) return false;
    // As the file system names it.
    std::string inside = its->root == "/" ? "" : its->root;
    inside += path.substr(its->at == "/" ? 0 : its->at.size());
    return std::ranges::none_of(mounts, [&](const Mount& other) {
        return other.device == its->device && !other.read_only && is_below(inside, other.root);
    });
}

bool is_sealed(const std::string& path) {
    struct stat ours {
    }, of_first{};
    if (stat("/proc/self/ns/mnt", &ours) != 0 || stat("/proc/1/ns/mnt", &of_first) != 0 ||
        ours.st_ino != of_first.st_ino || ours.st_dev != of_first.st_dev)
        return false;
    struct statx about {};
    if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &about) != 0 ||
        (about.stx_mask & STATX_MNT_ID) == 0)
        return false;
    std::ifstream file("/proc/self/mountinfo");
    const std::string table{std::istreambuf_iterator<char>(file), {}};
    return is_sealed(table, about.stx_mnt_id, path);
}

}  // namespace superd::sys
