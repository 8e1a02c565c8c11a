// SPDX-License-Identifier: MIT
#include "sys/file_watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace superd::sys {
namespace {

/// IN_ATTRIB comes too when a file loses a name, as when another is renamed over it, while somebody has it open.
constexpr std::uint32_t kFile = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;
constexpr std::uint32_t kLink = IN_DONT_FOLLOW | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;
constexpr std::uint32_t kFolder = IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t kFolderItself = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR;
constexpr std::uint32_t kNames =
    kFolderItself | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE;
/// Comes unasked.
constexpr std::uint32_t kAlways = IN_Q_OVERFLOW | IN_IGNORED | IN_UNMOUNT;

}  // namespace

bool FileWatches::add(FileWatch& who, const std::string& path, std::uint32_t events) {
    if (!queue_) {
        Fd fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
        if (!fd) return false;
        fd = std::move(fd).lifted();
        auto source = loop_.io(fd.get(), EPOLLIN, [this](std::uint32_t) { read(); });
        // A file that is written to without end must not keep the loop from everybody else.
        if (!source || !source->limit(std::chrono::milliseconds(100), 20)) return false;
        queue_ = std::move(fd);
        source_ = std::move(*source);
    }
    if (watches_.size() >= kMost) {
        errno = ENOSPC;
        return false;
    }
    const int number = inotify_add_watch(queue_.get(), path.c_str(), events | IN_MASK_ADD);
    if (number < 0) return false;
    watches_[number][&who] |= events;
    who.paths_.emplace(number, path);
    return true;
}

void FileWatches::remove(FileWatch& who) {
    due_.erase(&who);
    for (const auto& [number, path] : who.paths_) {
        const auto at = watches_.find(number);
        if (at == watches_.end()) continue;
        at->second.erase(&who);
        if (!at->second.empty()) continue;
        watches_.erase(at);
        inotify_rm_watch(queue_.get(), number);
    }
    who.paths_.clear();
    if (!watches_.empty()) return;
    source_ = {};
    queue_.reset();
}

void FileWatches::note(int number, std::uint32_t events, std::string_view name) {
    const auto tell = [&](const std::map<FileWatch*, std::uint32_t>& watchers) {
        for (const auto& [who, wanted] : watchers) {
            if ((events & (wanted | kAlways)) == 0) continue;
            if (!name.empty() && who->concerns_ && !who->concerns_(name)) continue;
            if (const auto path = who->paths_.find(number);
                (events & wanted & IN_MODIFY) != 0 && path != who->paths_.end())
                who->written_ = path->second;
            due_.insert(who);
        }
    };
    if ((events & IN_Q_OVERFLOW) != 0)
        for (const auto& [each, watchers] : watches_) tell(watchers);
    const auto at = watches_.find(number);
    if (at == watches_.end()) return;
    tell(at->second);
    if ((events & IN_IGNORED) == 0) return;
    for (const auto& [who, wanted] : at->second) who->paths_.erase(number);  // the kernel has taken it away
    watches_.erase(at);
}

void FileWatches::read() {
    alignas(inotify_event) std::array<char, 16384> data;
    ssize_t n;
    for (int i = 0; i < 16 && (n = ::read(queue_.get(), data.data(), data.size())) > 0; ++i) {
        inotify_event event;
        for (std::size_t at = 0; at + sizeof event <= static_cast<std::size_t>(n); at += sizeof event + event.len) {
            std::memcpy(&event, data.data() + at, sizeof event);
            const char* const name = data.data() + at + sizeof event;  // padded with zeros
            note(event.wd, event.mask, {name, event.len > 0 ? strnlen(name, event.len) : 0});
        }
    }
    while (!due_.empty()) {  // whom one tells may stop watching, or end
        FileWatch* who = *due_.begin();
        due_.erase(due_.begin());
        who->heard_(std::exchange(who->written_, ""));
    }
}

bool FileWatch::add(const std::string& path) {
    if (!all_.add(*this, path, kFile)) return false;
    for (auto slash = path.rfind('/'); slash != 0 && slash != std::string::npos; slash = path.rfind('/', slash - 1)) {
        std::string folder = path.substr(0, slash);
        if (folders_.contains(folder)) break;
        if (!all_.add(*this, folder, kFolder)) return false;
        folders_.insert(std::move(folder));
    }
    return true;
}

bool FileWatch::add_alone(const std::string& path) {
    return all_.add(*this, path, kFile);
}

bool FileWatch::add_link(const std::string& path) {
    return all_.add(*this, path, kLink);
}

bool FileWatch::add_folder(const std::string& path) {
    return all_.add(*this, path, kFolderItself);
}

bool FileWatch::add_names(const std::string& folder) {
    return all_.add(*this, folder, kNames);
}

void FileWatch::clear() {
    all_.remove(*this);
    folders_.clear();
    written_.clear();
}

}  // namespace superd::sys
