// SPDX-License-Identifier: MIT
#pragma once
// What definitions are resolved against, as a process finds it.

#include <string>

#include "conf/catalog.h"

namespace superd::conf {

/// Where the definitions are.
struct Places {
    std::string config = "/etc/superd/superd.toml";
    bool config_given = false;  ///< then it must be there
    std::string conf_dir = "/etc/superd/conf.d";
};

/// This process's own: its user and environment, and the handlers installed beside its program.
Surroundings surroundings(const Places& places = {});

}  // namespace superd::conf
