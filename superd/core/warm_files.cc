// SPDX-License-Identifier: MIT
#include "core/warm_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <string_view>

#include "base/text.h"
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
    if (!who_) return false;
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

std::optional<Way> way_of(const std::string& root, const std::string& path, Writable& writable) {
    constexpr std::size_t kMostLinks = 40;  // path_resolution(7)
    Way way;
    std::deque<std::string> names;
    const auto put_in_front = [&names](std::string_view more) {
        const auto parts = split(more, '/');
        names.insert(names.begin(), parts.begin(), parts.end());
    };
    put_in_front(path);
    std::string at = root;  // "" is the root
    while (!names.empty()) {
        const std::string name = std::move(names.front());
        names.pop_front();
        if (name.empty() || name == ".") continue;
        if (name == "..") {
            if (at != root) at.resize(at.rfind('/'));
            continue;
        }
        if (writable.folder(at.empty() ? "/" : at)) return std::nullopt;
        const std::string next = at + '/' + name;
        const auto status = sys::status_of_link(next);
        if (!status && status.error().code != ENOENT) return std::nullopt;
        if (!status || !S_ISLNK(status->mode)) {
            at = next;
            continue;
        }
        const auto target = sys::target_of_link(next);
        if (!target || way.links.size() == kMostLinks) return std::nullopt;
        way.links.push_back(next);
        put_in_front(*target);
        if (target->starts_with('/')) at = root;
    }
    way.end = std::move(at);
    return way;
}

WarmFiles::WarmFiles(sys::FileWatches& watches, std::string root, std::optional<sys::Identity> who,
                     std::function<void()> changed, std::vector<std::string> names)
    : root_(std::move(root)),
      writable_(std::move(who)),
      changed_(std::move(changed)),
      names_(std::move(names)),
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
        if (is_of_kernel(file.path)) continue;
        const bool writable = writable_(path);
        if (!writable && file.changed >= since && access(path.c_str(), F_OK) != 0) continue;
        if (writable || files_.size() >= 2 * kMostOfOne) {  // each start may name others
            if (left_out_.size() < kMostOfOne) left_out_.insert(file.path);
            continue;
        }
        files_.emplace(file.path, file);
        if (files_.size() > kMostOfOne || !watch_.add(path)) unwatched_.push_back(file.path);
        // After the watch is set: what happens from now on is heard.
        same = is_same(file) && same;
    }
    return same;
}

void WarmFiles::start() {
    if (!ways_.empty()) return;
    for (const std::string& name : names_) {
        const auto way = way_of(root_, name, writable_);
        if (!way || way->links.empty()) continue;
        ways_.emplace(name, way->end);
        for (const std::string& link : way->links) (void)watch_.add_link(link);  // otherwise look() finds it out
    }
}

bool WarmFiles::go_on(const std::vector<std::pair<std::string, std::string>>& ways) {
    start();
    return std::ranges::all_of(ways, [this](const auto& before) {
        const auto now = ways_.find(before.first);
        if (now != ways_.end() && now->second == before.second) return true;
        which_ = before.first;
        return false;
    });
}

bool WarmFiles::lead_there() {
    return std::ranges::all_of(ways_, [this](const auto& before) {
        const auto way = way_of(root_, before.first, writable_);
        // What cannot be found out for now, because a folder is being moved, is asked again.
        if (!way || way->end == before.second) return true;
        which_ = before.first;
        return false;
    });
}

bool WarmFiles::look(Instant time) {
    if ((unwatched_.empty() && ways_.empty()) || time < looked_ + kLook) return true;
    looked_ = time;
    if (!lead_there()) return false;
    return std::ranges::all_of(unwatched_, [this](const auto& path) { return is_same(files_.at(path)); });
}

bool WarmFiles::is_same(const proc::WarmFile& file) {
    if (file.is_as_it_was(root_)) return true;
    which_ = file.path;
    return false;
}

void WarmFiles::heard(const std::string& written) {
    if (!written.empty()) which_ = written.substr(root_.size());
    const auto are_same = [this] {
        return lead_there() && std::ranges::all_of(files_, [this](const auto& entry) { return is_same(entry.second); });
    };
    if (!written.empty() || !are_same()) changed_();
}

void WarmFiles::clear() {
    watch_.clear();
    files_.clear();
    unwatched_.clear();
    ways_.clear();
    left_out_.clear();
}

std::vector<proc::WarmFile> WarmFiles::all() const {
    std::vector<proc::WarmFile> all;
    for (const auto& [path, file] : files_) all.push_back(file);
    return all;
}

}  // namespace superd::core
