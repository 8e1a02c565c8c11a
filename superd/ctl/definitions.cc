// SPDX-License-Identifier: MIT
#include "ctl/definitions.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/text.h"
#include "control/shapes.h"
#include "ctl/verbs.h"

namespace superd::ctl {
namespace {

JsonText complaints_of(const conf::Diagnostics& diagnostics) {
    std::vector<core::Complaint> complaints;
    for (const conf::Diagnostic& one : diagnostics) complaints.push_back({{}, one});
    return control::to_json(complaints);
}

}  // namespace

int check(const conf::Places& places, bool json, bool portable) {
    conf::Diagnostics warnings;
    const auto catalog = conf::load(conf::surroundings(places), &warnings);
    conf::Diagnostics errors = catalog ? conf::Diagnostics() : catalog.error();
    if (portable)
        for (conf::Diagnostics* all : {&errors, &warnings})
            std::erase_if(*all, [](const conf::Diagnostic& one) { return one.local; });
    const bool ok = errors.empty();
    if (json) {
        JsonText answer{{"version", control::kVersion}, {"ok", ok}};
        if (ok) {
            answer.add("services", catalog ? JsonText(catalog->services.size()) : JsonText());
            answer.add("warnings", complaints_of(warnings));
        } else {
            answer.add("error", counted(errors.size(), "error"));
            answer.add("errors", complaints_of(errors));
        }
        fmt::print("{}\n", answer.text());
        return ok ? 0 : 1;
    }
    fmt::print(stderr, "{}", conf::format(warnings));
    if (!ok) {
        fmt::print(stderr, "{}", conf::format(errors));
        fmt::print(stderr, "{}\n", counted(errors.size(), "error"));
        return 1;
    }
    fmt::print("{}{}\n",
               catalog ? fmt::format("{}, no errors", counted(catalog->services.size(), "service"))
                       : "no errors but those of this machine",
               warnings.empty() ? "" : fmt::format(", {}", counted(warnings.size(), "warning")));
    return 0;
}

void add_offline_verbs(Command& command) {
    auto places = std::make_shared<conf::Places>();
    Verb verb = command.arguments.verb("check", "check all definitions and print every error");
    Option config = verb.option("--config", places->config, "settings and [defaults]; may be absent").type("FILE");
    verb.option("--conf-dir", places->conf_dir, "service definitions, NAME.toml").type("DIR");
    auto portable = std::make_shared<bool>(false);
    verb.flag("--portable", *portable, "pass over what this machine lacks but another may have");
    verb.act([&command, places, config, portable] {
        places->config_given = config.given();
        command.status = check(*places, command.json, *portable);
    });
}

}  // namespace superd::ctl
