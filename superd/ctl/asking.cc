// SPDX-License-Identifier: MIT
#include "ctl/asking.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/text.h"
#include "control/server.h"
#include "control/shapes.h"
#include "ctl/client.h"

namespace superd::ctl {

std::string path_of(const Command& command) {
    return command.control.empty() ? control::default_path() : command.control;
}

void print_json(const Json& answer) {
    fmt::print("{}\n", answer.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void failed(Command& command, const std::string& why) {
    command.status = 1;
    if (command.json)
        print_json({{"version", control::kVersion}, {"ok", false}, {"error", why}});
    else
        fmt::print(stderr, "superctl: {}\n", why);
}

bool is_ok(const Json& answer) {
    return answer.value("ok", Json()) == true;
}

Json refusal_of(const conf::Diagnostics& errors) {
    std::vector<core::Complaint> complaints;
    for (const conf::Diagnostic& diagnostic : errors) complaints.push_back({{}, diagnostic});
    return {{"version", control::kVersion},
            {"ok", false},
            {"error", counted(complaints.size(), "error")},
            {"errors", Json::parse(control::to_json(complaints).text())}};
}

void show_answer(Command& command, const Json& answer, const Show& show) {
    if (!is_ok(answer)) command.status = 1;
    if (command.json)
        print_json(answer);
    else if (is_ok(answer))
        fmt::print("{}", show(answer));
    else
        fmt::print(stderr, "{}", show_refusal(answer));
}

std::optional<Json> ask_and_show(Command& command, const std::string& verb, Json members, const Show& show) {
    auto answer = ask(path_of(command), verb, std::move(members));
    if (!answer) {
        failed(command, answer.error().text);
        return std::nullopt;
    }
    show_answer(command, *answer, show);
    if (!is_ok(*answer)) return std::nullopt;
    return *answer;
}

}  // namespace superd::ctl
