// SPDX-License-Identifier: MIT
#include "conf/settings.h"

#include <fmt/format.h>

#include "base/text.h"
#include "conf/read.h"
#include "sys/identity.h"

namespace superd::conf {

namespace {

using toml::Kind;
using toml::Value;

const std::vector<std::string> known{"handler_path", "watch", "defaults", "control", "shutdown"};

void read_handler_path(const Value& value, Settings& out, Diagnostics& errors) {
    const Key key{"", "handler_path", {Type::word_or_words}};
    Reading reading;
    out.handler_path_known = read_value(key, value, reading, errors);
    if (!out.handler_path_known) return;
    out.handler_path.clear();
    for (const Value* word : words_of(value)) {
        for (const std::string_view folder : split(word->text, ':')) {
            if (folder.starts_with('/')) {
                out.handler_path.emplace_back(folder);
            } else {
                errors.push_back(
                    {word->spot.place(), fmt::format("handler_path: \"{}\" is not an absolute path", folder)});
                out.handler_path_known = false;
            }
        }
    }
}

void read_watch(const Value& value, Settings& out, Diagnostics& errors) {
    const Key key{"", "watch", {Type::boolean}};
    Reading reading;
    if (read_value(key, value, reading, errors)) out.watch = reading.flag;
}

void read_defaults(const Value& value, Settings& out, Diagnostics& errors) {
    if (value.kind != Kind::table) {
        errors.push_back({value.spot.place(), wrong_type("defaults", "a table", value)});
        return;
    }
    // Read them by themselves once, so that their errors are reported even without any service.
    Draft draft;
    read(value, Scope::defaults, draft, errors);
    out.defaults = value;
    std::erase_if(out.defaults.entries, [](const auto& entry) {
        const Key* key = find_key("", entry.first);
        return key != nullptr && key->per_service;
    });
}

void read_readers(const Value& value, Settings& out, sys::Names& names, Diagnostics& errors) {
    const Key key{"control", "readers", {Type::word_or_words}};
    Reading reading;
    if (!read_value(key, value, reading, errors)) return;
    for (const Value* word : words_of(value)) {
        const auto group = names.find_group(word->text);
        if (group && *group)
            out.readers.push_back(**group);
        else
            errors.push_back({word->spot.place(), group ? fmt::format("control.readers: no group \"{}\"", word->text)
                                                        : fmt::format("control.readers: {}", group.error().text)});
    }
}

void read_control(const Value& value, Settings& out, sys::Names& names, Diagnostics& errors) {
    if (value.kind != Kind::table) {
        errors.push_back({value.spot.place(), wrong_type("control", "a table", value)});
        return;
    }
    for (const auto& [name, entry] : value.entries) {
        if (name == "readers")
            read_readers(entry.value, out, names, errors);
        else
            errors.push_back({entry.key.place(),
                              fmt::format("unknown key \"control.{}\"{}", name, did_you_mean(name, {"readers"}))});
    }
}

void read_shutdown(const Value& value, Settings& out, Diagnostics& errors) {
    if (value.kind != Kind::table) {
        errors.push_back({value.spot.place(), wrong_type("shutdown", "a table", value)});
        return;
    }
    const Key drain{"shutdown", "drain", {Type::duration, 0, Duration(std::chrono::hours(24)).count()}};
    for (const auto& [name, entry] : value.entries) {
        Reading reading;
        if (name != "drain")
            errors.push_back(
                {entry.key.place(), fmt::format("unknown key \"shutdown.{}\"{}", name, did_you_mean(name, {"drain"}))});
        else if (read_value(drain, entry.value, reading, errors))
            out.drain = Duration(reading.number);
    }
}

}  // namespace

Settings read_settings(const Value& root, const std::string& handler_path, sys::Names& names, Diagnostics& errors) {
    Settings out;
    for (const std::string_view folder : split(handler_path, ':')) {
        if (!folder.empty()) out.handler_path.emplace_back(folder);
    }
    for (const auto& [name, entry] : root.entries) {
        if (name == "handler_path") {
            read_handler_path(entry.value, out, errors);
        } else if (name == "watch") {
            read_watch(entry.value, out, errors);
        } else if (name == "defaults") {
            read_defaults(entry.value, out, errors);
        } else if (name == "control") {
            read_control(entry.value, out, names, errors);
        } else if (name == "shutdown") {
            read_shutdown(entry.value, out, errors);
        } else {
            const bool of_service = is_section(name) || find_key("", name) != nullptr;
            errors.push_back(
                {entry.key.place(), fmt::format("unknown key \"{}\"{}", name,
                                                of_service ? fmt::format(" (did you mean \"defaults.{}\"?)", name)
                                                           : did_you_mean(name, known))});
        }
    }
    return out;
}

}  // namespace superd::conf
