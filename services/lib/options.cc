// SPDX-License-Identifier: MIT
#include "lib/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include <array>
#include <charconv>
#include <climits>

namespace worker {
namespace {

constexpr int exit_usage = 2;
constexpr int max_seconds = 24 * 60 * 60;

std::unexpected<int> wrong_usage() {
    fprintf(stderr, "Try '%s --help'.\n", program_invocation_name);
    return std::unexpected(exit_usage);
}

std::optional<int> number(const char* what, std::string_view text, int least, int most) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= least && value <= most) return value;
    fprintf(stderr, "%s: %s is '%.*s', must be a number from %d to %d\n", program_invocation_name, what,
            static_cast<int>(text.size()), text.data(), least, most);
    return std::nullopt;
}

/// False: it is set, but is not a valid number.
bool from_environment(const char* name, int least, int most, std::optional<int>& value) {
    const char* const text = getenv(name);
    if (text == nullptr) return true;
    value = number(name, text, least, most);
    return value.has_value();
}

void print_help(std::string_view summary) {
    printf("usage: %s [OPTION]...\n%.*s\n\n", program_invocation_name, static_cast<int>(summary.size()),
           summary.data());
    fputs(
        "Serves what it finds on stdin: a connection, a listening socket, a datagram socket or one datagram.\n\n"
        "  --threads N    serve up to N requests at once on a shared socket (1)\n"
        "  --idle S       alone on a datagram socket: exit after S idle seconds; 0: never (10)\n"
        "  --timeout S    give up on a connection that stalls for S seconds; 0: never (60)\n"
        "  --min-port P   leave datagrams from source ports below P unanswered (1024, the minimum)\n"
        "  --help, --version\n",
        stdout);
}

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv, std::string_view summary) {
    enum : int { threads = 1, idle, timeout, min_port, help, version };
    static constexpr std::array<option, 7> known{{{"threads", required_argument, nullptr, threads},
                                                  {"idle", required_argument, nullptr, idle},
                                                  {"timeout", required_argument, nullptr, timeout},
                                                  {"min-port", required_argument, nullptr, min_port},
                                                  {"help", no_argument, nullptr, help},
                                                  {"version", no_argument, nullptr, version},
                                                  {nullptr, 0, nullptr, 0}}};
    Options options;
    for (int choice = 0; (choice = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
        std::optional<int> value;
        switch (choice) {
            case threads:
                if (!(value = number("--threads", optarg, 1, 1024))) return wrong_usage();
                options.threads = *value;
                break;
            case idle:
                if (!(value = number("--idle", optarg, 0, max_seconds))) return wrong_usage();
                options.idle = *value;
                break;
            case timeout:
                if (!(value = number("--timeout", optarg, 0, max_seconds))) return wrong_usage();
                options.timeout = *value;
                break;
            case min_port:
                if (!(value = number("--min-port", optarg, 1024, UINT16_MAX))) return wrong_usage();
                options.min_port = static_cast<std::uint16_t>(*value);
                break;
            case help:
                print_help(summary);
                return std::unexpected(EXIT_SUCCESS);
            case version:
                printf("%s (superd) %s\n", program_invocation_short_name, SUPERD_VERSION);
                return std::unexpected(EXIT_SUCCESS);
            default:
                return wrong_usage();
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument '%s'\n", program_invocation_name, argv[optind]);
        return wrong_usage();
    }
    if (!from_environment("SUPERD_STATUS_FD", 3, INT_MAX, options.status_fd) ||
        !from_environment("SUPERD_MAX_REQUESTS", 1, INT_MAX, options.max_requests))
        return std::unexpected(exit_usage);
    return options;
}

}  // namespace worker
