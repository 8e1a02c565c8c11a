// SPDX-License-Identifier: MIT
#include "core/warm_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "sys/file.h"

namespace superd::core {
namespace {

/// The kernel's own, and devices.
bool is_of_kernel(const std::string& path) {
    constexpr std::array<std::string_view, 3> kFolders = {"/proc/", "/sys/", "/dev/"};
    return std::ranges::any_of(kFolders, [&](std::string_view folder) { return path.starts_with(folder); });
}

}  // namespace

Writable::Writable(const std::optional<sys::Identity>& who) {
    if (who && who->uid != 0 && who->uid != geteuid()) who_ = who;
}

bool Writable::operator()(const std::string& path) {
    if (!who_) return false;
    const auto slash = path.rfind('/');
    if (slash == std::string::npos || folder(slash == 0 ? "/" : path.substr(0, slash))) return true;
    const auto status = sys::status_of(path);
    // Of its own file the handler may change the mode.
    return !status || status->uid == who_->uid ||
           sys::may_access(path, *status, W_OK, who_->uid, who_->gid, who_->groups);
}

bool Writable::folder(const std::string& path) {
    if (const auto known = folders_.find(path); known != folders_.end()) return known->second;
    bool writable = false;
    if (path != "/") {
        const auto slash = path.rfind('/');
        writable = slash == std::string::npos || folder(slash == 0 ? "/" : path.substr(0, slash));
    }
    if (!writable) {
        const auto status = sys::status_of(path);
        writable = !status || status->uid == who_->uid;
        // In a sticky folder nobody but its owner puts something in the place of what is another's.
        if (!writable && (status->mode & S_ISVTX) == 0)
            writable = sys::may_access(path, *status, W_OK, who_->uid, who_->gid, who_->groups);
    }
    folders_.emplace(path, writable);
    return writable;
}

WarmFiles::WarmFiles(sys::FileWatches& watches, std::string root, std::optional<sys::Identity> who,
                     std::function<void()> changed)
    : root_(std::move(root)),
      writable_(std::move(who)),
      changed_(std::move(changed)),
      watch_(watches, [this](const std::string& written) { heard(written); }) {}

bool WarmFiles::add(const std::vector<proc::WarmFile>& files, std::int64_t since) {
    bool same = true;
    for (const proc::WarmFile& file : files) {
        if (const auto known = files_.find(file.path); known != files_.end()) {
            if (known->second == file) continue;
            which_ = file.path;
            same = false;
            continue;
        }
        const std::string path = root_ + file.path;
        if (is_of_kernel(file.path) || writable_(path)) continue;
        if (file.changed >= since && access(path.c_str(), F_OK) != 0) continue;
        if (files_.size() >= 2 * kMostOfOne) continue;  // each start may name others
        files_.emplace(file.path, file);
        if (files_.size() > kMostOfOne || !watch_.add(path)) unwatched_.push_back(file.path);
        // After the watch is set: what happens from now on is heard.
        same = is_same(file) && same;
    }
    return same;
}

bool WarmFiles::look(Instant time) {
    if (unwatched_.empty() || time < looked_ + kLook) return true;
    looked_ = time;
    return std::ranges::all_of(unwatched_, [this](const auto& path) { return is_same(files_.at(path)); });
}

bool WarmFiles::is_same(const proc::WarmFile& file) {
    if (file.is_as_it_was(root_)) return true;
    which_ = file.path;
    return false;
}

void WarmFiles::heard(const std::string& written) {
    if (!written.empty()) which_ = written.substr(root_.size());
    if (!written.empty() || !std::ranges::all_of(files_, [this](const auto& entry) { return is_same(entry.second); }))
        changed_();
}

void WarmFiles::clear() {
    watch_.clear();
    files_.clear();
    unwatched_.clear();
}

std::vector<proc::WarmFile> WarmFiles::all() const {
    std::vector<proc::WarmFile> all;
    for (const auto& [path, file] : files_) all.push_back(file);
    return all;
}

}  // namespace superd::core
