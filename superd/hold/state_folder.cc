// SPDX-License-Identifier: MIT
#include "hold/state_folder.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "hold/mounts.h"

namespace superd::hold {
namespace {

/// The folder of this name in `parent`, made where it is missing; closes `parent`.
int enter(int parent, const std::string& name) {
    int fd = -1;
    if (mkdirat(parent, name.c_str(), 0755) == 0 || errno == EEXIST)
        fd = openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int code = errno;
    close(parent);
    errno = code;
    return fd;
}

}  // namespace

Failure make_state_folder(const std::string& order, const std::string& root) {
    if (order.empty()) return {};
    char* end = nullptr;
    const auto uid = static_cast<uid_t>(std::strtoul(order.c_str(), &end, 10));
    const auto gid = static_cast<gid_t>(std::strtoul(end + 1, &end, 10));
    const std::string path = end + 1;
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;  // as the handler will see it
    const int top = open(root.empty() ? "/" : root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    auto fd = static_cast<int>(syscall(SYS_openat2, top, "var/lib", &how, sizeof how));
    const int code = errno;
    if (top >= 0) close(top);
    errno = code;
    for (std::size_t at = 0; fd >= 0 && at < path.size();) {
        const std::size_t from = path.find_first_not_of('/', at);
        if (from == std::string::npos) break;
        at = std::min(path.find('/', from), path.size());
        fd = enter(fd, path.substr(from, at - from));
    }
    struct stat about {};
    if (fd < 0 || fstat(fd, &about) != 0) return {errno, "make /var/lib/" + path};
    if ((about.st_uid != uid || about.st_gid != gid) && fchown(fd, uid, gid) != 0)
        return {errno, "change the owner of /var/lib/" + path};
    close(fd);
    return {};
}

}  // namespace superd::hold
