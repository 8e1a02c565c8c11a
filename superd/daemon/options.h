// SPDX-License-Identifier: MIT
#pragma once
// superd's command line.

#include <optional>
#include <string>
#include <vector>

#include "conf/surroundings.h"

namespace superd {

struct Options {
    conf::Places places;
    std::string log_format = "auto";
    std::string log_level = "info";
    std::string pid_file;
    std::string control;
    bool control_given = false;
    bool check = false;
    bool daemon = false;
    bool watch = false;
    int take_over = -1;  ///< descriptor with the state of another superd
    bool prove = false;  ///< only prove that the state could be taken over
    std::vector<std::string> words;
    std::string folder;  ///< relative paths start here
};

/// nullopt: superd goes on. Otherwise its exit status; help, version or error have been printed.
std::optional<int> read_options(int argc, char** argv, Options& options);

/// `folder`: relative paths start here, whatever folder superd changes to, and a reload finds what the start found.
void settle_paths(Options& options, const std::string& folder);

}  // namespace superd
