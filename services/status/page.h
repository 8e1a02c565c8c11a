// SPDX-License-Identifier: MIT
#pragma once
// The pages, as HTML that needs no script. The script of a page fetches the same page again and carries over what
// differs.

#include <string>

#include "status/state.h"

namespace status {

/// All services, or those in which `find` occurs: at most kRows of them on a page, counted from 0.
std::string overview(const State& state, const std::string& find, std::size_t page);
constexpr std::size_t kRows = 100;

/// What was asked about a client, and superd's answer to it.
struct Question {
    std::string client, via;
    std::optional<web::Answer> answer;
};
std::string service_page(const State& state, const web::Json& service, const Question& question);

/// A page that says one thing.
std::string message_page(const std::string& title, const std::string& text);

}  // namespace status
