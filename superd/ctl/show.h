// SPDX-License-Identifier: MIT
#pragma once
// superd's answers for people. A member that an answer lacks is shown as "-".

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "ctl/table.h"

namespace superd::ctl {

using Json = nlohmann::ordered_json;

/// Members of an answer, whatever superd sent: an absent one, or one of another type, is "" or 0.
std::string text_of(const Json& object, const char* name);
double number_of(const Json& object, const char* name);
const Json& array_of(const Json& object, const char* name);

Colour colour_of_state(const std::string& state);
/// Of a key that is left out: in [sandbox], without the table, which goes without saying.
std::string_view short_key(std::string_view key);
/// The first address and the number of others.
std::string addresses_of(const Json& service);

std::string show_status(const Json& answer, const Terminal& terminal);
/// One service with its processes.
std::string show_service(const Json& answer, const Terminal& terminal);
std::string show_list(const Json& answer, const Terminal& terminal);
std::string show_changes(const Json& answer, const Terminal& terminal);
std::string show_explanation(const Json& answer, const Terminal& terminal);
/// For an answer that is not ok: every error with its place, then the error itself.
std::string show_refusal(const Json& answer);

}  // namespace superd::ctl
