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
    handler,  ///< may look; gets an error of its own for commands
    command,
};

struct Answer {
    std::string line;       ///< with its newline
    const char* verb = "";  ///< never the client's text: "" if superd does not know the verb
    bool command = false;   ///< the verb changes something, and was permitted
};

/// Does what `line` asks, within `rights`. `line` may contain any bytes.
Answer answer(core::Operations& superd, std::string_view line, Rights rights);

/// The answer to input that never became a request.
std::string refusal(std::string_view why);

/// The longest request that is accepted.
constexpr std::size_t kLongestRequest = 64 * 1024;

}  // namespace superd::control
