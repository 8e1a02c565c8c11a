// SPDX-License-Identifier: MIT
// superctl: the operator's program.
#include <cstdio>
#include <system_error>

#include "ctl/verbs.h"

namespace {

using namespace superd;

int run(int argc, char** argv) {
    ctl::Command command;
    command.arguments.flag("--json", command.json, "print JSON for programs");
    ctl::add_offline_verbs(command);
    ctl::add_control_verbs(command);
    ctl::add_security_verb(command);
    ctl::add_schema_verb(command);
    ctl::add_recipe_verb(command);
    ctl::add_import(command);
    if (const auto status = command.arguments.parse(argc, argv)) return *status;
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
