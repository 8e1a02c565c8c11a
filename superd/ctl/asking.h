// SPDX-License-Identifier: MIT
#pragma once
// A verb's way to superd and back: asked, and shown for people or programs.

#include <functional>
#include <optional>
#include <string>

#include "conf/diagnostic.h"
#include "ctl/show.h"
#include "ctl/verbs.h"

namespace superd::ctl {

using Show = std::function<std::string(const Json& answer)>;

/// --control, or the default.
std::string path_of(const Command& command);
void print_json(const Json& answer);
/// Prints why not. For programs, this is an answer like any other.
void failed(Command& command, const std::string& why);
bool is_ok(const Json& answer);
/// The answer of a superd that would refuse these definitions.
Json refusal_of(const conf::Diagnostics& errors);
/// Prints an answer for people or programs, and sets the exit status.
void show_answer(Command& command, const Json& answer, const Show& show);
/// The same for what superd answers to this. Returns the answer on success.
std::optional<Json> ask_and_show(Command& command, const std::string& verb, Json members, const Show& show);

}  // namespace superd::ctl
