// SPDX-License-Identifier: MIT
#include "conf/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "base/text.h"
#include "conf/schema.h"

namespace superd::conf {
namespace {

using toml::Kind;
using toml::Spot;
using toml::Value;

bool is_plain_in_shell(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
}

/// `verbatim`: every character has a place of its own, from the first on.
struct ShellWord {
    std::string text;
    int before = 0;  ///< characters before the word's own
    bool verbatim = true;
};

ShellWord shell_quoted(const std::string& word) {
    if (!word.empty() && std::ranges::all_of(word, is_plain_in_shell)) return {word};
    const auto is_odd = [](char c) { return c == '\'' || static_cast<unsigned char>(c) < ' ' || c == 0x7f; };
    if (std::ranges::none_of(word, is_odd)) return {"'" + word + "'", 1};
    std::string text = "$'";
    for (const char c : word) {
        if (c == '\'' || c == '\\')
            text += fmt::format("\\{}", c);
        else if (c == '\n')
            text += "\\n";
        else if (is_odd(c))
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
            text += c;
    }
    return {text + "'", 0, false};
}

/// superd itself, without the way to it.
std::string shown_word(const std::vector<std::string>& words, std::size_t index) {
    const std::string& word = words[index];
    return index == 0 ? word.substr(word.rfind('/') + 1) : word;
}

/// A word of the command line, and where its value begins: --set=KEY=VALUE is one word.
struct Argument {
    Spot spot;  ///< of the word as shown
    int before = 0;
    bool verbatim = true;

    /// Of a part of it, in characters; of all of it where they have no places of their own.
    Spot part(std::size_t from, std::size_t length) const {
        if (!verbatim) return spot;
        Spot of = spot;
        of.column += before + static_cast<int>(from);
        of.length = std::max(1, static_cast<int>(length));
        return of;
    }
    Spot whole(std::string_view value) const { return part(0, count_characters(value)); }
};

class ArgumentSpots {
  public:
    ArgumentSpots(const CommandLine& command, const toml::Source& source) : command_(command), source_(source) {
        int column = 1;
        for (std::size_t i = 0; i < command.words.size(); ++i) {
            ShellWord word = shell_quoted(shown_word(command.words, i));
            const auto length = static_cast<int>(count_characters(word.text));
            places_.push_back({{&source, 1, column, length}, word.before, word.verbatim});
            column += length + 1;
        }
    }

    /// The next one that is `value`, or OPTION=`value`; of one that is not there, a spot without a place.
    Argument next(const std::string& option, const std::string& value) {
        const auto& words = command_.words;
        for (std::size_t i = at_; i < words.size() && words[i] != "--"; ++i) {
            const bool joined = words[i] == option + "=" + value;
            if (!joined && words[i] != value) continue;
            at_ = i + 1;
            Argument found = places_[i];
            if (joined) found.before += static_cast<int>(count_characters(option)) + 1;
            return found;
        }
        return {{&source_, 0, 0, 1}, 0, false};
    }
    void from_start() { at_ = 1; }
    /// Of what follows "--".
    Argument of_program(std::size_t index) const {
        const std::size_t first = command_.words.size() - command_.program.size();
        return places_[first + index];
    }

  private:
    const CommandLine& command_;
    const toml::Source& source_;
    std::vector<Argument> places_;
    std::size_t at_ = 1;
};

Value text_at(const Spot& spot, std::string text) {
    Value value;
    value.spot = spot;
    value.kind = Kind::string;
    value.text = std::move(text);
    return value;
}

Value array_of(const Spot& spot) {
    Value value;
    value.spot = spot;
    value.kind = Kind::array;
    return value;
}

/// Values that were parsed by themselves, behind `ahead` characters, get their places on the command line.
void move_to(Value& value, const Argument& argument, std::size_t from, std::size_t ahead) {
    const auto moved = [&](const Spot& spot) {
        if (spot.line != 1) return argument.spot;
        return argument.part(from + static_cast<std::size_t>(spot.column) - 1 - ahead,
                             static_cast<std::size_t>(spot.length));
    };
    value.spot = moved(value.spot);
    for (Value& item : value.items) move_to(item, argument, from, ahead);
    for (auto& [name, entry] : value.entries) {
        entry.key = moved(entry.key);
        move_to(entry.value, argument, from, ahead);
    }
}

/// VALUE as TOML; nullopt: it is none, and so is text.
std::optional<Value> toml_value_of(const std::string& text) {
    const toml::Source alone("", "x=" + text);
    auto tree = toml::parse(alone);
    if (!tree || tree->entries.size() != 1) return std::nullopt;
    return std::move(tree->entries.begin()->second.value);
}

/// The names in KEY, as TOML would read them; empty: it is no key.
std::vector<std::pair<std::string, Spot>> names_in_key(const std::string& key) {
    std::vector<std::pair<std::string, Spot>> names;
    if (key.find_first_of("[]{}#\n\r") != std::string::npos) return names;
    const toml::Source alone("", key + "=0");
    const auto tree = toml::parse(alone);
    if (!tree) return names;
    for (const Value* at = &*tree; at->kind == Kind::table && at->entries.size() == 1;) {
        const auto& [name, entry] = *at->entries.begin();
        names.emplace_back(name, entry.key);
        at = &entry.value;
    }
    return names;
}

const Key* key_of(const std::vector<std::pair<std::string, Spot>>& names) {
    if (names.size() == 1) return find_key("", names[0].first);
    const Key* const pairs = find_key("", names[0].first);
    if (pairs != nullptr && pairs->shape.type == Type::pairs) return pairs;
    return names.size() == 2 ? find_key(names[0].first, names[1].first) : nullptr;
}

bool is_list(Type type) {
    return type == Type::words || type == Type::word_or_words || type == Type::flag_or_words ||
           type == Type::prefixes || type == Type::windows || type == Type::tls_names || type == Type::count_limit ||
           type == Type::size_limit;
}

class KeySettings {
  public:
    KeySettings(Value& root, ArgumentSpots& arguments, Diagnostics& errors)
        : root_(root), arguments_(arguments), errors_(errors) {}

    void add(const std::string& setting) {
        const Argument argument = arguments_.next("--set", setting);
        const auto complain = [&](const Spot& spot, std::string message) {
            errors_.push_back({spot.place(), std::move(message)});
        };
        if (find_invalid_utf8(setting)) return complain(argument.spot, "is not UTF-8");
        const auto equals = setting.find('=');
        if (equals == std::string::npos)
            return complain(argument.whole(setting),
                            fmt::format("\"{}\" is not KEY=VALUE, such as limits.per_source=4", setting));
        const std::string key = setting.substr(0, equals), text = setting.substr(equals + 1);
        const auto names = names_in_key(key);
        const std::size_t length = count_characters(key);
        if (names.empty())
            return complain(argument.part(0, length),
                            fmt::format("\"{}\" is not the name of a key, such as limits.per_source", key));
        if (names[0].first == "listen" || names[0].first == "exec")
            return complain(argument.part(0, length),
                            names[0].first == "listen" ? "listen is what --serve says" : "exec is what follows --");
        Value value = read(argument, length + 1, text, key_of(names));
        put(argument, names, std::move(value));
    }

  private:
    static Value read(const Argument& argument, std::size_t from, const std::string& text, const Key* key) {
        Value plain = text_at(argument.part(from, count_characters(text)), text);
        auto value = toml_value_of(text);
        if (!value) return plain;
        // environment.PORT=8080: what takes nothing but text gets it as it is written.
        const Type type = key != nullptr ? key->shape.type : Type::boolean;
        const bool takes_text =
            type == Type::text || type == Type::words || type == Type::word_or_words || type == Type::pairs;
        const bool is_other = value->kind == Kind::integer || value->kind == Kind::real ||
                              value->kind == Kind::boolean || value->kind == Kind::date;
        if (takes_text && is_other) return plain;
        move_to(*value, argument, from, 2);
        return std::move(*value);
    }

    void put(const Argument& argument, const std::vector<std::pair<std::string, Spot>>& names, Value value) {
        Value* at = &root_;
        std::string way;
        for (std::size_t i = 0; i < names.size(); ++i) {
            const auto& [name, place] = names[i];
            const Spot spot =
                argument.part(static_cast<std::size_t>(place.column) - 1, static_cast<std::size_t>(place.length));
            way += (way.empty() ? "" : ".") + name;
            if (at->kind != Kind::table) {
                errors_.push_back({spot.place(), fmt::format("\"{}\" is below a key that has a value", way)});
                return;
            }
            const bool last = i + 1 == names.size();
            const auto [found, added] = at->entries.try_emplace(name);
            if (added) {
                found->second.key = spot;
                found->second.value.spot = spot;
                if (last) found->second.value = one(std::move(value), key_of(names));
            } else if (last) {
                join(found->second.value, spot, way, std::move(value), key_of(names));
            }
            at = &found->second.value;
        }
    }

    /// A list takes one as a list of it.
    static Value one(Value value, const Key* key) {
        if (key == nullptr || value.kind == Kind::array) return value;
        const bool of_words = key->shape.type == Type::words || key->shape.type == Type::flag_or_words;
        const bool of_tables = key->shape.type == Type::tls_names;
        if (!(of_words && value.kind == Kind::string) && !(of_tables && value.kind == Kind::table)) return value;
        Value list = array_of(value.spot);
        list.items.push_back(std::move(value));
        return list;
    }

    /// A key that is given again makes a list.
    void join(Value& before, const Spot& spot, const std::string& name, Value value, const Key* key) {
        if (key != nullptr && !is_list(key->shape.type)) {
            errors_.push_back({spot.place(), fmt::format("{} is given twice, and takes one value", name)});
            return;
        }
        if (before.kind != Kind::array) {
            Value list = array_of(before.spot);
            list.items.push_back(std::move(before));
            before = std::move(list);
        }
        before.spot = value.spot;
        if (value.kind == Kind::array)
            std::ranges::move(value.items, std::back_inserter(before.items));
        else
            before.items.push_back(std::move(value));
    }

    Value& root_;
    ArgumentSpots& arguments_;
    Diagnostics& errors_;
};

void add_words(const CommandLine& command, ArgumentSpots& arguments, Value& root, Diagnostics& errors) {
    const auto judged = [&](const Argument& argument, const std::string& text, std::string meant) {
        if (find_invalid_utf8(text)) errors.push_back({argument.spot.place(), "is not UTF-8"});
        return text_at(argument.whole(text), std::move(meant));
    };
    toml::Entry& listen = root.entries["listen"];
    for (const std::string& uri : command.listen) {
        Value one = judged(arguments.next("--serve", uri), uri, uri);
        if (listen.value.items.empty()) listen = {one.spot, array_of(one.spot)};
        listen.value.items.push_back(std::move(one));
    }
    toml::Entry& exec = root.entries["exec"];
    for (std::size_t i = 0; i < command.program.size(); ++i) {
        std::string meant = command.program[i];
        // If the folder is gone it stays as it is: without its slash it would be another program.
        if (i == 0 && meant.find('/') != std::string::npos && !command.folder.empty())
            meant = (std::filesystem::path(command.folder) / meant).lexically_normal().string();
        Value one = judged(arguments.of_program(i), command.program[i], std::move(meant));
        if (i == 0) exec = {one.spot, array_of(one.spot)};
        exec.value.items.push_back(std::move(one));
    }
}

}  // namespace

std::string shown(const CommandLine& command) {
    std::string line;
    for (std::size_t i = 0; i < command.words.size(); ++i)
        line += (i > 0 ? " " : "") + shell_quoted(shown_word(command.words, i)).text;
    return line;
}

toml::Value definition_of(const CommandLine& command, const toml::Source& source, Diagnostics& errors) {
    Value root;
    root.spot = {&source, 1, 1, 1};
    ArgumentSpots arguments(command, source);
    KeySettings settings(root, arguments, errors);
    for (const std::string& setting : command.settings) settings.add(setting);
    arguments.from_start();
    add_words(command, arguments, root, errors);
    const Spot served = root.entries["listen"].key;
    const auto [model, is_unset] = root.entries.try_emplace("model");
    if (is_unset) model->second = {served, text_at(served, "fork")};
    return root;
}

}  // namespace superd::conf
