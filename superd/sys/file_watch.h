// SPDX-License-Identifier: MIT
#pragma once
// Tells when files change: by inotify(7), one queue for all who ask, and bounded in number.

#include <functional>
#include <map>
#include <set>
#include <string>
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
    void note(int number, std::uint32_t events);

    Loop& loop_;
    Fd queue_;
    Source source_;
    std::unordered_map<int, std::set<FileWatch*>> watches_;
    std::set<FileWatch*> due_;  ///< to be told
};

/// The files of one who wants to know.
class FileWatch {
  public:
    /// `heard`: at least one file has, or may have, changed: its content, its attributes, or what its path leads to.
    /// `written`: the path of one whose content has certainly changed, which the clock of the file system may not show;
    /// or "".
    FileWatch(FileWatches& all, std::function<void(const std::string& written)> heard)
        : all_(all), heard_(std::move(heard)) {}
    FileWatch(const FileWatch&) = delete;
    ~FileWatch() { clear(); }

    /// False: there is no room for it, or it may not be watched.
    bool add(const std::string& path);
    /// The file alone, where nothing else can come to bear its name.
    bool add_alone(const std::string& path);
    /// The same for a symbolic link itself: it is removed, or another is put in its place.
    bool add_link(const std::string& path);
    void clear();

  private:
    friend class FileWatches;
    FileWatches& all_;
    std::function<void(const std::string&)> heard_;
    std::set<std::string> folders_;
    std::map<int, std::string> paths_;  ///< by the number of their watch
    std::string written_;
};

}  // namespace superd::sys
