// SPDX-License-Identifier: MIT
#include "web/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <charconv>

namespace web {
namespace {

constexpr int kUsage = 2;
constexpr int kMostConnections = 4096;

bool read_number(const char* what, const char* text, int least, int most, int& value) {
    const std::string_view all = text;
    const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), value);
    if (error == std::errc() && end == all.data() + all.size() && value >= least && value <= most) return true;
    fprintf(stderr, "%s: %s: '%s' is not a number from %d to %d\n", program_invocation_name, what, text, least, most);
    return false;
}

bool from_environment(const char* name, int least, std::optional<int>& value) {
    const char* const text = getenv(name);
    if (text == nullptr) return true;
    int found = 0;
    if (!read_number(name, text, least, INT_MAX, found)) return false;
    value = found;
    return true;
}

void print_help(const Program& program) {
    printf(
        "Usage: %s [OPTION...]\n"
        "%s\n"
        "Serves the connection or the listening socket on stdin.\n\n"
        "  --control PATH        superd's control socket (default: SUPERD_CONTROL)\n"
        "  --connections-max N   at most so many at once (256)\n",
        program_invocation_short_name, program.summary);
    if (program.checks_host)
        printf(
            "  --host NAME           a name by which it may be asked, besides addresses and localhost; repeatable\n");
    printf("  --help, --version\n");
}

int wrong_usage() {
    fprintf(stderr, "Try '%s --help'.\n", program_invocation_name);
    return kUsage;
}

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv, const Program& program) {
    Options options;
    const char* const named = getenv("SUPERD_CONTROL");
    options.control = named != nullptr ? named : geteuid() == 0 ? "/run/superd/control.sock" : "";
    static const option known[] = {{"control", required_argument, nullptr, 'c'},
                                   {"connections-max", required_argument, nullptr, 'm'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {"version", no_argument, nullptr, 'v'},
                                   {program.checks_host ? "host" : nullptr, required_argument, nullptr, 'n'},
                                   {nullptr, 0, nullptr, 0}};
    for (int choice = 0; (choice = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        switch (choice) {
            case 'c':
                options.control = optarg;
                break;
            case 'm':
                if (!read_number("--connections-max", optarg, 1, kMostConnections, options.connections))
                    return std::unexpected(wrong_usage());
                break;
            case 'n':
                options.hosts.emplace_back(optarg);
                break;
            case 'h':
                print_help(program);
                return std::unexpected(EXIT_SUCCESS);
            case 'v':
                printf("%s (superd) %s\n", program_invocation_short_name, SUPERD_VERSION);
                return std::unexpected(EXIT_SUCCESS);
            default:
                return std::unexpected(wrong_usage());
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument '%s'\n", program_invocation_name, argv[optind]);
        return std::unexpected(wrong_usage());
    }
    if (!from_environment("SUPERD_STATUS_FD", 3, options.status_fd) ||
        !from_environment("SUPERD_MAX_REQUESTS", 1, options.max_requests))
        return std::unexpected(kUsage);
    return options;
}

}  // namespace web
