// SPDX-License-Identifier: MIT
#pragma once
// What superd-hold is told to make for a definition.

#include <string>
#include <vector>

#include "conf/service.h"

namespace superd::proc {

/// Does its sandbox need a process that makes it?
bool needs_holder(const conf::Service& definition);

/// The words after the service's name: superd-hold's own description of itself has them. The keys that are written for
/// a path come before what the others say of it.
std::vector<std::string> hold_words(const conf::Service& definition, bool administrator);

}  // namespace superd::proc
