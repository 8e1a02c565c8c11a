// SPDX-License-Identifier: MIT
#pragma once
// Imported services as files of a folder, which may hold those of an import before.

#include <set>
#include <string>
#include <vector>

#include "ctl/import/request.h"

namespace superd::ctl {

/// What becomes of a service's file.
enum class Change {
    created,
    unchanged,  ///< it is there as it would be written
    replaced,   ///< it was there as an import had written it
    forced,     ///< it was there otherwise, and --force replaces it
    kept,       ///< it was there otherwise, and stays
};
const char* name_of(Change change);

struct Target {
    std::string name;  ///< of the service
    std::string path;
    Change change = Change::created;
    std::vector<std::string> lines;  ///< "- old" and "+ new"
};

/// Compares each service with what the folder has; touches nothing.
std::vector<Target> compare(const Import& import, const Request& request);

/// Writes what compare() says; what is kept or cannot be written is noted.
void write_services(Import& import, const Request& request, std::vector<Target>& targets);

/// Notes files of the folder that earlier imports of the same files wrote, for services that these have no more.
void note_stale(Import& import, const Request& request);

}  // namespace superd::ctl
