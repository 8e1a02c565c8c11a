// SPDX-License-Identifier: MIT
#pragma once
// The command line of superd-proxy, and what superd tells it by its environment.

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "proxy/header.h"
#include "proxy/target.h"

namespace proxy {

/// When a backend that was started is ready.
enum class Readiness { connect, notify, line };

struct Options {
    std::vector<Target> targets;
    std::vector<std::string> start;  ///< the backend's command; empty: it runs anyway
    Readiness readiness = Readiness::connect;
    std::string ready_line;  ///< what a line of its output has in it
    Duration ready_within = std::chrono::seconds(30);
    Duration stop_after_idle = std::chrono::minutes(5);  ///< 0: never
    Duration connect_timeout = std::chrono::seconds(10);
    std::optional<Duration> idle_timeout;
    HeaderVersion send_proxy = HeaderVersion::none;
    std::optional<Address> bind;
    int connections = 8192;

    std::optional<int> status_fd;
    std::optional<int> max_requests;
    std::optional<int> instances;  ///< limits.instances; unset outside of a pool

    bool datagrams() const { return targets.front().datagrams(); }
};

/// The exit status of a command line that cannot be followed.
constexpr int kUsage = 2;

/// The error is an exit status, after the reason has been told.
std::expected<Options, int> parse_options(int argc, char** argv);

}  // namespace proxy
