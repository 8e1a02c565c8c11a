// SPDX-License-Identifier: MIT
#pragma once
// The control group of one service: its limits, what the kernel tells of it, and whoever is in it. Made with the first
// child, removed once nobody is in it.

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/backoff.h"
#include "conf/service.h"
#include "core/cgroup_counts.h"
#include "core/cgroups.h"
#include "core/child_owner.h"
#include "core/episode.h"
#include "sys/alarm.h"

namespace superd::core {

class ServiceCgroup {
  public:
    using Children = std::unordered_map<pid_t, ChildOwner*>;
    /// `children`: superd's own, which are told to leave by whom they belong to. `emptied`: nobody is in it any more.
    /// `back`: it is in order again, and children that were started meanwhile are outside of it.
    ServiceCgroup(Cgroups& all, std::string service, const Children& children, std::function<void()> emptied,
                  std::function<void()> back = {});
    ~ServiceCgroup();
    ServiceCgroup(const ServiceCgroup&) = delete;

    /// What is to hold. apply(): it holds from now on, and nobody is to leave.
    void configure(const conf::Service& definition);
    void apply(const conf::Service& definition);
    /// If there is a group from before, it is this one.
    void adopt();

    /// Where a child is to be born.
    struct Birth {
        int folder = -1;         ///< -1: not in a group
        std::uint64_t leaf = 0;  ///< 0: in the service's group itself
        sys::Cgroup own;         ///< keeps the leaf's folder open
    };
    /// Makes the group where it is missing. `leaf`: if children have leaves of their own, this one has. Errors: only
    /// for want of memory, processes or descriptors.
    Result<Birth> birth(bool leaf);
    /// The child could not be born there, and this is why. False: for want of something, as anywhere.
    bool blames(const Error& why);
    /// Of a child that was not born after all.
    void undo(const Birth& birth);
    /// For a child that began in the service's group: a leaf to move it to, if children have some.
    struct Leaf {
        std::uint64_t number = 0;  ///< 0: none is needed
        sys::Fd members;           ///< its cgroup.procs, open for writing
    };
    Result<Leaf> leaf();
    /// Sends a signal to all in a leaf. False: nobody was there.
    bool signal_leaf(std::uint64_t leaf, int number) const;
    /// Its handler has been reaped: whatever else is in the leaf is killed.
    void end_leaf(std::uint64_t leaf);
    /// A handler ended by KILL: was it for want of memory?
    bool explains_kill();

    /// Whoever is in the group is told to leave, and killed in time; superd's own children are not told again. Once.
    void end();
    void kill();
    /// Is somebody in it?
    bool is_populated() const { return group_ && group_.is_populated(); }
    bool is_unkillable() const { return gave_up_; }
    /// Children are started outside of it.
    bool is_lost() const { return lost_; }
    /// Limits hold again that somebody has taken away. Calls `back`.
    void restore();

    CgroupReport report() const;
    CgroupState write_down() const;
    void go_on(const CgroupState& state);
    /// The last step of an upgrade.
    void take_up();

    /// Killed processes that are still there after this time do not keep superd from ending.
    static constexpr Duration kDeath = std::chrono::seconds(10);
    /// A group in which nobody has been for so long is removed.
    static constexpr Duration kIdle = std::chrono::seconds(10);

  private:
    Result<void> make();
    void hold(sys::Cgroup group);
    /// A group from before.
    bool find();
    void write_limits(bool all);
    void lost(const std::string& why);
    void look();
    void note(std::uint64_t times, Episode& episode, Level level, const std::string& what);
    void try_leaves();
    /// Processes in the group that are in no session of superd's children.
    std::vector<pid_t> left_behind() const;
    void kill_on();
    void remove_idle();
    CgroupEvents read_events() const;

    Cgroups& all_;
    const std::string service_;
    const Children& children_;
    const std::function<void()> emptied_, back_;
    conf::Resources resources_;
    int stop_signal_ = 15;
    Duration stop_timeout_{};
    sys::Cgroup group_;
    sys::FileWatch watch_;
    CgroupEvents seen_;
    CgroupCounts counts_;
    std::uint64_t excused_ = 0;
    std::uint64_t leaf_ = 0;             ///< the last one
    std::vector<std::uint64_t> ending_;  ///< leaves that are not empty yet
    bool lost_ = false;                  ///< handlers are started outside
    bool ending_all_ = false, gave_up_ = false;
    std::optional<Instant> killed_at_;
    Backoff leaf_backoff_{std::chrono::milliseconds(5), std::chrono::seconds(1)};
    sys::Alarm leaves_, kill_, idle_;
    Episode kills_, refusals_, slow_;
};

}  // namespace superd::core
