// SPDX-License-Identifier: MIT
#pragma once
// What a load goes by, seen from outside: every file, folder and link on the resolved ways to definitions, settings and
// what definitions name, so that a change of any of them shows, and all of them can be watched.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace superd::core {

struct Sources {
    std::string config, conf_dir;  ///< absolute; empty: none
    std::set<std::string> files;   ///< absolute, that definitions name
};

struct Picture {
    /// A part of it, small enough to keep.
    struct Part {
        std::uint64_t print = 0;            ///< a hash of names, owners, modes, links and stamps
        std::chrono::nanoseconds newest{};  ///< the last change in it, since the epoch
    };
    using Names = std::set<std::string, std::less<>>;
    Part definitions;
    std::map<std::string, Part> files;
    bool sound = true;  ///< false: superd has no memory or descriptors to find out; this says nothing

    // How to hear of changes:
    std::set<std::string> folders;  ///< on the ways, for themselves
    std::set<std::string> holders;  ///< folders for the names in them
    Names names;                    ///< those that matter there, besides definitions
    std::set<std::string> regular;  ///< files, for what reaches them under another name

    /// Has anything changed since `other` was taken? What is only in this one is judged by its last change: at `since`
    /// or later.
    bool has_changed_since(const Picture& other, std::chrono::nanoseconds since) const;
    /// Of all of it.
    std::uint64_t print() const;
};

/// Reads no file. A look costs one lstat(2) for each.
Picture look_at(const Sources& sources);

}  // namespace superd::core
