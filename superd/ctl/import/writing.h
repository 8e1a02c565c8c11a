// SPDX-License-Identifier: MIT
#pragma once
// Imported services as files in a folder, which may contain those of an earlier import.

#include <set>
#include <string>
#include <vector>

#include "ctl/import/request.h"

namespace superd::ctl {

/// What happens to a service's file.
enum class Change {
    created,
    unchanged,  ///< it is there exactly as it would be written
    replaced,   ///< it was there as written by an import
    forced,     ///< it was there in another form, and --force replaces it
    kept,       ///< it was there in another form, and stays
};
const char* name_of(Change change);

struct Target {
    std::string name;  ///< the service's name
    std::string path;
    Change change = Change::created;
    std::vector<std::string> lines;  ///< "- old" and "+ new"
};

/// Compares each service with the folder; touches nothing.
std::vector<Target> compare(const Import& import, const Request& request);

/// Writes as compare() says; notes what is kept or cannot be written.
void write_services(Import& import, const Request& request, std::vector<Target>& targets);

/// Notes files in the folder from earlier imports of the same source whose services no longer exist in it.
void note_stale(Import& import, const Request& request);

}  // namespace superd::ctl
