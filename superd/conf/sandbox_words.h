// SPDX-License-Identifier: MIT
#pragma once
// The lists of [sandbox] as sets of the kernel's numbers, and back.
//
// A list permits what it names. If its first word begins with "~", it refuses what it names and permits the rest;
// elsewhere "~" takes a word out of the list. A "~" alone refuses nothing.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/sandbox.h"

namespace superd::conf {

using Words = std::vector<std::string>;

struct BadWord {
    std::size_t index = 0;  ///< in the list
    std::string why;        ///< `"x" is not …`
};

/// Names of calls and groups ("@file-system"). @default is in every list that permits.
NumberSet read_syscalls(const Words& words, std::vector<BadWord>& bad);
/// "AF_UNIX", or "none" alone.
NumberSet read_address_families(const Words& words, std::vector<BadWord>& bad);
/// Names without CAP_, as bits.
std::uint64_t read_capabilities(const Words& words, std::vector<BadWord>& bad);
/// "mnt", "pid"; the flags of those that are not permitted.
std::uint64_t read_namespaces(const Words& words, std::vector<BadWord>& bad);
/// "EPERM", or "kill", which is 0.
std::optional<int> read_errno(std::string_view name);

/// A list that gives this set when it is read: groups where they fit.
Words syscall_words(const NumberSet& set);
Words address_family_words(const NumberSet& set);
Words capability_words(std::uint64_t set);
/// Of those that are permitted.
Words namespace_words(std::uint64_t forbidden);
std::string errno_word(int code);

/// All namespaces that handlers could make.
std::uint64_t all_namespaces();
/// The members of a group, with those of its groups, as far as this processor has them. Empty: no such group.
const std::vector<int>& syscalls_of(std::string_view group);
/// The highest number in any group: later calls are unknown to whoever wrote a list.
int latest_syscall();

}  // namespace superd::conf
