// SPDX-License-Identifier: MIT
#pragma once
// A child's own steps into its sandbox. As in all of its code (proc/child.h), plain data in, raw system calls out.

#include <linux/filter.h>

#include <cstdint>

namespace superd::proc {

enum class Step;

/// What the sandbox of a definition asks of each of its children; the same for all.
struct ChildSandbox {
    int namespaces;         ///< CLONE_NEW* flags of those that a holder has made; 0: none is entered
    std::uint64_t drop;     ///< capabilities that leave the bounding set
    std::uint64_t ambient;  ///< capabilities that it keeps beyond its user's
    bool no_new_privileges;
    sock_filter* filter;  ///< nullptr: none
    unsigned short filter_length;
};

/// Before its folders are set: the namespaces that `holder`, a pidfd, lives in. Returns what the kernel does.
long enter_namespaces(const ChildSandbox& sandbox, int holder);
/// Before the ids change: what only the old ones may do. Step::none: all went well; else `result` says why not.
Step confine_as_superd(const ChildSandbox& sandbox, long& result);
/// After the ids have changed. `ruleset`: of Landlock, or -1.
Step confine_as_handler(const ChildSandbox& sandbox, int ruleset, long& result);
/// Last of all, since from then on only calls that the filter permits are made. Returns what the kernel does.
long install_filter(const ChildSandbox& sandbox);

}  // namespace superd::proc
