// SPDX-License-Identifier: MIT
#pragma once
// What must hold of every import, whatever was imported.

#include <cstdlib>

#include "conf/toml.h"
#include "ctl/import/check.h"

namespace superd::ctl {

/// Names are free and such as superd takes, and what is written is TOML. Ends the program where that is not so.
inline void fit_imported(Import import) {
    // Each has users, ports and programs looked up, which is slow: two are as good as many.
    if (import.services.size() > 2) import.services.erase(import.services.begin() + 2, import.services.end());
    conf::Surroundings from;
    from.environment = {"PATH=/usr/bin:/bin"};
    fit(import, from);
    settle_conflicts(import, from, "", false);
    std::map<std::string, int> names;
    for (const Imported& service : import.services) {
        if (++names[service.name] > 1 || service_name(service.name) != service.name) abort();
        const conf::toml::Source source(service.name, definition_text(service));
        if (!conf::toml::parse(source)) abort();
    }
}

}  // namespace superd::ctl
