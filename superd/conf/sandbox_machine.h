// SPDX-License-Identifier: MIT
#pragma once
// Which keys of a sandbox this machine provides.

#include <string>
#include <vector>

#include "conf/sandbox.h"
#include "sys/confinement.h"

namespace superd::conf {

struct Missing {
    std::string key;  ///< without "sandbox."
    std::string why;
};

/// Is there anything in it that a machine may lack?
bool asks_of_machine(const Sandbox& sandbox);

/// Takes out what is not to be had, and says which keys that is. `root`: the handler's user is 0.
std::vector<Missing> fit(Sandbox& sandbox, const sys::Confinement& here, bool root);

/// Are there paths that Landlock confines?
bool uses_landlock(const Sandbox& sandbox);
/// The first key that needs a filter, or Landlock.
std::string first_with_filter(const Sandbox& sandbox);
/// Can a process under these still become its handler?
bool may_exec(const NumberSet& syscalls);

}  // namespace superd::conf
