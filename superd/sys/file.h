// SPDX-License-Identifier: MIT
#pragma once
// Files read at load time. An Error here says only the reason: the caller knows which file.

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"

namespace superd::sys {

struct FileStatus {
    mode_t mode = 0;  ///< with the file type: S_ISREG(mode)
    uid_t uid = 0;
    gid_t gid = 0;
    bool operator==(const FileStatus&) const = default;
};

/// A file as it was at one moment: whatever is done to it or put in its place changes this.
struct FileStamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::chrono::nanoseconds modified{}, changed{};  ///< since the epoch; changed: ctime
    bool operator==(const FileStamp&) const = default;
};
/// Can a change after `read`, when what the stamp is of was read, be told by it? Two changes in one tick of the file
/// system's clock look the same, so not where it was changed shortly before.
bool tells_changes(const FileStamp& stamp, std::chrono::nanoseconds read);

struct FileText {
    std::string text;
    FileStatus status;  ///< of the very file that was read
    FileStamp stamp;
};

/// Whether a path may be opened when its last component is a symbolic link; `refuse` fails with ELOOP.
enum class Links { follow, refuse };

/// The whole of a regular file of at most `limit` bytes. Anything else under that name (a FIFO, a device, a directory)
/// is an error at once and never waited for.
Result<FileText> read_file(const std::string& path, std::size_t limit, Links links = Links::follow);

/// Of a regular file; whatever else bears the name is an error. Links as in read_file().
Result<FileStamp> stamp_of(const std::string& path, Links links);

/// The interpreter of a script, as its "#!" says: execve(2). "" where there is none, or the file cannot be read.
std::string interpreter_of(const std::string& path);

/// How execve(2) would start a file.
enum class Form {
    binary,
    script,  ///< "#!"
    text,    ///< neither: ENOEXEC, unless binfmt_misc(5) knows it
    unknown  ///< the file cannot be read
};
Form form_of(const std::string& path);

/// Whether the file system is mounted so that no program on it can be executed.
bool is_noexec(const std::string& path);

/// Names in a directory, without "." and "..", in byte order.
Result<std::vector<std::string>> list_directory(const std::string& path);

/// stat(2): follows a symbolic link.
Result<FileStatus> status_of(const std::string& path);

/// lstat(2): the symbolic link itself.
Result<FileStatus> status_of_link(const std::string& path);

/// A symbolic link's target, as written. readlink(2)
Result<std::string> target_of_link(const std::string& path);

struct FoundFile {
    std::string real_path;  ///< as seen from outside the root, without symbolic links
    FileStatus status;
    bool operator==(const FoundFile&) const = default;
};
/// What a process would find at the absolute `path` if its root directory were `root` ("/": none).
Result<FoundFile> find_in_root(const std::string& root, const std::string& path);

/// Whether mode bits allow `wanted` (R_OK, W_OK, X_OK) to this identity. A file with an access control list counts as
/// allowed: only the kernel can tell.
bool may_access(const std::string& path, const FileStatus& status, int wanted, uid_t uid, gid_t gid,
                const std::vector<gid_t>& groups);

}  // namespace superd::sys
