// SPDX-License-Identifier: MIT
#pragma once
// Asks another program a question at load time.

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "sys/fd.h"
#include "sys/identity.h"

namespace superd::sys {

/// What a program writes to its stdout, at most 64 KiB of it. It runs as `identity`, if there is one, with these words,
/// no environment, and `files` as its descriptors from `first` on. Error: it could not be started, was killed, or did
/// not end in time, after which it is.
Result<std::string> consult(const std::string& program, const std::vector<std::string>& words,
                            const std::optional<Identity>& identity, const std::vector<Fd>& files, int first,
                            Duration patience);

}  // namespace superd::sys
