// SPDX-License-Identifier: MIT
#pragma once
// superd.toml: the settings under all services.

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/time.h"
#include "conf/diagnostic.h"
#include "conf/toml.h"
#include "sys/identity.h"

namespace superd::conf {

struct Settings {
    std::vector<std::string> handler_path;
    bool handler_path_known = true;  ///< false: given, but invalid
    toml::Value defaults;            ///< a table like a service's file
    std::vector<gid_t> readers;      ///< [control] readers
    Duration drain{};                ///< [shutdown] drain
    bool watch = false;
};

/// `handler_path`: used if the file says nothing; folders separated by colons.
Settings read_settings(const toml::Value& root, const std::string& handler_path, sys::Names& names,
                       Diagnostics& errors);

}  // namespace superd::conf
