// SPDX-License-Identifier: MIT
#include "daemon/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "control/server.h"
#include "ctl/arguments.h"
#include "handover/upgrade.h"

namespace superd {
namespace {

/// superd's own argv, without what only a predecessor says to it.
std::vector<std::string> own_words(int argc, char** argv) {
    std::vector<std::string> words;
    bool own = true;
    for (int i = 0; i < argc; ++i) {
        const std::string_view word = argv[i];
        own = own && word != "--";
        if (own && word == handover::kTakeOver) {
            ++i;
        } else if (!own || word != handover::kProve) {
            words.emplace_back(word);
        }
    }
    return words;
}

std::optional<int> wrong(const char* what) {
    fmt::print(stderr, "superd: {}\nRun with --help for more information.\n", what);
    return 2;
}

}  // namespace

std::optional<int> read_options(int argc, char** argv, Options& options) {
    ctl::Arguments arguments("superd: listens on many ports and serves each by its declared model", "superd",
                             "superd " SUPERD_VERSION);
    conf::CommandLine command;
    auto config =
        arguments.option("--config", options.places.config, "settings and [defaults]; may be absent").type("FILE");
    auto conf_dir =
        arguments.option("--conf-dir", options.places.conf_dir, "service definitions, NAME.toml").type("DIR");
    const auto control = arguments.option("--control", options.control, "socket that superctl talks to").type("PATH");
    arguments.option("--log-format", options.log_format, "how the log on stderr looks")
        .one_of({"auto", "text", "logfmt", "json", "journal"});
    arguments.option("--log-level", options.log_level, "least severe level that is logged")
        .one_of({"error", "warning", "notice", "info", "debug"});
    arguments.flag("--check", options.check, "check all definitions, print every error, and exit");
    arguments.flag("--watch", options.watch, "reload by itself when definitions or certificates change");
    arguments.flag("--daemon", options.daemon, "detach; returns once superd is ready");
    arguments.option("--pid-file", options.pid_file, "write the process id here").type("FILE");
    auto serve = arguments.option("--serve", command.listen, "serve PROGRAM here, without any file").type("URI");
    serve.excludes(config).excludes(conf_dir);
    arguments.option("--set", command.settings, "a key of that service, such as limits.per_source=4")
        .type("KEY=VALUE")
        .one_each()
        .needs(serve);
    arguments.footer(
        "superd --serve URI... [--set KEY=VALUE]... -- PROGRAM [ARG...] runs one service without any file.");
    // Options that a superd passes to its successor. handover/upgrade.h
    arguments.option(handover::kTakeOver, options.take_over).hidden();
    arguments.flag(handover::kProve, options.prove).hidden();

    char** const end = argv + argc;
    char** const dashes = std::find_if(argv, end, [](const char* word) { return std::string_view(word) == "--"; });
    if (const auto status = arguments.parse(static_cast<int>(dashes - argv), argv)) return status;
    if (options.prove && options.take_over < 0) return 2;
    options.words = own_words(argc, argv);
    options.places.config_given = config.given();
    options.control_given = control.given();
    if (dashes != end) command.program.assign(dashes + 1, end);
    if (!serve.given())
        return dashes == end ? std::nullopt : wrong("what follows \"--\" is the program that --serve serves");
    if (command.program.empty()) return wrong("--serve needs a program: superd --serve URI... -- PROGRAM [ARG...]");
    command.words = options.words;
    options.places.command = std::move(command);
    return std::nullopt;
}

void settle_paths(Options& options, const std::string& folder) {
    options.folder = folder;
    const auto absolute = [&folder](const std::string& path) {
        return (std::filesystem::path(folder) / path).lexically_normal().string();
    };
    if (options.places.command) options.places.command->folder = folder;
    if (!options.control_given) options.control = options.places.command ? "" : control::default_path();
    if (!options.control.empty()) options.control = absolute(options.control);
    // --daemon leaves this folder.
    for (std::string* path : {&options.places.config, &options.places.conf_dir, &options.pid_file})
        if (!path->empty() && options.daemon) *path = absolute(*path);
}

}  // namespace superd
