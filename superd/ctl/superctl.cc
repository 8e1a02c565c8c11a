// SPDX-License-Identifier: MIT
// superctl: the operator's program.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <system_error>

#include "base/text.h"
#include "ctl/verbs.h"

namespace {

using namespace superd;

/// CLI11 only says that a verb is missing where it does not know the one that is there.
std::optional<std::string> unknown_verb(const CLI::App& app, int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--control") ++i;
        if (word.starts_with("-")) continue;
        std::vector<std::string> names;
        for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
        if (std::ranges::find(names, word) != names.end()) return std::nullopt;
        const auto meant = closest(word, names);
        return fmt::format("no verb \"{}\"{}", escape(word),
                           meant ? fmt::format(" (did you mean \"{}\"?)", *meant) : "; superctl --help lists them");
    }
    return std::nullopt;
}

int run(int argc, char** argv) {
    ctl::Command command;
    command.app.set_version_flag("--version", "superctl " SUPERD_VERSION);
    command.app.add_flag("--json", command.json, "print JSON for programs");
    command.app.require_subcommand(1);
    command.app.fallthrough();
    command.app.get_formatter()->column_width(36);
    ctl::add_offline_verbs(command);
    ctl::add_control_verbs(command);
    ctl::add_schema_verb(command);
    ctl::add_import(command);
    try {
        command.app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const bool asked = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
        if (const auto why = asked ? std::nullopt : unknown_verb(command.app, argc, argv))
            fmt::print(stderr, "superctl: {}\n", *why);
        else
            command.app.exit(error);
        return asked ? 0 : 2;
    }
    return command.status;
}

}  // namespace

int main(int argc, char** argv) {
    int status = 1;
    std::error_code why;
    try {
        status = run(argc, argv);
        if (std::fflush(stdout) != 0) why = {errno, std::system_category()};
    } catch (const std::system_error& error) {  // fmt::print
        why = error.code();
    }
    if (!why) return status;
    std::fprintf(stderr, "superctl: stdout: %s\n", why.message().c_str());
    return 1;
}
