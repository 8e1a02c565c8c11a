// SPDX-License-Identifier: MIT
#pragma once
// The control group that superd was given: superd itself in a leaf of it, and one group for each service beside that.

#include <set>
#include <string>

#include "base/log.h"
#include "conf/resources.h"
#include "sys/cgroup.h"
#include "sys/file_watch.h"
#include "sys/loop.h"

namespace superd::core {

class ServiceCgroup;

class Cgroups {
  public:
    Cgroups(sys::Loop& event_loop, Log& to, sys::FileWatches& files) : loop(event_loop), log(to), watches(files) {}
    Cgroups(const Cgroups&) = delete;

    /// Moves superd into its leaf and turns the controllers on. Without a delegation, or where that fails, services
    /// have no groups.
    void begin(const sys::Delegation& given);
    /// The same after an upgrade; `folder`: the earlier superd's, or "".
    void take_up(const std::string& folder);
    /// What definitions may ask for now; as begin() was given it where there is no group.
    sys::Delegation look() const;
    /// After a reload: what somebody has turned off or taken away meanwhile is there again.
    void restore();
    /// superd ends: the leaf stays as long as it is in there, but controllers would be in the way of a restart.
    void release();

    /// "": there is none.
    const std::string& folder() const { return root_.folder(); }
    bool usable() const { return static_cast<bool>(root_); }
    /// The group of a service. ENOENT: there is none, and it is not to be made.
    Result<sys::Cgroup> of(const std::string& service, bool make) const;
    /// Services whose groups were there before this superd.
    std::set<std::string> services() const;
    /// Turns on what these need beyond memory and pids.
    void want(const conf::Resources& resources);

    sys::Loop& loop;
    Log& log;
    sys::FileWatches& watches;
    std::set<ServiceCgroup*> groups;  ///< of services that have, or have had, one

  private:
    bool enter();
    void turn_on(const char* controller);

    sys::Delegation given_;
    sys::Cgroup root_;
    std::set<std::string> on_;  ///< controllers
};

}  // namespace superd::core
