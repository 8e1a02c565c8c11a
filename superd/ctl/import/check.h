// SPDX-License-Identifier: MIT
#pragma once
// Imported services as files, and what superd's own check says about them.

#include <set>
#include <string>

#include "conf/catalog.h"
#include "ctl/import/import.h"

namespace superd::ctl {

/// The definition file. `lines`, if given, gets the key on each line.
std::string definition_text(const Imported& service, std::map<int, std::string>* lines = nullptr);

/// Checks each service by the rules for definition files, as for a superd that runs as root. Settings that superd
/// cannot take are removed and noted; if access would be wider without them, the service is switched off. A service
/// that superd could not take on any machine is left out. What only this machine lacks (a program, a user, a port's
/// name) is noted and stays.
void fit(Import& import, const conf::Surroundings& from);

/// Switches off and notes each service whose address belongs to an earlier service or to a definition in `folder`.
/// Definitions that `replaced` names do not count. `folder` may be empty.
void settle_conflicts(Import& import, const conf::Surroundings& from, const std::string& folder,
                      const std::set<std::string>& replaced);

}  // namespace superd::ctl
