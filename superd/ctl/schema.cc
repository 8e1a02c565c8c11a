// SPDX-License-Identifier: MIT
#include "ctl/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <charconv>

#include "base/signal.h"
#include "conf/listen.h"
#include "conf/schema.h"
#include "ctl/verbs.h"

namespace superd::ctl {
namespace {

using conf::Key;
using conf::Type;
using nlohmann::ordered_json;

// Only what ECMA 262 and the engines of TOML editors share: no look-around, no \d.
constexpr const char* duration_pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?$";
constexpr const char* size_pattern = "^[0-9]+[KMGT]$";
constexpr const char* rate_pattern = "^0*([1-9][0-9]{0,5}|1000000)/[smhd]$";
constexpr const char* prefix_pattern = "^[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(/[0-9]+)?$";
constexpr const char* variable_pattern = "^[A-Za-z_][A-Za-z0-9_]*$";

ordered_json matching(std::string_view pattern) {
    return {{"type", "string"}, {"pattern", pattern}};
}

/// A quantity with its unit. Only the parser says which are too large; a zero is visible in the text.
ordered_json quantity(std::string_view pattern, std::int64_t min) {
    ordered_json schema = matching(pattern);
    schema["minLength"] = 1;
    if (min > 0) schema["allOf"] = ordered_json::array({ordered_json{{"pattern", "[1-9]"}}});
    return schema;
}

ordered_json list_of(ordered_json item) {
    return {{"type", "array"}, {"items", std::move(item)}};
}

ordered_json one_or_more(const ordered_json& item) {
    return {{"anyOf", {item, list_of(item)}}};
}

ordered_json integer(std::int64_t min, std::int64_t max) {
    return {{"type", "integer"}, {"minimum", min}, {"maximum", max}};
}

ordered_json text(std::int64_t min, std::int64_t max) {
    ordered_json schema{{"type", "string"}};
    if (min > 0) schema["minLength"] = min;
    schema["maxLength"] = max;  // in characters; the parser counts bytes
    return schema;
}

ordered_json signal() {
    const std::vector<std::string> names = signal_names();
    return {{"anyOf",
             {{{"enum", names}}, matching(fmt::format("^SIG({})$", fmt::join(names, "|"))), integer(1, SIGRTMAX)}}};
}

ordered_json resource_limit(bool bytes) {
    ordered_json one{{"anyOf", {{{"type", "integer"}, {"minimum", 0}}, {{"const", "unlimited"}}}}};
    if (bytes) one["anyOf"].push_back(matching("^[0-9]+[KMGT]?$"));
    ordered_json both = list_of(one);
    both["minItems"] = both["maxItems"] = 2;
    one["anyOf"].push_back(std::move(both));
    return one;
}

ordered_json time_window() {
    const std::string day =
        "([Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt])";
    const std::string days = fmt::format("{0}(-{0})?", day);
    const std::string time = "([01][0-9]|2[0-3]):[0-5][0-9]";
    return matching(fmt::format("^({0}(,{0})* )?{1}-({1}|24:00)$", days, time));
}

/// Only how an address begins: the rest has too many forms.
ordered_json address() {
    return matching(fmt::format("^({}).", fmt::join(conf::listen_prefixes(), "|")));
}

ordered_json shape(const Key& key) {
    const auto& [type, min, max, choices] = key.shape;
    switch (type) {
        case Type::text:
            return text(min, max);
        case Type::words:
            return list_of(key.name == "pass_environment" ? matching(variable_pattern)
                                                          : ordered_json{{"type", "string"}});
        case Type::word_or_words:
            return one_or_more(key.name == "listen" ? address() : ordered_json{{"type", "string"}});
        case Type::pairs:
            return {{"type", "object"},
                    {"propertyNames", {{"pattern", variable_pattern}}},
                    {"additionalProperties", {{"type", "string"}}}};
        case Type::boolean:
            return {{"type", "boolean"}};
        case Type::flag_or_word: {
            const std::vector<std::string> words(choices.begin() + 2, choices.end());
            return {{"anyOf", {{{"type", "boolean"}}, {{"enum", words}}}}};
        }
        case Type::flag_or_words:
            return {{"anyOf", {{{"type", "boolean"}}, list_of({{"type", "string"}})}}};
        case Type::integer:
            return integer(min, max);
        case Type::duration:
        case Type::seconds:
            return quantity(duration_pattern, min);
        case Type::size:
            return quantity(size_pattern, min);
        case Type::percent:
            return matching("^0*[1-9][0-9]*%$");
        case Type::octal:  // an editor sees only the value of 0o22
            return {{"anyOf", {matching("^0*[0-7]{1,3}$"), integer(min, max)}}};
        case Type::choice:
            return {{"enum", choices}};
        case Type::signal:
            return signal();
        case Type::count_limit:
        case Type::size_limit:
            return resource_limit(type == Type::size_limit);
        case Type::number:
            return {{"type", "number"}, {"exclusiveMinimum", 0}};
        case Type::rate:
            return matching(rate_pattern);
        case Type::prefixes:
            return one_or_more(matching(prefix_pattern));
        case Type::windows:
            return one_or_more(time_window());
        case Type::tls_names: {
            ordered_json one{{"type", "object"},
                             {"additionalProperties", false},
                             {"required", {"names", "certificate", "key"}},
                             {"properties", ordered_json::object()}};
            one["properties"]["names"] = one_or_more({{"type", "string"}});
            one["properties"]["certificate"] = one["properties"]["key"] = ordered_json{{"type", "string"}};
            return list_of(std::move(one));
        }
    }
    return {};
}

ordered_json fallback(const Key& key) {
    if (key.shape.type == Type::boolean) return key.fallback == "true";
    if (key.shape.type != Type::integer) return key.fallback;
    std::int64_t number = 0;
    std::from_chars(key.fallback.data(), key.fallback.data() + key.fallback.size(), number);
    return number;
}

ordered_json property(const Key& key) {
    ordered_json schema{{"description", key.description}};
    schema.update(shape(key));
    if (!key.fallback.empty()) schema["default"] = fallback(key);
    if (!key.required) return schema;
    for (ordered_json* form : {&schema, schema.contains("anyOf") ? &schema["anyOf"][1] : nullptr}) {
        if (form != nullptr && form->value("type", "") == "array") (*form)["minItems"] = 1;
    }
    return schema;
}

ordered_json table() {
    return {{"type", "object"}, {"additionalProperties", false}, {"properties", ordered_json::object()}};
}

}  // namespace

ordered_json service_schema(bool whole) {
    ordered_json schema{{"$schema", "http://json-schema.org/draft-07/schema#"},
                        {"title", whole ? "A service of superd" : "A drop-in for a service of superd"}};
    schema.update(table());
    ordered_json required = ordered_json::array();
    for (const Key& key : conf::keys()) {
        ordered_json* place = &schema;
        if (!key.section.empty()) place = &schema["properties"].emplace(key.section, table()).first.value();
        (*place)["properties"][key.name] = property(key);
        if (key.required) required.push_back(key.full_name());
    }
    if (whole) schema["required"] = std::move(required);
    return schema;
}

void add_schema_verb(Command& command) {
    Verb verb = command.arguments.verb("schema", "print the JSON Schema of a service's file, for editors");
    auto drop_in = std::make_shared<bool>(false);
    verb.flag("--drop-in", *drop_in, "for a drop-in, in which no key is required");
    verb.act([drop_in] { fmt::print("{}\n", service_schema(!*drop_in).dump(2)); });
}

}  // namespace superd::ctl
