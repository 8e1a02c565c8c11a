// SPDX-License-Identifier: MIT
#pragma once
// Questions that tests ask about an import.

#include <algorithm>
#include <map>

#include "ctl/import/import.h"
#include "tests/catch.h"

namespace superd::ctl {

inline const Imported& service(const Import& import, std::string_view name) {
    const auto found = std::ranges::find(import.services, name, &Imported::name);
    INFO("service " << name);
    REQUIRE(found != import.services.end());
    return *found;
}

/// As TOML; "" if it is not set.
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

/// Files by their paths, services(5) with one-letter names and a few real ones, hosts with addresses.
struct Answers {
    std::map<std::string, std::string> files = {};
    std::map<std::string, std::vector<std::string>> hosts = {{"localhost", {"127.0.0.1", "::1"}}};
    std::map<std::string, unsigned> modes = {};
};
inline Machine machine(Answers answers = {}) {
    Machine out;
    out.read = [answers](const std::string& path) -> Result<std::string> {
        const auto found = answers.files.find(path);
        return found != answers.files.end() ? Result<std::string>(found->second) : fail("no such file");
    };
    out.list = [answers](const std::string& folder) -> Result<std::vector<std::string>> {
        const std::string start = folder.ends_with('/') ? folder : folder + "/";
        std::vector<std::string> names;
        for (const auto& [path, content] : answers.files) {
            const std::string rest = path.starts_with(start) ? path.substr(start.size()) : "";
            if (!rest.empty() && rest.find('/') == std::string::npos) names.push_back(rest);
        }
        return names.empty() ? Result<std::vector<std::string>>(fail("no such folder")) : names;
    };
    out.port = [](const std::string& service, const std::string&) -> std::optional<int> {
        if (service == "echo") return 7;
        return service.size() == 1 || service == "nobody" || service == "names" || service == "some" ||
                       service == "deny" || service == "one" || service == "named"
                   ? std::optional(1000 + service[0])
                   : std::nullopt;
    };
    out.addresses = [answers](const std::string& host) {
        const auto found = answers.hosts.find(host);
        return found != answers.hosts.end() ? found->second : std::vector<std::string>{};
    };
    out.mode = [answers](const std::string& path) -> std::optional<unsigned> {
        const auto found = answers.modes.find(path);
        return found != answers.modes.end() ? std::optional(found->second) : std::nullopt;
    };
    out.folder = "/here";
    return out;
}

inline long errors(const Import& import) {
    return std::ranges::count(import.notes, Fate::error, &Note::fate);
}

}  // namespace superd::ctl
