// SPDX-License-Identifier: MIT
#pragma once
// A worker's command line, and what superd passes in its environment.

#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

namespace worker {

struct Options {
    int threads = 1;
    int idle = 10;     ///< seconds; 0: for ever
    int timeout = 60;  ///< seconds; 0: for ever
    std::uint16_t min_port = 1024;
    std::optional<int> status_fd;     ///< SUPERD_STATUS_FD
    std::optional<int> max_requests;  ///< SUPERD_MAX_REQUESTS
};

/// The options, or the exit status of a program that has nothing more to do (--help, --version, wrong usage).
std::expected<Options, int> parse_options(int argc, char** argv, std::string_view summary);

}  // namespace worker
