// SPDX-License-Identifier: MIT
#pragma once
// Can a handler's program be executed on this machine, by its user?

#include <optional>
#include <string>

#include "base/error.h"
#include "conf/lookups.h"
#include "sys/file.h"
#include "sys/identity.h"

namespace superd::conf {

/// The file at a path below a root directory, as sys::find_in_root() finds it.
const Result<sys::FoundFile>& find_program(Lookups& lookups, const std::string& root, const std::string& path);

/// May anybody execute it?
bool is_executable(const sys::FileStatus& status);

/// Part of a question that depends on who asks.
std::string ids_of(const sys::Identity& who);

/// Why a program cannot be executed; nothing else about it matters to a definition.
struct ProgramVerdict {
    std::string wrong;     ///< empty: nothing
    bool is_text = false;  ///< it is not a binary, and names no interpreter
    bool operator==(const ProgramVerdict&) const = default;
};

/// `as`: who executes it; nullopt if unknown, after an error.
ProgramVerdict judge_program(Lookups& lookups, const std::string& root, const std::string& path,
                             const std::optional<sys::Identity>& as);

}  // namespace superd::conf
