// SPDX-License-Identifier: MIT
#include "sys/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "base/text.h"
#include "sys/fd.h"

namespace superd::sys {
namespace {

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

/// Whether the process has ended meanwhile.
bool has_gone(int code) {
    return code == ENOENT || code == ESRCH;
}

Result<std::string> text_of(const std::string& path) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(path, errno);
    char buffer[4096];
    ssize_t n;
    do n = read(file.get(), buffer, sizeof buffer);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail_errno(path, errno);
    return std::string(buffer, static_cast<std::size_t>(n));
}

/// The name in parentheses may contain anything, so the fields start after the last parenthesis.
std::vector<std::string_view> fields_of(std::string_view stat) {
    std::vector<std::string_view> fields;
    std::size_t at = stat.rfind(')');
    if (at == std::string_view::npos) return fields;
    for (at = stat.find_first_not_of(' ', at + 1); at < stat.size();) {
        const std::size_t end = std::min(stat.find(' ', at), stat.size());
        fields.push_back(stat.substr(at, end - at));
        at = end + 1;
    }
    return fields;
}

bool has_ended(const std::vector<std::string_view>& fields) {
    constexpr std::size_t kThreads = 17;
    if (fields.empty() || (fields[0] != "Z" && fields[0] != "X")) return false;
    return fields.size() <= kThreads || fields[kThreads] == "0" || fields[kThreads] == "1";
}

/// `list`: pids, each followed by a blank. `left`: how many more may be looked at; any excess counts as alive.
bool any_lives(std::string_view list, std::size_t& left) {
    for (std::size_t at = 0, end; (end = list.find(' ', at)) != std::string_view::npos; at = end + 1) {
        if (left == 0) return true;
        --left;
        const auto stat = text_of(fmt::format("/proc/{}/stat", list.substr(at, end - at)));
        if (stat ? !has_ended(fields_of(*stat)) : !has_gone(stat.error().code)) return true;
    }
    return false;
}

Result<void> look_at_thread(const std::string& path, bool leader, ProcessView& view, std::size_t& children_left) {
    if (!view.children) {
        const auto children = text_of(path + "/children");
        if (!children) return std::unexpected(children.error());
        view.children = any_lives(*children, children_left);
    }
    const auto stat = text_of(path + "/stat");
    if (!stat) return std::unexpected(stat.error());
    const auto fields = fields_of(*stat);
    if (fields.empty()) return fail_errno(path, EIO);
    ThreadView thread{fields[0][0], -1};
    if (thread.state == 'Z' || thread.state == 'X') {  // a leader may end before the others
        if (!leader) view.whole = false;
        return {};
    }
    // Only for a stopped process, which answers at once: otherwise a reader waits for an execve(2) in progress, which
    // may take as long as a socket that it closes lingers.
    if (thread.state == 'T') {
        const auto line = text_of(path + "/syscall");
        if (!line) return std::unexpected(line.error());
        const auto call = call_in(*line);
        if (!call && call.error().code != EAGAIN) return std::unexpected(call.error());
        thread.call = call.value_or(-1);
    }
    view.threads.push_back(thread);
    return {};
}

Result<void> look_at_descriptors(const std::string& path, ProcessView& view) {
    const Folder folder(opendir(path.c_str()), closedir);
    if (!folder) return fail_errno(path, errno);
    constexpr std::string_view kSocket = "socket:[";
    std::size_t count = 0;
    for (;;) {
        errno = 0;
        const dirent* entry = readdir(folder.get());
        if (entry == nullptr) break;
        if (!all_digits(entry->d_name)) continue;
        if (++count > ProcessView::kMostDescriptors) return view.whole = false, Result<void>{};
        char target[64];
        const ssize_t n = readlinkat(dirfd(folder.get()), entry->d_name, target, sizeof target);
        if (n < 0 && errno != ENOENT) return fail_errno(path, errno);
        if (n < 0) view.whole = false;
        const std::string_view name(target, n < 0 ? 0 : static_cast<std::size_t>(n));
        if (!name.starts_with(kSocket)) continue;
        ino_t inode = 0;
        std::from_chars(name.data() + kSocket.size(), name.data() + name.size(), inode);
        view.sockets.push_back(inode);
    }
    if (errno != 0) return fail_errno(path, errno);
    return {};
}

}  // namespace

bool ProcessView::is_stopped() const {
    return std::ranges::all_of(threads, [](const ThreadView& thread) { return thread.state == 'T'; });
}

std::optional<std::size_t> descriptor_table_size() {
    const auto status = text_of("/proc/self/status");
    if (!status) return std::nullopt;
    constexpr std::string_view kName = "FDSize:\t";
    const std::size_t at = status->find(kName);
    std::size_t size = 0;
    if (at == std::string::npos) return std::nullopt;
    const char* const first = status->data() + at + kName.size();
    if (std::from_chars(first, status->data() + status->size(), size).ec != std::errc()) return std::nullopt;
    return size;
}

Result<long> call_in(std::string_view line) {
    if (line.starts_with("running")) return fail_errno("syscall", EAGAIN);
    long call = 0;
    const char* const end = line.data() + line.size();
    if (std::from_chars(line.data(), end, call).ec != std::errc{}) return fail_errno("syscall", EIO);
    if (call < 0) return -1;
    // The number, six arguments, the stack pointer, the program counter. A stack below 4 GiB belongs to a 32-bit
    // program, where the same numbers mean other calls.
    std::size_t at = 0;
    for (int i = 0; i < 7 && at != std::string_view::npos; ++i) at = line.find(" 0x", at + 1);
    if (at == std::string_view::npos) return fail_errno("syscall", EIO);
    std::uint64_t stack = 0;
    if (std::from_chars(line.data() + at + 3, end, stack, 16).ec != std::errc{}) return fail_errno("syscall", EIO);
    if (sizeof(void*) == 8 && stack >> 32 == 0) return fail_errno("syscall", EOPNOTSUPP);
    return call;
}

Result<ProcessView> look_at(pid_t pid) {
    const std::string tasks = fmt::format("/proc/{}/task", pid);
    const Folder folder(opendir(tasks.c_str()), closedir);
    if (!folder) return fail_errno(tasks, errno);
    ProcessView view;
    std::string alive;
    std::size_t count = 0, children_left = ProcessView::kMostChildren;
    for (;;) {
        errno = 0;
        const dirent* entry = readdir(folder.get());
        if (entry == nullptr) break;
        if (!all_digits(entry->d_name)) continue;
        if (++count > ProcessView::kMostThreads) return view.whole = false, view;
        const bool leader = std::to_string(pid) == entry->d_name;
        const std::string path = tasks + "/" + entry->d_name;
        const std::size_t before = view.threads.size();
        const auto looked = look_at_thread(path, leader, view, children_left);
        if (view.threads.size() > before) alive = path;
        if (!looked && !leader && has_gone(looked.error().code))
            view.whole = false;
        else if (!looked)
            return std::unexpected(looked.error());
    }
    if (errno != 0) return fail_errno(tasks, errno);
    if (alive.empty()) return view.whole = false, view;
    // Threads share their descriptors; a thread that has ended shows none.
    if (auto looked = look_at_descriptors(alive + "/fd", view); !looked) return std::unexpected(looked.error());
    return view;
}

}  // namespace superd::sys
