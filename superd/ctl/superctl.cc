// SPDX-License-Identifier: MIT
// superctl: the operator's program.
#include "ctl/verbs.h"

int main(int argc, char** argv) {
    using namespace superd::ctl;
    Command command;
    command.app.set_version_flag("--version", "superctl " SUPERD_VERSION);
    command.app.add_flag("--json", command.json, "print JSON for programs");
    command.app.require_subcommand(1);
    command.app.fallthrough();
    command.app.get_formatter()->column_width(36);
    add_offline_verbs(command);
    add_control_verbs(command);
    add_schema_verb(command);
    add_import(command);
    try {
        command.app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const bool asked = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
        command.app.exit(error);
        return asked ? 0 : 2;
    }
    return command.status;
}
