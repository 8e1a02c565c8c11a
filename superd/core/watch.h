// SPDX-License-Identifier: MIT
#pragma once
// superd --watch: a reload by itself once the files that the last load went by have changed, and are quiet.

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/log.h"
#include "core/picture.h"
#include "core/watch_state.h"
#include "sys/alarm.h"
#include "sys/file_watch.h"

namespace superd::core {

/// A parameter, so that tests need not wait.
struct WatchPace {
    Duration quiet = std::chrono::milliseconds(500);
    Duration latest = std::chrono::seconds(5);  ///< after which it does not wait for quiet any longer
    Duration poll = std::chrono::seconds(5);    ///< where the kernel does not tell
};

class Watch {
  public:
    /// What it needs from the supervisor.
    struct Owner {
        std::function<Picture(const std::set<std::string>& files)> look;  ///< at the definitions and these
        std::function<void()> reload;  ///< calls about_to_load(), and loaded() if it came to a load
    };
    Watch(sys::Loop& loop, Log& log, sys::FileWatches& watches, Owner owner, WatchPace pace = {});
    Watch(const Watch&) = delete;

    /// Before and after each load, whoever asked for it, and also where it is refused: what has changed meanwhile is
    /// loaded again. `since`: when the load begins, as files tell the time. `files`: those that the definitions name.
    /// `on`: watch from now on.
    void about_to_load(std::chrono::nanoseconds since = std::chrono::system_clock::now().time_since_epoch());
    void loaded(std::set<std::string> files, bool on);
    /// Where no load came of it, or none is to come any more.
    void off();

    bool is_on() const { return on_; }
    /// It looks now and then, since the kernel does not tell of everything.
    bool is_deaf() const { return on_ && deaf_; }

    std::optional<WatchState> write_down() const;
    /// Continues with what another has written down. What has changed since the last load is loaded.
    void go_on(const WatchState& state);

    /// A reload of thousands of definitions must not take all the time there is.
    static constexpr int kRest = 10;
    static constexpr std::size_t kMostFiles = 2048;  ///< that are watched besides the folders that hold them

  private:
    void heard();
    void ring();
    void poll();
    void set_poll();
    /// Sees to it that the kernel tells of everything in `picture`.
    void listen(const Picture& picture);
    void tell_deaf(const std::string& path, int why);
    bool matters(std::string_view name) const;

    Log& log_;
    const Owner owner_;
    const WatchPace pace_;
    bool on_ = false, deaf_ = false, told_deaf_ = false;
    bool due_ = false;  ///< something has changed since the last load, whatever it looks like now
    std::set<std::string> files_;
    Picture::Names names_;
    std::uint64_t print_ = 0;  ///< of what the last load went by
    std::optional<Picture> before_;
    std::chrono::nanoseconds since_{};
    Instant began_{};               ///< the load that is under way
    std::optional<Instant> first_;  ///< when something was heard that has not been looked at
    Instant not_before_{};
    sys::Alarm alarm_, poll_;
    sys::FileWatch watch_;
};

}  // namespace superd::core
