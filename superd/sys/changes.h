// SPDX-License-Identifier: MIT
#pragma once
// Watches what changes under sockets: this machine's interfaces and addresses, and the files that sockets are bound to.

#include <functional>
#include <set>
#include <string>

#include "sys/fd.h"
#include "sys/loop.h"

namespace superd::sys {

class Changes {
  public:
    /// `heard` is called once, and again only after take(): however much changes, it wakes nobody more often than that.
    Changes(Loop& loop, std::function<void()> heard) : loop_(loop), heard_(std::move(heard)) {}
    Changes(const Changes&) = delete;

    /// Starts or stops watching interfaces and addresses.
    Result<void> network(bool on);
    /// Watches exactly these files: reports when one is removed, renamed or replaced, or a folder above it is.
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
