// SPDX-License-Identifier: MIT
#include "conf/surroundings.h"

#include <unistd.h>

#include <filesystem>

namespace superd::conf {

std::string installation_prefix() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? "/usr" : self.parent_path().parent_path().string();
}

Surroundings surroundings(const Places& places) {
    Surroundings from;
    from.config = places.config;
    from.config_required = places.config_given;
    from.conf_dir = places.conf_dir;
    from.command = places.command;
    from.handler_path = installation_prefix() + "/libexec/superd";
    for (char** variable = environ; *variable != nullptr; ++variable) from.environment.emplace_back(*variable);
    from.uid = geteuid();
    from.gid = getegid();
    return from;
}

}  // namespace superd::conf
