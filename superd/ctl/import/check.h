// SPDX-License-Identifier: MIT
#pragma once
// Imported services as files, and what superd's own check says of them.

#include <set>
#include <string>

#include "conf/catalog.h"
#include "ctl/import/import.h"

namespace superd::ctl {

/// The definition file. `lines`, where given, gets the key that stands on each line.
std::string definition_text(const Imported& service, std::map<int, std::string>* lines = nullptr);

/// Checks each service by the rules for definition files, as for a superd that is root. Settings that superd cannot
/// hold for it go, and are noted; where access would be wider without them, the service is switched off. One that
/// superd could not be made to take on any machine is left out. What this machine lacks (a program, a user, a port's
/// name) is noted and stays.
void fit(Import& import, const conf::Surroundings& from);

/// Switches off each service whose address another one before it has, or one of the definitions in `folder`, and
/// notes it. Those of the folder that `replaced` names do not count. `folder` may be empty.
void settle_conflicts(Import& import, const conf::Surroundings& from, const std::string& folder,
                      const std::set<std::string>& replaced);

}  // namespace superd::ctl
