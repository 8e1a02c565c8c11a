// SPDX-License-Identifier: MIT
#pragma once
// Hears of what changes under sockets: interfaces and addresses of this machine, and files that sockets are bound to.

#include <functional>
#include <set>
#include <string>

#include "sys/fd.h"
#include "sys/loop.h"

namespace superd::sys {

class Changes {
  public:
    /// `heard` is called once, and again after take(): however much changes, nobody is woken more often than that.
    Changes(Loop& loop, std::function<void()> heard) : loop_(loop), heard_(std::move(heard)) {}
    Changes(const Changes&) = delete;

    /// Hears of interfaces and addresses from now on, or no more.
    Result<void> network(bool on);
    /// Hears when one of these files, and no others, is removed, renamed or replaced, or a folder above it is.
    Result<void> files(const std::set<std::string>& paths);
    /// Has the network changed since the last time?
    bool take();

  private:
    Result<void> listen(Fd fd, Fd& to, Source& source);

    Loop& loop_;
    std::function<void()> heard_;
    Fd network_, files_;
    Source network_source_, files_source_;
    std::set<std::string> watched_;
};

}  // namespace superd::sys
