// SPDX-License-Identifier: MIT
#pragma once
// What a process resolves definitions against.

#include <optional>
#include <string>

#include "conf/catalog.h"

namespace superd::conf {

/// Where the definitions are.
struct Places {
    std::string config = "/etc/superd/superd.toml";
    bool config_given = false;  ///< then it must exist
    std::string conf_dir = "/etc/superd/conf.d";
    std::optional<CommandLine> command = {};  ///< instead of both
};

/// The folder with superd's bin or sbin, or superctl's bin: what belongs to them is found next to it, installed or not.
std::string installation_prefix();

/// This process's own: its user and environment, and the handlers installed with its program.
Surroundings surroundings(const Places& places = {});

}  // namespace superd::conf
