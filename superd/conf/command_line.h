// SPDX-License-Identifier: MIT
#pragma once
// One service from superd's command line, where there are no files: superd --serve URI… --set KEY=VALUE… -- PROGRAM.

#include <optional>
#include <string>
#include <vector>

#include "conf/diagnostic.h"
#include "conf/toml.h"

namespace superd::conf {

struct CommandLine {
    std::vector<std::string> words;     ///< superd's own argv, for messages
    std::vector<std::string> listen;    ///< of --serve
    std::vector<std::string> settings;  ///< of --set
    std::vector<std::string> program;   ///< what follows "--"
    std::string folder;                 ///< a PROGRAM with a slash is taken from here
};

/// What messages call it instead of a file's name.
constexpr const char* kCommandLine = "command line";
/// The service's name.
constexpr const char* kServed = "service";

/// The command line as one line that a shell would read, which errors show with a caret below the argument.
std::string shown(const CommandLine& command);

/// The same as a definition's file would have it: a table whose values point into `source`, which is of shown(). Errors
/// are those that only a command line can have; the keys themselves are judged as any definition's.
toml::Value definition_of(const CommandLine& command, const toml::Source& source, Diagnostics& errors);

}  // namespace superd::conf
