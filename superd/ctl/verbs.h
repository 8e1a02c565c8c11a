// SPDX-License-Identifier: MIT
#pragma once
// superctl's verbs: each group of them adds its subcommands to the one command line.

#include <string>

#include "ctl/arguments.h"

namespace superd::ctl {

/// The part of the command line before the verb, and the result.
struct Command {
    Arguments arguments{"superctl: looks after superd", "superctl", "superctl " SUPERD_VERSION};
    bool json = false;    ///< --json: for programs
    std::string control;  ///< --control; empty: the default
    int status = 0;       ///< exit status: 0 done, 1 refused or failed, 2 wrong usage
};

/// Verbs that need no daemon: check.
void add_offline_verbs(Command& command);
/// Verbs that a running superd answers, and --control.
void add_control_verbs(Command& command);
/// security: asks a running superd, or rates the definitions on disk.
void add_security_verb(Command& command);
/// schema
void add_schema_verb(Command& command);
/// recipe: definitions for well-known programs.
void add_recipe_verb(Command& command);
/// import: definitions from the files of inetd, xinetd and systemd.
void add_import(Command& command);

}  // namespace superd::ctl
