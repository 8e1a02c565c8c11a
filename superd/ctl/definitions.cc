// SPDX-License-Identifier: MIT
#include "ctl/definitions.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/text.h"
#include "control/shapes.h"
#include "ctl/verbs.h"

namespace superd::ctl {
int check(const conf::Places& places, bool json) {
    conf::Diagnostics warnings;
    const auto catalog = conf::load(conf::surroundings(places), &warnings);
    if (json) {
        control::Json answer{{"version", control::kVersion}, {"ok", catalog.has_value()}};
        if (catalog) {
            answer["services"] = catalog->services.size();
            std::vector<core::Complaint> complaints;
            for (const auto& diagnostic : warnings) complaints.push_back({{}, diagnostic});
            answer["warnings"] = control::to_json(complaints);
        } else {
            std::vector<core::Complaint> complaints;
            for (const auto& diagnostic : catalog.error()) complaints.push_back({{}, diagnostic});
            answer["error"] = counted(complaints.size(), "error");
            answer["errors"] = control::to_json(complaints);
        }
        fmt::print("{}\n", answer.dump(-1, ' ', false, control::Json::error_handler_t::replace));
        return catalog ? 0 : 1;
    }
    fmt::print(stderr, "{}", conf::format(warnings));
    if (!catalog) {
        fmt::print(stderr, "{}", conf::format(catalog.error()));
        fmt::print(stderr, "{}\n", counted(catalog.error().size(), "error"));
        return 1;
    }
    fmt::print("{}, no errors{}\n", counted(catalog->services.size(), "service"),
               warnings.empty() ? "" : fmt::format(", {}", counted(warnings.size(), "warning")));
    return 0;
}

void add_offline_verbs(Command& command) {
    auto places = std::make_shared<conf::Places>();
    Verb verb = command.arguments.verb("check", "check all definitions and print every error");
    Option config = verb.option("--config", places->config, "settings and [defaults]; may be absent").type("FILE");
    verb.option("--conf-dir", places->conf_dir, "service definitions, NAME.toml").type("DIR");
    verb.act([&command, places, config] {
        places->config_given = config.given();
        command.status = check(*places, command.json);
    });
}

}  // namespace superd::ctl
