// SPDX-License-Identifier: MIT
#pragma once
// All definitions at one moment: read, merged, checked, and resolved to values.

#include <sys/types.h>

#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "conf/diagnostic.h"
#include "conf/lookups.h"
#include "conf/service.h"
#include "sys/file.h"
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
    std::chrono::nanoseconds ahead{0};  ///< of the clock, when it is judged how old a file is (tests)
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

/// What a load went by, so that a later one need not read again what is as it was.
struct Seen {
    struct Files {
        sys::FileStamp definition;
        std::vector<std::pair<std::string, sys::FileStamp>> drop_ins;  ///< by name
        bool operator==(const Files&) const = default;
    };
    std::optional<sys::FileStamp> config;
    bool sound = false;                  ///< false: superd.toml cannot be known again
    std::map<std::string, Files> files;  ///< of the services whose files can be known again
    Lookups lookups;
    std::vector<sys::Names::Answer> names;
};

/// Reads everything and reports every error in every file, or returns what is to be run.
/// `warnings` gets what is no error, and will hardly work.
std::expected<Catalog, Diagnostics> load(const Surroundings& from, Diagnostics* warnings = nullptr,
                                         Seen* seen = nullptr);

struct Reload {
    Catalog catalog;             ///< without those that are kept
    std::set<std::string> kept;  ///< names of the services that are as they are in `running`
    Seen seen;
};
/// The same as load(), where `running` is in force, which went by `seen`. A file is read again if it is not the same
/// any more, all are if anything else is that they were resolved against: superd.toml, a user, a program.
std::expected<Reload, Diagnostics> reload(const Surroundings& from, const Catalog& running, const Seen& seen);

}  // namespace superd::conf
