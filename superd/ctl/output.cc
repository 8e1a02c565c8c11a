// SPDX-License-Identifier: MIT
#include "ctl/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "sys/fd.h"

namespace superd::ctl {

namespace {

Result<void> write_all(const sys::Fd& file, const std::string& path, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(file.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno("write " + path, errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace

Result<void> write_file(const std::string& folder, const std::string& name, std::string_view text, bool replace) {
    const std::string path = fmt::format("{}/{}", folder, name),
                      hidden = fmt::format("{}/.{}.{}", folder, name, getpid());
    const sys::Fd file(open(hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file) return fail_errno("create " + hidden, errno);
    Result<void> done = write_all(file, hidden, text);
    if (done && fchmod(file.get(), 0644) != 0) done = fail_errno("chmod " + hidden, errno);
    if (done && replace && rename(hidden.c_str(), path.c_str()) != 0) done = fail_errno("rename to " + path, errno);
    if (done && !replace && link(hidden.c_str(), path.c_str()) != 0) done = fail_errno("create " + path, errno);
    if (!done || !replace) unlink(hidden.c_str());
    return done;
}

}  // namespace superd::ctl
