// SPDX-License-Identifier: MIT
#pragma once
// The files that a handler read or mapped before it parked, and whether they are still what they were.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proc/warm_process.h"
#include "sys/file_watch.h"
#include "sys/identity.h"

namespace superd::core {

/// Where a handler may write, nothing is watched: what it reads there is its own business, and it could lead whoever
/// looks there anywhere.
class Writable {
  public:
    /// `who`: the handler's; nullopt: superd's own, or the superuser, of whom nothing is kept.
    explicit Writable(const std::optional<sys::Identity>& who);
    /// May the handler change what the path leads to? Asked folder by folder from the root, so that no look-up goes
    /// through one in which the handler could have put something.
    bool operator()(const std::string& path);
    /// The same of what is in a folder.
    bool folder(const std::string& path);

  private:
    std::optional<sys::Identity> who_;
    std::map<std::string, bool> folders_;
};

/// Where a path leads.
struct Way {
    std::string end;                 ///< without symbolic links; what is there need not exist
    std::vector<std::string> links;  ///< on the way
};
/// Of `path` in the root directory `root`, link by link. nullopt: it cannot be found out, or not without going through
/// a folder in which the handler may put something.
std::optional<Way> way_of(const std::string& root, const std::string& path, Writable& writable);

class WarmFiles {
  public:
    /// `changed`: one is no longer what it was. `names`: absolute paths that the handler is started by.
    WarmFiles(sys::FileWatches& watches, std::string root, std::optional<sys::Identity> who,
              std::function<void()> changed, std::vector<std::string> names = {});

    /// A handler is about to be started: where its names lead must not change from now on, unless this is known
    /// already.
    void start();
    /// Watches these too. `since`: when their handler was started, as files tell the time. False: one of them has
    /// changed already; not one that the start itself has made and removed again.
    bool add(const std::vector<proc::WarmFile>& files, std::int64_t since);
    /// Looks at those that nothing tells of, now and then. False: one has changed.
    bool look(Instant time);
    /// The one that has changed, as far as that is known.
    const std::string& changed() const { return which_; }
    void clear();
    std::size_t size() const { return files_.size(); }
    std::size_t unwatched() const { return unwatched_.size(); }
    /// How many are neither watched nor looked at: the handler may write them, or there are too many.
    std::size_t left_out() const { return left_out_.size(); }
    std::vector<proc::WarmFile> all() const;
    /// Where the names led, and this of a predecessor: what it started is still there.
    std::vector<std::pair<std::string, std::string>> ways() const { return {ways_.begin(), ways_.end()}; }
    bool go_on(const std::vector<std::pair<std::string, std::string>>& ways);

    /// How old an answer may be.
    static constexpr Duration kLook = std::chrono::milliseconds(500);
    static constexpr std::size_t kMostOfOne = 2048;  ///< that one service watches

  private:
    void heard(const std::string& written);
    bool is_same(const proc::WarmFile& file);
    /// Do the names lead where they led?
    bool lead_there();

    const std::string root_;
    Writable writable_;
    std::function<void()> changed_;
    const std::vector<std::string> names_;
    std::map<std::string, std::string> ways_;  ///< of names with links on their way: where they led
    std::map<std::string, proc::WarmFile> files_;
    std::vector<std::string> unwatched_;
    std::set<std::string> left_out_;  ///< bounded too
    Instant looked_{};
    std::string which_;
    sys::FileWatch watch_;
};

}  // namespace superd::core
