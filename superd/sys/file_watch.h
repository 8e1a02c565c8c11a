// SPDX-License-Identifier: MIT
#pragma once
// Tells when files change: by inotify(7), one queue for all who ask, and bounded in number.

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "sys/fd.h"
#include "sys/loop.h"

namespace superd::sys {

class FileWatch;

/// The queue. It outlives whoever watches by it.
class FileWatches {
  public:
    explicit FileWatches(Loop& loop) : loop_(loop) {}
    FileWatches(const FileWatches&) = delete;

    /// Files and folders, of all who watch.
    static constexpr std::size_t kMost = 8192;

  private:
    friend class FileWatch;
    bool add(FileWatch& who, const std::string& path, std::uint32_t events);
    void remove(FileWatch& who);
    void read();
    void note(int number, std::uint32_t events, std::string_view name);

    Loop& loop_;
    Fd queue_;
    Source source_;
    /// What each wants to know: the kernel has one set of events for all of them.
    std::unordered_map<int, std::map<FileWatch*, std::uint32_t>> watches_;
    std::set<FileWatch*> due_;  ///< to be told
};

/// The files of one who wants to know.
class FileWatch {
  public:
    /// `heard`: at least one file has, or may have, changed: its content, its attributes, or what its path leads to.
    /// `written`: the path of one whose content has certainly changed, which the clock of the file system may not show;
    /// or "".
    /// `concerns`: which names in folders matter.
    FileWatch(FileWatches& all, std::function<void(const std::string& written)> heard,
              std::function<bool(std::string_view name)> concerns = {})
        : all_(all), heard_(std::move(heard)), concerns_(std::move(concerns)) {}
    FileWatch(const FileWatch&) = delete;
    ~FileWatch() { clear(); }

    /// False: there is no room for it, or it may not be watched, as errno says.
    bool add(const std::string& path);
    /// The file alone, where nothing else can come to bear its name.
    bool add_alone(const std::string& path);
    /// The same for a symbolic link itself: it is removed, or another is put in its place.
    bool add_link(const std::string& path);
    /// A folder itself: it is moved or removed, or belongs to somebody else.
    bool add_folder(const std::string& path);
    /// The same, and what comes, goes and changes in it under a name that concerns.
    bool add_names(const std::string& folder);
    void clear();

  private:
    friend class FileWatches;
    FileWatches& all_;
    std::function<void(const std::string&)> heard_;
    std::function<bool(std::string_view)> concerns_;
    std::set<std::string> folders_;
    std::map<int, std::string> paths_;  ///< by the number of their watch
    std::string written_;
};

}  // namespace superd::sys
