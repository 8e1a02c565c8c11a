// SPDX-License-Identifier: MIT
#pragma once
// The object that learns what happens to a process of superd's.

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>

namespace superd::core {

/// Engine::children has one for each process, except for those that only free descriptors (sys/passed_rights.h). It is
/// put there before the process exists (base/place.h), since the end of an unknown process is reported to nobody.
class ChildOwner {
  public:
    virtual ~ChildOwner() = default;
    /// It has been reaped, and Engine::children no longer knows it. `used`: as wait4(2) says.
    virtual void exited(pid_t pid, int status, const rusage& used) = 0;
    /// Follows exited(), even if memory ran out there. The owner may end in it.
    virtual void after_exit() {}
    /// Its exec took too long, and it is killed.
    virtual void overdue(pid_t) {}
    /// An operator sends it a signal or, without one, makes it leave. False: operators do not know of it.
    virtual bool end_child(pid_t, std::optional<int>) { return false; }
};

}  // namespace superd::core
