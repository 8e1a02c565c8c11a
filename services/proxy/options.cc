// SPDX-License-Identifier: MIT
#include "proxy/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include <array>
#include <charconv>
#include <climits>
#include <string_view>

namespace proxy {
namespace {

std::unexpected<int> wrong(const std::string& why) {
    say(why);
    fputs("Try 'superd-proxy --help'.\n", stderr);
    return std::unexpected(kUsage);
}

void print_help() {
    fputs(
        "usage: superd-proxy [OPTION]... [--start COMMAND [ARG]... --] TARGET...\n"
        "Passes clients on to the first TARGET that takes them: tcp://HOST:PORT, unix:///PATH, vsock://CID:PORT,\n"
        "or udp://HOST:PORT for datagrams. stdin is a connection, a listening socket or a datagram socket.\n\n"
        "  --connect-timeout T    for each address of a target (10s)\n"
        "  --idle-timeout T       close connections without traffic (datagram sessions: 30s)\n"
        "  --connections-max N    at the same time; others wait (8192)\n"
        "  --send-proxy v1|v2     tell the backend who its client is, by the PROXY protocol\n"
        "  --bind ADDR            connect from this address\n"
        "  --start COMMAND... --  run the backend while it is needed\n"
        "  --ready connect|notify|line=TEXT\n"
        "                         it is ready when it can be connected to (the default), says READY=1 to\n"
        "                         NOTIFY_SOCKET, or writes a line with TEXT\n"
        "  --ready-within T       clients wait for that until then (30s)\n"
        "  --stop-after-idle T    stop it without clients; 0s: never (5m)\n"
        "  --help, --version\n",
        stdout);
}

/// "250ms", "10s", "1h30m".
std::optional<Duration> duration(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> kUnits{
        {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
    constexpr std::int64_t kMost = std::int64_t{365} * 86'400'000;
    std::int64_t total = 0;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || value < 0 || value > kMost) return std::nullopt;
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        const std::string_view name = text.substr(0, text.find_first_of("0123456789"));
        std::int64_t unit = 0;
        for (const auto& [word, size] : kUnits)
            if (word == name) unit = size;
        if (unit == 0 || value > (kMost - total) / unit) return std::nullopt;
        total += value * unit;
        text.remove_prefix(name.size());
    }
    return std::chrono::milliseconds(total);
}

std::optional<int> number(std::string_view text, int least) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least) return std::nullopt;
    return value;
}

/// Takes "--start COMMAND… --" out of the words. Its end is the last "--", since the command may have one of its own.
std::expected<void, std::string> take_command(std::vector<char*>& words, Options& options) {
    std::size_t start = 1;
    while (start < words.size() && std::string_view(words[start]) != "--start") ++start;
    if (start >= words.size()) return {};
    std::size_t end = words.size() - 1;
    while (end > start && std::string_view(words[end]) != "--") --end;
    if (end == start) return std::unexpected("--start COMMAND must end in \"--\" before the targets");
    if (end == start + 1) return std::unexpected("--start has no command");
    options.start.assign(words.begin() + static_cast<std::ptrdiff_t>(start) + 1,
                         words.begin() + static_cast<std::ptrdiff_t>(end));
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(start), words.begin() + static_cast<std::ptrdiff_t>(end));
    return {};
}

enum Option : int {
    connect_timeout = 1,
    idle_timeout,
    connections_max,
    send_proxy,
    bind_to,
    ready,
    ready_within,
    stop_after_idle,
    help,
    version,
};

constexpr std::array<option, 11> kKnown{{{"connect-timeout", required_argument, nullptr, connect_timeout},
                                         {"idle-timeout", required_argument, nullptr, idle_timeout},
                                         {"connections-max", required_argument, nullptr, connections_max},
                                         {"send-proxy", required_argument, nullptr, send_proxy},
                                         {"bind", required_argument, nullptr, bind_to},
                                         {"ready", required_argument, nullptr, ready},
                                         {"ready-within", required_argument, nullptr, ready_within},
                                         {"stop-after-idle", required_argument, nullptr, stop_after_idle},
                                         {"help", no_argument, nullptr, help},
                                         {"version", no_argument, nullptr, version},
                                         {nullptr, 0, nullptr, 0}}};

/// The error says what the option's value must be.
std::expected<void, std::string> take_time(Option choice, const std::string& text, Options& options) {
    const auto time = duration(text);
    const bool may_be_none = choice == stop_after_idle;
    if (!time || (time->count() == 0 && !may_be_none))
        return std::unexpected("is not a duration such as 250ms, 10s or 1h30m");
    switch (choice) {
        case connect_timeout:
            options.connect_timeout = *time;
            break;
        case idle_timeout:
            options.idle_timeout = *time;
            break;
        case ready_within:
            options.ready_within = *time;
            break;
        default:
            options.stop_after_idle = *time;
    }
    return {};
}

std::expected<void, std::string> take_word(Option choice, const std::string& text, Options& options) {
    if (choice == connections_max) {
        const auto count = number(text, 1);
        if (!count) return std::unexpected("is not a number above 0");
        options.connections = *count;
    } else if (choice == send_proxy) {
        if (text != "v1" && text != "v2") return std::unexpected("is neither v1 nor v2");
        options.send_proxy = text == "v1" ? HeaderVersion::v1 : HeaderVersion::v2;
    } else if (choice == bind_to) {
        const auto address = parse_address(text);
        if (!address) return std::unexpected(address.error());
        options.bind = *address;
    } else if (text.starts_with("line=") && text.size() > 5) {
        options.readiness = Readiness::line;
        options.ready_line = text.substr(5);
    } else if (text == "connect" || text == "notify") {
        options.readiness = text == "notify" ? Readiness::notify : Readiness::connect;
    } else {
        return std::unexpected("is none of connect, notify, line=TEXT");
    }
    return {};
}

std::expected<void, std::string> take_environment(Options& options) {
    const auto take = [](const char* name, int least, std::optional<int>& value) -> std::expected<void, std::string> {
        const char* const text = getenv(name);
        if (text == nullptr) return {};
        value = number(text, least);
        if (!value) return std::unexpected(std::string(name) + " is not a number");
        return {};
    };
    if (auto taken = take("SUPERD_STATUS_FD", 3, options.status_fd); !taken) return taken;
    if (auto taken = take("SUPERD_INSTANCES", 1, options.instances); !taken) return taken;
    return take("SUPERD_MAX_REQUESTS", 1, options.max_requests);
}

/// What does not go together, whatever is on stdin.
std::string contradiction(const Options& options, const std::optional<std::string>& needs_start) {
    for (const Target& target : options.targets)
        if (target.datagrams() != options.datagrams()) return "targets are either all udp:// or none";
    if (options.start.empty() && needs_start) return *needs_start + " needs --start";
    if (options.datagrams() && options.send_proxy != HeaderVersion::none)
        return "--send-proxy is for connections: a backend would find the header in its first datagram alone";
    if (options.datagrams() && !options.start.empty() && options.readiness == Readiness::connect)
        return "--start with a udp:// target needs --ready notify or line=TEXT: nobody can connect to see it ready";
    return "";
}

}  // namespace

std::expected<Options, int> parse_options(int argc, char** argv) {
    Options options;
    std::vector<char*> words(argv, argv + argc);
    if (const auto taken = take_command(words, options); !taken) return wrong(taken.error());
    const int count = static_cast<int>(words.size());
    words.push_back(nullptr);
    std::optional<std::string> needs_start;
    opterr = 0;
    for (int choice = 0; (choice = getopt_long(count, words.data(), "+", kKnown.data(), nullptr)) != -1;) {
        if (choice == '?')
            return wrong(std::string(words[static_cast<std::size_t>(optind) - 1]) + ": no such option, or no value");
        if (choice == help) {
            print_help();
            return std::unexpected(EXIT_SUCCESS);
        }
        if (choice == version) {
            puts("superd-proxy (superd) " SUPERD_VERSION);
            return std::unexpected(EXIT_SUCCESS);
        }
        const auto known = static_cast<Option>(choice);
        const bool time =
            known == connect_timeout || known == idle_timeout || known == ready_within || known == stop_after_idle;
        const auto taken = time ? take_time(known, optarg, options) : take_word(known, optarg, options);
        const std::string name = std::string("--") + kKnown[static_cast<std::size_t>(choice) - 1].name;
        if (!taken) return wrong(name + " " + optarg + ": " + taken.error());
        if (known == ready || known == ready_within || known == stop_after_idle) needs_start = name;
    }
    for (int i = optind; i < count; ++i) {
        auto target = parse_target(words[static_cast<std::size_t>(i)]);
        if (!target) return wrong(std::string(words[static_cast<std::size_t>(i)]) + ": " + target.error());
        options.targets.push_back(std::move(*target));
    }
    if (options.targets.empty()) return wrong("no target");
    if (const auto taken = take_environment(options); !taken) return wrong(taken.error());
    if (const std::string why = contradiction(options, needs_start); !why.empty()) return wrong(why);
    return options;
}

}  // namespace proxy
