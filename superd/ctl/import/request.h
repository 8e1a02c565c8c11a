// SPDX-License-Identifier: MIT
#pragma once
// The parameters of superctl import, and its steps: reading, fitting (check.h), writing.

#include <string>
#include <vector>

#include "ctl/import/import.h"

namespace superd::ctl {

struct Request {
    std::string format;
    std::vector<std::string> paths;
    std::string output;
    std::string dialect;  ///< of inetd.conf; empty: as the file shows
    bool force = false;
    bool dry_run = false;
    bool json = false;
};

/// This machine's files, services(5) and resolver.
Machine this_machine();

/// Reads and converts everything that was asked for.
Import read_all(const Request& request);

}  // namespace superd::ctl
