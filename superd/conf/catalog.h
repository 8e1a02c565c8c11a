// SPDX-License-Identifier: MIT
#pragma once
// All definitions at one moment: read, merged, checked and resolved to values.

#include <sys/types.h>

#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"
#include "conf/diagnostic.h"
#include "conf/lookups.h"
#include "conf/service.h"
#include "sys/confinement.h"
#include "sys/delegation.h"
#include "sys/file.h"
#include "sys/identity.h"

namespace superd::conf {

/// In bytes; a longer file is no definition.
constexpr std::size_t kLargestFile = std::size_t{1} << 20;

/// Where to read, and what the definitions are resolved against. A parameter, so that tests can choose it.
struct Surroundings {
    std::string config;                    ///< superd.toml
    bool config_required = false;          ///< false: it may be absent
    std::string conf_dir;                  ///< must exist
    std::optional<CommandLine> command;    ///< the one service instead, and no file is read
    std::string handler_path;              ///< where handlers are looked up unless superd.toml says otherwise
    std::vector<std::string> environment;  ///< superd's own, "NAME=value"
    uid_t uid = 0;                         ///< superd's own effective ids
    gid_t gid = 0;
    std::optional<sys::Delegation> cgroup;  ///< what [resources] are limited in; nullopt: that cannot be known here
    bool trust_files = false;               ///< true: do not check who owns the files and who may write them (tests)
    std::chrono::nanoseconds ahead{0};      ///< added to the clock when judging a file's age (tests)
    std::optional<sys::Confinement> confinement;  ///< nullopt: this machine's (tests)
    mutable sys::Names names;                     ///< of users, groups and ports; remembers its answers
};

/// [control] of superd.toml.
struct Control {
    std::vector<gid_t> readers;  ///< groups whose members may look
    bool operator==(const Control&) const = default;
};

/// [shutdown] of superd.toml.
struct Shutdown {
    Duration drain{};  ///< for how long superd serves on when it is to end, and says that it is not ready
    bool operator==(const Shutdown&) const = default;
};

struct Catalog {
    std::map<std::string, Service> services;  ///< by name; including disabled ones
    Control control;
    Shutdown shutdown;
    bool watch = false;  ///< of superd.toml: reload by itself
    bool operator==(const Catalog&) const = default;
};

/// What a load went by, so that a later one need not read unchanged files again.
struct Seen {
    struct Files {
        sys::FileStamp definition;
        std::vector<std::pair<std::string, sys::FileStamp>> drop_ins;  ///< by name
        bool operator==(const Files&) const = default;
    };
    std::optional<sys::FileStamp> config;
    bool sound = false;  ///< false: a change of superd.toml could not be recognised
    std::optional<sys::Delegation> cgroup;
    std::map<std::string, Files> files;  ///< of the services whose changes can be recognised
    Lookups lookups;
    std::vector<sys::Names::Answer> names;
};

/// Reads everything and reports every error in every file, or returns what is to run.
/// `warnings` gets what is not an error but will hardly work. `files` gets those that definitions name and that are
/// part of what they mean, such as certificates, also of definitions that are not right.
std::expected<Catalog, Diagnostics> load(const Surroundings& from, Diagnostics* warnings = nullptr,
                                         Seen* seen = nullptr, std::set<std::string>* files = nullptr);

struct Reload {
    Catalog catalog;             ///< without the kept services
    std::set<std::string> kept;  ///< names of the services that are unchanged from `running`
    Seen seen;
};
/// Like load(), where `running` is in force, which went by `seen`. Reads a file again if it has changed, and all of
/// them if anything else has changed that they were resolved against: superd.toml, a user, a program.
std::expected<Reload, Diagnostics> reload(const Surroundings& from, const Catalog& running, const Seen& seen,
                                          std::set<std::string>* files = nullptr);

}  // namespace superd::conf
