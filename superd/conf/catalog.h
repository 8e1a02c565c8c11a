// SPDX-License-Identifier: MIT
#pragma once
// All definitions at one moment: read, merged, checked, and resolved to values.

#include <sys/types.h>

#include <expected>
#include <map>
#include <string>
#include <vector>

#include "conf/diagnostic.h"
#include "conf/service.h"
#include "sys/identity.h"

namespace superd::conf {

/// Where to read, and what the definitions are resolved against. A parameter, so that tests can choose it.
struct Surroundings {
    std::string config;                    ///< superd.toml
    bool config_required = false;          ///< false: it may be absent
    std::string conf_dir;                  ///< must exist
    std::string handler_path;              ///< where handlers are looked up unless superd.toml says
    std::vector<std::string> environment;  ///< superd's own, "NAME=value"
    uid_t uid = 0;                         ///< superd's own effective ids
    gid_t gid = 0;
    bool trust_files = false;  ///< true: leave out whose the files are, and who may write them (tests)
    mutable sys::Names names;  ///< of users, groups and ports; remembers what it was asked
};

/// [control] of superd.toml.
struct Control {
    std::vector<gid_t> readers;  ///< whose members may look
    bool operator==(const Control&) const = default;
};

struct Catalog {
    std::map<std::string, Service> services;  ///< by name; disabled ones as well
    Control control;
    bool operator==(const Catalog&) const = default;
};

/// Reads everything and reports every error in every file, or returns what is to be run.
/// `warnings` gets what is no error, and will hardly work.
std::expected<Catalog, Diagnostics> load(const Surroundings& from, Diagnostics* warnings = nullptr);

}  // namespace superd::conf
