// SPDX-License-Identifier: MIT
#pragma once
// The definitions on disk, as both programs find and check them.

#include <string>

#include "conf/catalog.h"

namespace superd::ctl {

struct Places {
    std::string config = "/etc/superd/superd.toml";
    bool config_given = false;  ///< then it must be there
    std::string conf_dir = "/etc/superd/conf.d";
};

/// What this process would resolve them against: its own user and environment, and the handlers installed beside it.
conf::Surroundings surroundings(const Places& places);

/// Prints every error, or how many services there are; as JSON for programs. The exit status.
int check(const Places& places, bool json = false);

}  // namespace superd::ctl
