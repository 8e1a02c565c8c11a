// SPDX-License-Identifier: MIT
#include "sys/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "base/text.h"
#include "sys/interruption.h"
#include "sys/mount_info.h"

namespace superd::sys {
namespace {

/// Whoever may make groups below another may make them without end.
constexpr int kDepth = 16;
constexpr std::size_t kMostChildren = 65'536;
constexpr std::size_t kMostText = std::size_t{1} << 20;
/// How long taking memory back may take before it goes on without superd.
constexpr Duration kTakingBack = std::chrono::milliseconds(100);

Result<std::string> contents(int folder, const char* file) {
    const Fd fd(openat(folder, file, O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno(file, errno);
    std::string text;
    std::array<char, 16384> part;
    for (ssize_t n; (n = ::read(fd.get(), part.data(), part.size())) != 0 && text.size() < kMostText;) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(file, errno);
        text.append(part.data(), static_cast<std::size_t>(n));
    }
    return text;
}

bool is_marked(const std::string& folder) {
    for (const char* name : {"trusted.delegate", "user.delegate"}) {
        char value = 0;
        if (getxattr(folder.c_str(), name, &value, 1) == 1 && value == '1') return true;
    }
    return false;
}

/// Why this group is not this process's to divide; "": it is.
std::string not_given(const Cgroup& group, bool is_root) {
    const std::string& folder = group.folder();
    if (getpid() == 1 || is_marked(folder)) return "";
    if (access("/run/systemd/system", F_OK) == 0) return fmt::format("{} is not delegated to superd", folder);
    if (is_root) return fmt::format("superd is in the root cgroup {}, which is everybody's", folder);
    const auto others = [](pid_t pid) { return pid != getpid() && pid != getppid(); };  // --daemon's first process
    if (std::ranges::any_of(group.members(), others))
        return fmt::format("superd is not alone in its cgroup {}", folder);
    return "";
}

}  // namespace

Result<std::string> cgroup_folder(std::string_view cgroup, std::string_view mounts) {
    std::optional<std::string> path;
    for (const std::string_view line : split(cgroup, '\n'))
        if (line.starts_with("0::/")) path = line.substr(3);
    if (!path) return fail("the kernel has no cgroup v2");
    if (path->starts_with("/..")) return fail("superd's cgroup is outside its cgroup namespace");
    if (path->ends_with(" (deleted)")) return fail("superd's cgroup has been removed");
    std::string best;
    for (const std::string_view line : split(mounts, '\n')) {
        const auto fields = split(line, ' ');
        const auto dash = std::ranges::find(fields, "-");
        if (fields.size() < 7 || fields.end() - dash < 2 || dash[1] != "cgroup2") continue;
        const std::string root = unescaped(fields[3]);
        const bool whole = root == "/";
        const bool within =
            whole || (path->starts_with(root) && (path->size() == root.size() || (*path)[root.size()] == '/'));
        if (!within) continue;
        best = unescaped(fields[4]) + path->substr(whole ? 0 : root.size());  // a later mount may cover an earlier one
        if (best.size() > 1 && best.ends_with('/')) best.pop_back();
    }
    if (best.empty()) return fail("cgroup v2 is not mounted where superd could see its own");
    return best;
}

std::optional<std::uint64_t> value_in(std::string_view text, std::string_view name) {
    for (const std::string_view line : split(text, '\n')) {
        if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') continue;
        const std::string_view digits = line.substr(name.size() + 1);
        std::uint64_t value = 0;
        if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc{}) return value;
    }
    return std::nullopt;
}

Delegation look_at_delegation(const std::string& folder) {
    Delegation out;
    const auto group = Cgroup::open(folder);
    const auto controllers = group ? group->read("cgroup.controllers") : std::unexpected(group.error());
    if (!controllers) {
        out.missing = controllers.error().text;
        return out;
    }
    out.folder = folder;
    for (const std::string_view word : split(trimmed(split(*controllers, '\n')[0]), ' '))
        if (!word.empty()) out.controllers.emplace(word);
    return out;
}

Delegation find_delegation() {
    Delegation none;
    const auto cgroup = contents(AT_FDCWD, "/proc/self/cgroup"), mounts = contents(AT_FDCWD, "/proc/self/mountinfo");
    auto folder = !cgroup ? cgroup : !mounts ? mounts : cgroup_folder(*cgroup, *mounts);
    const auto group = folder ? Cgroup::open(*folder) : std::unexpected(folder.error());
    if (!group) {
        none.missing = group.error().text;
        return none;
    }
    none.missing = not_given(*group, cgroup->find("0::/\n") != std::string::npos);
    if (none.missing.empty() && faccessat(group->fd(), ".", W_OK, AT_EACCESS) != 0)
        none.missing = fail_errno(*folder, errno).error().text;
    return none.missing.empty() ? look_at_delegation(*folder) : none;
}

Result<Cgroup> Cgroup::open(const std::string& folder) {
    Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno(folder, errno);
    return Cgroup(std::move(fd).lifted(), folder);
}

Result<Cgroup> Cgroup::child(const std::string& name, bool make) const {
    const std::string path = fmt::format("{}/{}", folder_, name);
    if (make && mkdirat(fd_.get(), name.c_str(), 0755) != 0 && errno != EEXIST)
        return fail_errno(fmt::format("make the cgroup {}", path), errno);
    Fd fd(openat(fd_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno(fmt::format("open the cgroup {}", path), errno);
    return Cgroup(std::move(fd).lifted(), path);
}

Result<std::string> Cgroup::read(const char* file) const {
    auto text = contents(fd_.get(), file);
    if (!text) return fail_errno(fmt::format("{}/{}", folder_, file), text.error().code);
    return text;
}

Result<void> Cgroup::write(const char* file, std::string_view value) const {
    // From Linux 6.16 on, O_NONBLOCK leaves it to the processes of the group to give memory back.
    const Fd fd(openat(fd_.get(), file, O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    std::optional<Interruption> interruption;
    if (std::string_view(file).starts_with("memory.")) interruption.emplace(kTakingBack);
    if (!fd || ::write(fd.get(), value.data(), value.size()) < 0)
        return fail_errno(fmt::format("{}/{}: {}", folder_, file, value), errno);
    return {};
}

bool Cgroup::has(const char* file) const {
    return faccessat(fd_.get(), file, F_OK, 0) == 0;
}

Result<void> Cgroup::take(pid_t pid) const {
    return write("cgroup.procs", fmt::format("{}", pid));
}

std::vector<std::string> Cgroup::children() const {
    std::vector<std::string> names;
    DIR* const folder = fdopendir(openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder == nullptr) return names;
    while (const dirent* entry = readdir(folder)) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
        if (names.size() >= kMostChildren) break;
    }
    closedir(folder);
    return names;
}

std::vector<pid_t> Cgroup::members() const {
    std::vector<pid_t> pids;
    const std::string procs = read("cgroup.procs").value_or("");
    for (const std::string_view line : split(procs, '\n')) {
        pid_t pid = 0;
        std::from_chars(line.data(), line.data() + line.size(), pid);
        if (pid > 0) pids.push_back(pid);
    }
    return pids;
}

void Cgroup::collect(std::vector<pid_t>& out, std::size_t most, int depth) const {
    for (const pid_t pid : members())
        if (out.size() < most) out.push_back(pid);
    if (depth >= kDepth || out.size() >= most) return;
    for (const std::string& name : children())
        if (const auto below = child(name, false)) below->collect(out, most, depth + 1);
}

std::vector<pid_t> Cgroup::processes(std::size_t most) const {
    std::vector<pid_t> pids;
    collect(pids, most, 0);
    return pids;
}

bool Cgroup::is_populated() const {
    const auto events = read("cgroup.events");
    if (!events) return events.error().code != ENOENT && events.error().code != ENODEV;  // removed by somebody
    return value_in(*events, "populated") != 0;
}

Result<void> Cgroup::kill(bool by_hand) const {
    if (!by_hand) {
        auto killed = write("cgroup.kill", "1");
        if (killed || killed.error().code != ENOENT) return killed;
    }
    // Frozen processes start no others; and KILL ends a frozen one.
    auto frozen = write("cgroup.freeze", "1");
    for (const pid_t pid : processes(kMostChildren)) ::kill(pid, SIGKILL);
    if (frozen) frozen = write("cgroup.freeze", "0");
    return frozen;
}

bool Cgroup::remove_below(int depth) const {
    bool all = true;
    for (const std::string& name : children()) {
        if (depth < kDepth)
            if (const auto below = child(name, false)) (void)below->remove_below(depth + 1);
        all = unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) == 0 && all;
    }
    return all;
}

Result<void> Cgroup::remove() {
    const auto gone = [this] { return rmdir(folder_.c_str()) == 0 || errno == ENOENT; };
    if (!gone() && (!remove_below(0) || !gone()))
        return fail_errno(fmt::format("remove the cgroup {}", folder_), errno);
    *this = {};
    return {};
}

}  // namespace superd::sys
