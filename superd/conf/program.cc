// SPDX-License-Identifier: MIT
#include "conf/program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace superd::conf {
namespace {

bool may_execute(const std::string& path, const sys::FileStatus& status, const sys::Identity& who) {
    return sys::may_access(path, status, X_OK, who.uid, who.gid, who.groups);
}

/// Folders above the root directory are passed while the process is still superd's user.
std::string folder_in_the_way(Lookups& lookups, const std::string& root, const std::string& real_path,
                              const sys::Identity& who) {
    std::size_t end = root == "/" ? 0 : root.size();
    while (end != std::string::npos) {
        const std::string folder = end == 0 ? "/" : real_path.substr(0, end);
        const bool passes =
            lookups.ask<bool>(Lookups::question({"pass", folder, ids_of(who)}), [folder, who](Lookups&) {
                const auto status = sys::status_of(folder);
                return !status || may_execute(folder, *status, who);
            });
        if (!passes) return folder;
        end = real_path.find('/', end + 1);
    }
    return "";
}

/// If the interpreter is missing, exec reports that the script itself does not exist.
std::string judge_interpreter(Lookups& lookups, const std::string& root, const std::string& script,
                              const sys::Identity& as, const std::string& who) {
    const std::string interpreter = sys::interpreter_of(script);
    if (!interpreter.starts_with('/')) return "";
    const Result<sys::FoundFile>& there = find_program(lookups, root, interpreter);
    const auto say = [&](std::string_view why) { return fmt::format(": its interpreter \"{}\" {}", interpreter, why); };
    if (!there && there.error().code == ENOENT)
        return say(root == "/" ? "does not exist" : "does not exist in root_directory");
    if (!there) return "";
    if (!is_executable(there->status)) return say("is not executable");
    if (const std::string folder = folder_in_the_way(lookups, root, there->real_path, as); !folder.empty())
        return say(fmt::format("cannot be reached: {} may not enter {}", who, folder));
    if (!may_execute(there->real_path, there->status, as)) return say(fmt::format("may not be executed by {}", who));
    if (sys::is_noexec(there->real_path)) return say("is on a file system that is mounted with noexec");
    return "";
}

}  // namespace

const Result<sys::FoundFile>& find_program(Lookups& lookups, const std::string& root, const std::string& path) {
    return lookups.ask<Result<sys::FoundFile>>(Lookups::question({"find", path, root}),
                                               [root, path](Lookups&) { return sys::find_in_root(root, path); });
}

bool is_executable(const sys::FileStatus& status) {
    return S_ISREG(status.mode) && (status.mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0;
}

std::string ids_of(const sys::Identity& who) {
    return fmt::format("{}:{}:{}", who.uid, who.gid, fmt::join(who.groups, ","));
}

ProgramVerdict judge_program(Lookups& lookups, const std::string& root, const std::string& path,
                             const std::optional<sys::Identity>& as) {
    const Result<sys::FoundFile>& found = find_program(lookups, root, path);
    if (!found && found.error().code == ENOENT)
        return {fmt::format(
            " does not exist{}{}", root == "/" ? "" : " in root_directory",
            path.find(' ') != std::string::npos ? "; each argument is a string of its own: [\"PATH\", \"-x\"]" : "")};
    if (!found) return {fmt::format(" cannot be used: {}", found.error().text)};
    if (!S_ISREG(found->status.mode)) return {" is not a regular file"};
    if (!is_executable(found->status)) return {" is not executable"};
    if (!as) return {};
    const std::string who = as->user.empty() ? fmt::format("user {}", as->uid) : fmt::format("user \"{}\"", as->user);
    if (const std::string folder = folder_in_the_way(lookups, root, found->real_path, *as); !folder.empty())
        return {fmt::format(": {} may not enter {}", who, folder)};
    if (!may_execute(found->real_path, found->status, *as)) return {fmt::format(": {} may not execute it", who)};
    if (sys::is_noexec(found->real_path)) return {" is on a file system that is mounted with noexec"};
    const sys::Form form = sys::form_of(found->real_path);
    if (form == sys::Form::script) return {judge_interpreter(lookups, root, found->real_path, *as, who)};
    return {"", form == sys::Form::text};
}

}  // namespace superd::conf
