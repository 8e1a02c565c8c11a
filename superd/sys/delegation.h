// SPDX-License-Identifier: MIT
#pragma once
// Whether this process has been given a control group to divide, and what can be limited there.

#include <set>
#include <string>

namespace superd::sys {

/// A group that this process may divide among others, and what can be limited there.
struct Delegation {
    std::string folder;                 ///< "": there is none
    std::string missing;                ///< why not
    std::set<std::string> controllers;  ///< "memory", "pids"
    bool operator==(const Delegation&) const = default;
};
/// This process's own. A manager says by an extended attribute that it has handed a group over; without systemd, a
/// group below the root is taken to be this process's if nobody else is in it. Process 1 of a container has its root.
Delegation find_delegation();
/// The same for a group that is known to be delegated, as it is now.
Delegation look_at_delegation(const std::string& folder);

}  // namespace superd::sys
