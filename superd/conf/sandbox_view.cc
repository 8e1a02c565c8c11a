// SPDX-License-Identifier: MIT
#include "conf/sandbox_view.h"

#include <fmt/format.h>

#include <array>

namespace superd::conf {
namespace {

bool is_at_or_below(std::string_view path, std::string_view folder) {
    return path == folder || folder == "/" || (path.starts_with(folder) && path[folder.size()] == '/');
}

}  // namespace

View::View(const Sandbox& sandbox) {
    if (sandbox.protect_home == ProtectHome::yes || sandbox.protect_home == ProtectHome::tmpfs) {
        const std::string by = sandbox.protect_home == ProtectHome::yes ? "sandbox.protect_home = true"
                                                                        : "sandbox.protect_home = \"tmpfs\"";
        for (const char* folder : {"/home", "/root", "/run/user"}) hidden_.emplace_back(folder, by);
    }
    if (sandbox.private_tmp)
        for (const char* folder : {"/tmp", "/var/tmp"}) hidden_.emplace_back(folder, "sandbox.private_tmp = true");
    for (const SandboxPath& one : sandbox.inaccessible_paths)
        hidden_.emplace_back(one.path, fmt::format("sandbox.inaccessible_paths, \"{}\"", one.path));
}

std::string View::hider_of(std::string_view path) const {
    // An empty /tmp is there to work in.
    if (path == "/tmp" || path == "/var/tmp") {
        for (const auto& [folder, by] : hidden_)
            if (is_at_or_below(path, folder) && !by.starts_with("sandbox.private_tmp")) return by;
        return "";
    }
    for (const auto& [folder, by] : hidden_)
        if (is_at_or_below(path, folder)) return by;
    return "";
}

}  // namespace superd::conf
