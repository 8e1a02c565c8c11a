// SPDX-License-Identifier: MIT
#pragma once
// The command line of a worker that tells over HTTP what superd says, and what superd passes in its environment.

#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace web {

struct Options {
    std::string control;              ///< path; empty: nobody has named it
    std::vector<std::string> hosts;   ///< by which it may be asked, besides addresses and localhost
    int connections = 256;            ///< at once
    std::optional<int> status_fd;     ///< SUPERD_STATUS_FD
    std::optional<int> max_requests;  ///< SUPERD_MAX_REQUESTS: connections
};

struct Program {
    const char* summary;
    bool checks_host;  ///< has --host
};

/// The options, or the exit status of a program that has nothing more to do (--help, --version, wrong usage).
std::expected<Options, int> parse_options(int argc, char** argv, const Program& program);

}  // namespace web
