// SPDX-License-Identifier: MIT
#include "sys/descriptors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace superd::sys {

Descriptors::Descriptors(std::vector<Entry> entries) : entries_(std::move(entries)) {
    std::ranges::sort(entries_, {}, &Entry::number);
    for (Entry& entry : entries_) entry.claimed = false;
}

int Descriptors::keep(int number) {
    if (number < 0) return -1;
    struct stat status {};
    if (fstat(number, &status) != 0) {
        unkept_ = errno;
        return -1;
    }
    entries_.push_back({number, status.st_dev, status.st_ino, false});
    return number;
}

Result<void> Descriptors::check() const {
    for (const Entry& entry : entries_) {
        struct stat status {};
        if (entry.number <= STDERR_FILENO) return fail(fmt::format("descriptor {} is not superd's", entry.number));
        if (fstat(entry.number, &status) != 0) return fail_errno(fmt::format("descriptor {}", entry.number), errno);
        if (status.st_dev != entry.device || status.st_ino != entry.inode)
            return fail(fmt::format("descriptor {} is not what the state says", entry.number));
    }
    return {};
}

Fd Descriptors::claim(int number) {
    if (number < 0) return {};
    const auto at = std::ranges::lower_bound(entries_, number, {}, &Entry::number);
    if (at == entries_.end() || at->number != number || at->claimed) {
        missed_ = true;
        return {};
    }
    at->claimed = true;
    fcntl(number, F_SETFD, FD_CLOEXEC);
    return Fd(number);
}

bool Descriptors::sound() const {
    return !missed_ && std::ranges::all_of(entries_, &Entry::claimed);
}

Result<void> Descriptors::pass_exec(bool on) const {
    if (on && unkept_ != 0) return fail_errno("fstat", unkept_);
    for (const Entry& entry : entries_)
        if (fcntl(entry.number, F_SETFD, on ? 0 : FD_CLOEXEC) != 0)
            return fail_errno(fmt::format("descriptor {}", entry.number), errno);
    return {};
}

}  // namespace superd::sys
