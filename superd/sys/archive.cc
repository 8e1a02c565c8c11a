// SPDX-License-Identifier: MIT
#include "sys/archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace superd::sys {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 64;

/// Paths, arguments and datagrams may hold any bytes, JSON only UTF-8: each byte becomes the code point of its number.
void append_wide(std::string& out, std::string_view bytes) {
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            out += c;
        } else {
            out += static_cast<char>(0xc0 | (byte >> 6));
            out += static_cast<char>(0x80 | (byte & 0x3f));
        }
    }
}

void append_quoted(std::string& out, std::string_view bytes) {
    out += '"';
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20) {
            out += fmt::format("\\u{:04x}", byte);
        } else {
            if (c == '"' || c == '\\') out += '\\';
            append_wide(out, {&c, 1});
        }
    }
    out += '"';
}

/// Asked before the text is read, since a parser that asks for each value looks at all that an object has by then.
bool is_deep(std::string_view text) {
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted && c == '\\')
            ++i;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > kDeepest)
            return true;
        else if (!quoted && (c == '}' || c == ']'))
            --depth;
    }
    return false;
}

/// nullopt: a code point that is no byte.
std::optional<std::string> narrow(const std::string& text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x80) {
            out += text[i];
            continue;
        }
        if (byte > 0xc3 || i + 1 == text.size()) return std::nullopt;
        out += static_cast<char>((byte << 6) | (static_cast<unsigned char>(text[++i]) & 0x3f));
    }
    return out;
}

}  // namespace

struct Archive::Text {
    std::string out;
    std::string fault;
    bool comma = false;  ///< before the next item

    Json root;
    const Positions* positions = nullptr;
    struct Step {
        const Json* at;
        std::string_view name;
        std::size_t index;
    };
    std::vector<Step> way;
    const Json& here() const { return way.empty() ? root : *way.back().at; }

    std::map<std::string, std::string, std::less<>> described;

    void separate() {
        if (comma) out += ',';
        comma = false;
    }
};

Archive::Archive(Mode mode) : mode_(mode), text_(std::make_unique<Text>()) {}
Archive::Archive() : Archive(Mode::write) {}
Archive Archive::describing() {
    return Archive(Mode::describe);
}
Archive::Archive(Archive&&) noexcept = default;
Archive::~Archive() = default;

Archive::Archive(std::string_view text) : Archive(Mode::read) {
    if (!is_deep(text)) text_->root = Json::parse(text, nullptr, false);
    if (text_->root.is_discarded() || text_->root.is_null()) refuse("not the text of an archive");
}

void Archive::read_by(const Positions& positions) {
    text_->positions = &positions;
}

const std::string& Archive::fault() const {
    return text_->fault;
}

void Archive::refuse(std::string_view why) {
    if (!text_->fault.empty()) return;
    std::string where;
    for (const Text::Step& step : text_->way) {
        if (step.name.empty())
            where += fmt::format("[{}]", step.index);
        else
            where += fmt::format("{}{}", where.empty() ? "" : ".", step.name);
    }
    text_->fault = fmt::format("{}{}{}", where, where.empty() ? "" : ": ", why);
}

std::string Archive::text() && {
    return std::move(text_->out);
}

std::string Archive::description() const {
    std::string all;
    for (const auto& [type, its_fields] : text_->described) all += type + "\n" + its_fields;
    return all;
}

std::string_view Archive::next_name(std::string_view& names) {
    const auto end = std::min(names.find(','), names.size());
    std::string_view name = names.substr(0, end);
    names.remove_prefix(std::min(end + 1, names.size()));
    while (name.starts_with(' ')) name.remove_prefix(1);
    if (name.ends_with('_')) name.remove_suffix(1);
    return name;
}

bool Archive::begin_struct(std::string_view type) {
    if (mode_ == Mode::describe) {
        text_->out += type;
        // Its own description begins once, and interrupts the one that names it.
        return text_->described.try_emplace(std::string(type)).second;
    }
    if (mode_ == Mode::write) {
        text_->separate();
        text_->out += '{';
        return true;
    }
    if (!text_->fault.empty()) return false;
    const Json& here = text_->here();
    if (text_->positions != nullptr && here.is_array()) {
        const auto size = text_->positions->fields(type);
        if (!size || here.size() != *size) {
            refuse(fmt::format("not the fields of {}", type));
            return false;
        }
    } else if (!here.is_object()) {
        refuse(fmt::format("no {}", type));
        return false;
    }
    return true;
}

void Archive::end_struct() {
    if (mode_ != Mode::write) return;
    text_->out += '}';
    text_->comma = true;
}

bool Archive::begin_field(std::string_view type, std::string_view name) {
    Text& text = *text_;
    if (mode_ == Mode::describe) {
        text.way.push_back({nullptr, type, text.out.size()});
        text.out += fmt::format("  {}: ", name);
        return true;
    }
    if (mode_ == Mode::write) {
        text.separate();
        text.out += fmt::format("\"{}\":", name);
        return true;
    }
    if (!text.fault.empty()) return false;
    const Json& here = text.here();
    const Json* at = nullptr;
    if (here.is_array()) {
        const int place = text.positions->of(type, name);
        if (place == Positions::kNone) return false;
        at = place == Positions::kSame ? &here : &here[static_cast<std::size_t>(place)];
    } else {
        const auto found = here.find(std::string(name));
        if (found == here.end()) return false;
        at = &*found;
    }
    text.way.push_back({at, name, 0});
    return true;
}

void Archive::end_field() {
    Text& text = *text_;
    if (mode_ == Mode::write) {
        text.comma = true;
        return;
    }
    if (mode_ == Mode::describe) {
        if (text.way.back().name.empty()) return text.way.pop_back();  // of a list
        const auto [at, type, from] = text.way.back();
        text.described.find(type)->second += text.out.substr(from) + "\n";
        text.out.resize(from);
    }
    text.way.pop_back();
}

std::size_t Archive::begin_list(std::size_t size) {
    Text& text = *text_;
    if (mode_ == Mode::describe) {
        text.out += '[';
        return 1;
    }
    if (mode_ == Mode::write) {
        text.separate();
        text.out += '[';
        return size;
    }
    if (!text.fault.empty()) return 0;
    if (text.here().is_array()) return text.here().size();
    refuse("no list");
    return 0;
}

void Archive::begin_item(std::size_t index) {
    Text& text = *text_;
    if (mode_ == Mode::write) return text.separate();
    const Json* const at = mode_ == Mode::read && text.fault.empty() ? &text.here()[index] : &text.root;
    text.way.push_back({at, {}, index});
}

void Archive::end_list() {
    if (mode_ == Mode::read) return;
    text_->out += ']';
    text_->comma = mode_ == Mode::write;
}

std::vector<std::string> Archive::keys() {
    std::vector<std::string> all;
    if (!text_->fault.empty() || !text_->here().is_object()) return all;
    for (const auto& [wide, value] : text_->here().items()) {
        auto name = narrow(wide);
        if (!name) {
            refuse("a character that is no byte");
            return {};
        }
        all.push_back(std::move(*name));
    }
    return all;
}

void Archive::begin_map() {
    if (mode_ == Mode::read) {
        if (text_->fault.empty() && !text_->here().is_object()) refuse("no map");
        return;
    }
    text_->separate();
    text_->out += '{';
}

bool Archive::begin_key(const std::string& key) {
    Text& text = *text_;
    if (mode_ == Mode::describe) return true;
    if (mode_ == Mode::write) {
        text.separate();
        append_quoted(text.out, key);
        text.out += ':';
        return true;
    }
    if (!text.fault.empty()) return false;
    std::string wide;
    append_wide(wide, key);
    text.way.push_back({&*text.here().find(wide), key, 0});
    return true;
}

void Archive::end_key() {
    if (mode_ == Mode::read) text_->way.pop_back();
    text_->comma = mode_ == Mode::write;
}

void Archive::end_map() {
    if (mode_ == Mode::read) return;
    text_->out += '}';
    text_->comma = mode_ == Mode::write;
}

bool Archive::is_list() {
    return text_->fault.empty() && text_->here().is_array();
}

bool Archive::is_null() {
    return !text_->fault.empty() || text_->here().is_null();
}

void Archive::null() {
    if (mode_ == Mode::write) text_->out += "null";
}

void Archive::boolean(bool& value) {
    if (mode_ == Mode::describe) return describe("bool");
    if (mode_ == Mode::write) {
        text_->out += value ? "true" : "false";
    } else if (text_->fault.empty()) {
        if (!text_->here().is_boolean()) return refuse("neither true nor false");
        value = text_->here().get<bool>();
    }
}

void Archive::number(std::int64_t& value, std::int64_t least, std::int64_t most) {
    if (mode_ == Mode::describe) return describe(least == 0 ? fmt::format("0..{}", most) : fmt::format("to {}", most));
    if (mode_ == Mode::write) {
        text_->out += fmt::format("{}", value);
    } else if (text_->fault.empty()) {
        const Json& here = text_->here();
        const bool fits = here.is_number_integer() &&
                          (!here.is_number_unsigned() || std::in_range<std::int64_t>(here.get<std::uint64_t>()));
        const auto read = fits ? here.get<std::int64_t>() : 0;
        if (!fits || read < least || read > most) return refuse("no whole number in range");
        value = read;
    }
}

void Archive::natural(std::uint64_t& value, std::uint64_t most) {
    if (mode_ == Mode::describe) return describe(fmt::format("0..{}", most));
    if (mode_ == Mode::write) {
        text_->out += fmt::format("{}", value);
    } else if (text_->fault.empty()) {
        const Json& here = text_->here();
        if (!here.is_number_unsigned() || here.get<std::uint64_t>() > most) return refuse("no natural number in range");
        value = here.get<std::uint64_t>();
    }
}

void Archive::bytes(std::string& value) {
    if (mode_ == Mode::describe) return describe("bytes");
    if (mode_ == Mode::write) return append_quoted(text_->out, value);
    if (!text_->fault.empty()) return;
    if (!text_->here().is_string()) return refuse("no text");
    auto read = narrow(text_->here().get_ref<const std::string&>());
    if (!read) return refuse("a character that is no byte");
    value = std::move(*read);
}

void Archive::record(Record& value) {
    if (mode_ == Mode::describe) return describe("record");
    if (mode_ == Mode::write)
        text_->out += value.text;
    else if (text_->fault.empty())
        value.text = text_->here().dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Archive::describe(std::string_view text) {
    text_->out += text;
}

void Archive::pass_value(Address& value) {
    std::string of_it(reinterpret_cast<const char*>(value.data()), value.size());
    bytes(of_it);
    if (mode_ != Mode::read || !text_->fault.empty()) return;
    if (of_it.size() > sizeof(sockaddr_storage)) return refuse("no address");
    sockaddr_storage storage{};
    of_it.copy(reinterpret_cast<char*>(&storage), of_it.size());
    value = {reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(of_it.size())};
}

void Archive::pass_value(Histogram& value) {
    Histogram::Counts counts = value.counts();
    Duration sum = value.sum();
    fields("Histogram", "counts, sum", counts, sum);
    value = {counts, sum};
}

}  // namespace superd::sys
