// SPDX-License-Identifier: MIT
#include "conf/read.h"

#include <fmt/format.h>

#include <utility>

#include "base/text.h"

namespace superd::conf {

namespace {

using toml::Kind;
using toml::Spot;
using toml::Value;

std::vector<std::string> names_in(std::string_view section) {
    std::vector<std::string> names;
    for (const Key& key : keys()) {
        if (key.section == section) names.push_back(key.name);
    }
    return names;
}

std::vector<std::string> section_names() {
    std::vector<std::string> names;
    for (const Key& key : keys()) {
        if (!key.section.empty() && (names.empty() || names.back() != key.section)) names.push_back(key.section);
    }
    return names;
}

std::optional<std::string> counterpart(const std::string& name) {
    for (const Elsewhere where : {Elsewhere::xinetd, Elsewhere::socket_unit, Elsewhere::service_unit}) {
        if (const Key* key = find_counterpart(where, name)) return key->full_name();
    }
    return std::nullopt;
}

// The key that was probably meant: the one with this name in xinetd or systemd, which have other sections; else a
// similar name in the same section, or the same name in another one.
std::optional<std::string> meant_key(std::string_view section, const std::string& name) {
    const std::string prefix = section.empty() ? "" : std::string(section) + ".";
    const auto theirs = counterpart(name);
    if (section.empty() && theirs) return theirs;
    const auto near = closest(name, names_in(section));
    if (near && edit_distance(name, *near) <= 1) return prefix + *near;
    for (const Key& key : keys()) {
        if (key.name == name) return key.full_name();
    }
    if (theirs) return theirs;
    return near ? std::optional(prefix + *near) : std::nullopt;
}

void reject_unknown(std::string_view section, const std::string& name, const toml::Entry& entry, Draft& draft,
                    Diagnostics& errors) {
    if (section.empty() && entry.value.kind == Kind::table) {
        const auto meant = closest(name, section_names());
        errors.push_back({entry.key.place(), fmt::format("unknown section [{}]{}", name,
                                                         meant ? fmt::format(" (did you mean [{}]?)", *meant) : "")});
        return;
    }
    const auto meant = meant_key(section, name);
    const std::string full = section.empty() ? name : fmt::format("{}.{}", section, name);
    errors.push_back({entry.key.place(), fmt::format("unknown key \"{}\"{}", full,
                                                     meant ? fmt::format(" (did you mean \"{}\"?)", *meant) : "")});
    // Do not also report that the intended key is missing.
    if (meant) draft.broken.insert(*meant);
}

void read_key(const Key& key, const toml::Entry& entry, Scope scope, Draft& draft, Diagnostics& errors) {
    const std::string name = key.full_name();
    if (scope == Scope::defaults && key.per_service) {
        draft.reject(name, entry.key, fmt::format("{} cannot be a default: it belongs to one service", name), errors);
        return;
    }
    Reading reading;
    if (!read_value(key, entry.value, reading, errors)) {
        draft.broken.insert(name);
        return;
    }
    draft.given.emplace(name, &entry.value);
    if (key.apply != nullptr) key.apply(draft.service, reading);
}

void read_section(const std::string& section, const toml::Entry& entry, Scope scope, Draft& draft,
                  Diagnostics& errors) {
    if (entry.value.kind != Kind::table) {
        errors.push_back({entry.value.spot.place(), wrong_type(section, "a table", entry.value)});
        return;
    }
    draft.sections.emplace(section, entry.key);
    for (const auto& [name, inner] : entry.value.entries) {
        if (const Key* key = find_key(section, name)) {
            read_key(*key, inner, scope, draft, errors);
        } else {
            reject_unknown(section, name, inner, draft, errors);
        }
    }
}

}  // namespace

void Draft::reject(std::string_view name, const Spot& spot, std::string message, Diagnostics& errors) {
    broken.insert(std::string(name));
    errors.push_back({spot.place(), std::move(message)});
}

void Draft::reject(std::string_view name, std::string message, Diagnostics& errors) {
    broken.insert(std::string(name));
    errors.push_back({Place{file, 0, 0, 1, {}}, std::move(message)});
}

void Draft::reject_here(std::string_view name, const Value* value, std::string message, Diagnostics& errors) {
    if (value != nullptr) {
        reject(name, value->spot, std::move(message), errors);
    } else {
        reject(name, std::move(message), errors);
    }
    errors.back().local = true;
}

void read(const Value& root, Scope scope, Draft& draft, Diagnostics& errors) {
    for (const auto& [name, entry] : root.entries) {
        if (is_section(name)) {
            read_section(name, entry, scope, draft, errors);
        } else if (const Key* key = find_key("", name)) {
            read_key(*key, entry, scope, draft, errors);
        } else {
            reject_unknown("", name, entry, draft, errors);
        }
    }
}

std::string wrong_type(std::string_view name, std::string_view expected, const Value& value) {
    return fmt::format("{}: expected {}, found {}", name, expected, toml::name_of(value.kind));
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
    const auto meant = closest(word, candidates);
    return meant ? fmt::format(" (did you mean \"{}\"?)", *meant) : "";
}

std::vector<const Value*> words_of(const Value& value) {
    if (value.kind == Kind::string) return {&value};
    std::vector<const Value*> words;
    for (const Value& item : value.items) words.push_back(&item);
    return words;
}

}  // namespace superd::conf
