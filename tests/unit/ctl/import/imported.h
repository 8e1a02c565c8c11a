// SPDX-License-Identifier: MIT
#pragma once
// Questions that tests ask of an import.

#include <algorithm>

#include "ctl/import/import.h"
#include "tests/catch.h"

namespace superd::ctl {

inline const Imported& service(const Import& import, const std::string& name) {
    const auto found = std::ranges::find(import.services, name, &Imported::name);
    INFO("service " << name);
    REQUIRE(found != import.services.end());
    return *found;
}

/// As TOML; "" where it is not set.
inline std::string value(const Imported& service, const std::string& key) {
    const auto found = service.settings.find(key);
    return found != service.settings.end() ? found->second.toml : "";
}

/// How many notes about that line say this.
inline long notes(const Import& import, int line, Fate fate, std::string_view text) {
    return std::ranges::count_if(import.notes, [&](const Note& note) {
        return note.at.line == line && note.fate == fate && note.text.find(text) != std::string::npos;
    });
}

inline long errors(const Import& import) {
    return std::ranges::count(import.notes, Fate::error, &Note::fate);
}

}  // namespace superd::ctl
