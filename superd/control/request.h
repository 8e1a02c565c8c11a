// SPDX-License-Identifier: MIT
#pragma once
// One request of the control protocol and its answer: a line of JSON each. contrib/man/control-protocol.md

#include <string>
#include <string_view>

#include "core/operations.h"

namespace superd::control {

enum class Rights {
    none,
    look,
    handler,  ///< may look; it is told that handlers may not command
    command,
};

struct Answer {
    std::string line;       ///< with its newline
    const char* verb = "";  ///< nothing of the client's: "" where it was none that superd knows
    bool command = false;   ///< the verb changes something, and was allowed
};

/// Does what `line` asks, as far as `rights` go. Any bytes may be in it.
Answer answer(core::Operations& superd, std::string_view line, Rights rights);

/// The answer to what never became a request.
std::string refusal(std::string_view why);

/// No request is longer than this.
constexpr std::size_t kLongestRequest = 64 * 1024;

}  // namespace superd::control
