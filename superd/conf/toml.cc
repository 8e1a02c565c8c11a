// SPDX-License-Identifier: MIT
#include "conf/toml.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>

#include "base/text.h"

namespace superd::conf::toml {

namespace {

// A longer line is left out of messages: nobody reads it, and a file may have an error at each of its words.
constexpr std::size_t longest_shown_line = 1000;
// toml++ accepts dotted names of any depth, and destroys them by a recursion that overflows the stack.
constexpr int deepest_name = 64;

Diagnostic whole_file(const Source& source, std::string message) {
    return {Place{source.file(), 0, 0, 1, {}}, std::move(message)};
}

// Skips the string that starts at `at`: """, ''', " or '. The parser itself reports what is wrong inside.
std::size_t skip_string(std::string_view text, std::size_t at, int& line) {
    const char quote = text[at];
    const bool many_lines = text.substr(at, 3) == std::string(3, quote);
    for (at += many_lines ? 3 : 1; at < text.size(); ++at) {
        if (text[at] == '\\' && quote == '"') {
            ++at;
            if (at < text.size() && text[at] == '\n') ++line;
        } else if (text[at] == '\n') {
            if (!many_lines) return at;
            ++line;
        } else if (text[at] == quote) {
            if (!many_lines) return at + 1;
            if (text.substr(at, 3) == std::string(3, quote)) return at + 3;
        }
    }
    return at;
}

/// The first line with a name of too many parts, or 0.
int find_too_deep(std::string_view text) {
    int line = 1, dots = 0;
    for (std::size_t at = 0; at < text.size();) {
        switch (text[at]) {
            case '"':
            case '\'':
                at = skip_string(text, at, line);
                continue;
            case '#':
                at = std::min(text.find('\n', at), text.size());
                continue;
            case '\n':
                ++line;
                [[fallthrough]];
            case '=':
            case ',':
            case '{':
            case '[':
                dots = 0;
                break;
            case '.':
                if (++dots > deepest_name) return line;
                break;
            default:
                break;
        }
        ++at;
    }
    return 0;
}

Spot spot_of(const Source& source, const ::toml::source_region& region) {
    Spot spot{&source, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column), 1};
    // If something is missing at the end of a line, toml++ reports it on either side of the newline.
    const int end = static_cast<int>(count_characters(source.line(spot.line))) + 1;
    spot.column = std::min(spot.column, end);
    const int last = region.end.line == region.begin.line ? std::min(static_cast<int>(region.end.column), end) : end;
    spot.length = std::max(1, last - spot.column);
    return spot;
}

Value convert(const Source& source, const ::toml::node& node) {
    Value value;
    value.spot = spot_of(source, node.source());
    switch (node.type()) {
        case ::toml::node_type::table:
            for (const auto& [key, child] : *node.as_table()) {
                value.entries.emplace(std::string(key.str()),
                                      Entry{spot_of(source, key.source()), convert(source, child)});
            }
            break;
        case ::toml::node_type::array:
            value.kind = Kind::array;
            for (const ::toml::node& child : *node.as_array()) value.items.push_back(convert(source, child));
            break;
        case ::toml::node_type::string:
            value.kind = Kind::string;
            value.text = node.as_string()->get();
            break;
        case ::toml::node_type::integer:
            value.kind = Kind::integer;
            value.integer = node.as_integer()->get();
            value.octal =
                (node.as_integer()->flags() & ::toml::value_flags::format_as_octal) != ::toml::value_flags::none;
            break;
        case ::toml::node_type::floating_point:
            value.kind = Kind::real;
            value.real = node.as_floating_point()->get();
            break;
        case ::toml::node_type::boolean:
            value.kind = Kind::boolean;
            value.boolean = node.as_boolean()->get();
            break;
        default:
            value.kind = Kind::date;
            break;
    }
    return value;
}

Diagnostic syntax_error(const Source& source, const ::toml::parse_error& error) {
    std::string_view what = error.description();
    constexpr std::string_view prefix = "Error while parsing ";
    if (what.starts_with(prefix)) what.remove_prefix(prefix.size());
    std::string message = fmt::format("not valid TOML: {}", what);
    // toml++ takes an unknown word for the beginning of one of TOML's own.
    if (what.starts_with("boolean") || what.starts_with("floating-point")) message += " (text must be in quotes)";
    return {spot_of(source, error.source()).place(), std::move(message)};
}

}  // namespace

Source::Source(std::string file, std::string text) : file_(std::move(file)), text_(std::move(text)) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);  // a byte order mark has no column
    for (std::string_view line : split(text_, '\n')) {
        if (line.ends_with('\r')) line.remove_suffix(1);
        lines_.push_back(line);
    }
}

std::string_view Source::line(int number) const {
    const auto index = static_cast<std::size_t>(number) - 1;
    return index < lines_.size() ? lines_[index] : std::string_view();
}

Place Spot::place() const {
    Place place;
    if (source == nullptr) return place;
    place = {source->file(), line, column, length, {}};
    if (const std::string_view text = source->line(line); line > 0 && text.size() <= longest_shown_line) {
        place.source = text;
    }
    return place;
}

const char* name_of(Kind kind) {
    switch (kind) {
        case Kind::table:
            return "a table";
        case Kind::array:
            return "an array";
        case Kind::string:
            return "a string";
        case Kind::integer:
            return "an integer";
        case Kind::real:
            return "a fraction";
        case Kind::boolean:
            return "true or false";
        case Kind::date:
            return "a date or time";
    }
    return "";
}

const Value* Value::find(std::string_view name) const {
    const auto found = entries.find(name);
    return found != entries.end() ? &found->second.value : nullptr;
}

std::expected<Value, Diagnostic> parse(const Source& source) {
    const std::string& text = source.text();
    const auto line_of = [&](std::size_t at) {
        return 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    };
    if (const std::size_t at = text.find('\0'); at != std::string::npos) {
        return std::unexpected(whole_file(source, fmt::format("is not text: a NUL byte in line {}", line_of(at))));
    }
    if (const auto at = find_invalid_utf8(text)) {
        return std::unexpected(whole_file(source, fmt::format("is not UTF-8: byte 0x{:02x} in line {}",
                                                              static_cast<unsigned char>(text[*at]), line_of(*at))));
    }
    if (const int line = find_too_deep(text); line != 0) {
        const Spot spot{&source, line, 1, 1};
        return std::unexpected(Diagnostic{spot.place(), fmt::format("a name of more than {} parts", deepest_name)});
    }
    // The shared library is built with exceptions: only here does superd meet one.
    try {
        return convert(source, ::toml::parse(std::string_view(text)));
    } catch (const ::toml::parse_error& error) {
        return std::unexpected(syntax_error(source, error));
    }
}

void merge(Value& base, Value over) {
    if (base.kind != Kind::table || over.kind != Kind::table) {
        base = std::move(over);
        return;
    }
    while (!over.entries.empty()) {
        auto entry = over.entries.extract(over.entries.begin());
        const auto at = base.entries.find(entry.key());
        if (at == base.entries.end()) {
            base.entries.insert(std::move(entry));
            continue;
        }
        at->second.key = entry.mapped().key;
        merge(at->second.value, std::move(entry.mapped().value));
    }
}

}  // namespace superd::conf::toml
