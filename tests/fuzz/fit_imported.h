// SPDX-License-Identifier: MIT
#pragma once
// What must hold for every import, whatever its input.

#include <cstdlib>

#include "conf/toml.h"
#include "ctl/import/check.h"

namespace superd::ctl {

/// A machine without files, services and hosts, except localhost.
inline Machine no_machine() {
    Machine out;
    out.read = [](const std::string&) -> Result<std::string> { return fail("no such file"); };
    out.list = [](const std::string&) -> Result<std::vector<std::string>> { return fail("no such folder"); };
    out.port = [](const std::string&, const std::string&) -> std::optional<int> { return 7; };
    out.addresses = [](const std::string& host) {
        return host == "localhost" ? std::vector<std::string>{"127.0.0.1", "::1"} : std::vector<std::string>{};
    };
    out.mode = [](const std::string&) -> std::optional<unsigned> { return 0400; };
    return out;
}

/// Names are free and valid for superd, and the output is TOML. Otherwise ends the program.
inline void fit_imported(Import import) {
    // Looking up users, ports and programs for each is slow: two are as good as many.
    if (import.services.size() > 2) import.services.erase(import.services.begin() + 2, import.services.end());
    conf::Surroundings from;
    from.environment = {"PATH=/usr/bin:/bin"};
    from.confinement.emplace();  // looking takes a process
    fit(import, from);
    settle_conflicts(import, from, "", {});
    std::map<std::string, int> names;
    for (const Imported& service : import.services) {
        if (++names[service.name] > 1 || service_name(service.name) != service.name) abort();
        const conf::toml::Source source(service.name, definition_text(service));
        if (!conf::toml::parse(source)) abort();
    }
}

}  // namespace superd::ctl
