// SPDX-License-Identifier: MIT
#pragma once
// Control groups of the unified hierarchy, cgroups(7): which one this process is in, and what can be done to one.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/delegation.h"
#include "sys/fd.h"

namespace superd::sys {

/// The folder of a process's group, from its /proc/PID/cgroup and /proc/PID/mountinfo. An error says why there is none.
Result<std::string> cgroup_folder(std::string_view cgroup, std::string_view mounts);

/// The value in a line "NAME VALUE", as in memory.events and cpu.stat.
std::optional<std::uint64_t> value_in(std::string_view text, std::string_view name);

class Cgroup {
  public:
    Cgroup() = default;
    static Result<Cgroup> open(const std::string& folder);
    /// A group below. `make`: which need not be there yet.
    Result<Cgroup> child(const std::string& name, bool make) const;
    explicit operator bool() const { return static_cast<bool>(fd_); }
    const std::string& folder() const { return folder_; }
    int fd() const { return fd_.get(); }

    /// One of its files; an error names it.
    Result<std::string> read(const char* file) const;
    /// Lowering a memory limit takes memory back, which may take its time: then the error is EINTR, and the limit
    /// holds.
    Result<void> write(const char* file, std::string_view value) const;
    bool has(const char* file) const;
    /// Moves a process here.
    Result<void> take(pid_t pid) const;
    /// Names of the groups directly below.
    std::vector<std::string> children() const;
    /// Processes directly in it that this process can see.
    std::vector<pid_t> members() const;
    /// Processes in it and below, at most this many.
    std::vector<pid_t> processes(std::size_t most) const;
    /// Is any process in it, or below? An unreadable group counts as one with processes.
    bool is_populated() const;
    /// KILL for all in it and below, those that they are just starting included. Before Linux 5.14, or where `by_hand`
    /// is set, one that is started meanwhile may be left: call it again while is_populated().
    Result<void> kill(bool by_hand = false) const;
    /// Removes the group with all below. EBUSY: some process is in one of them.
    Result<void> remove();

  private:
    Cgroup(Fd fd, std::string folder) : fd_(std::move(fd)), folder_(std::move(folder)) {}
    void collect(std::vector<pid_t>& out, std::size_t most, int depth) const;
    /// Below, with all that is below that.
    bool remove_below(int depth) const;

    Fd fd_;
    std::string folder_;
};

}  // namespace superd::sys
