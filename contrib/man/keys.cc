// SPDX-License-Identifier: MIT
// keys superd.toml.5.in superd.toml.5: puts the list of a section's keys, from the parser's own table, where a line
// says "@KEYS section@" ("@KEYS@": those outside of any section). A section that the page leaves out is an error.
#include "conf/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "base/text.h"
#include "base/time.h"

namespace {

using namespace superd;
using conf::Key;
using conf::Type;

/// As text of a roff line.
std::string plain(std::string_view text) {
    std::string out = text.starts_with('.') || text.starts_with('\'') ? "\\&" : "";
    for (const char c : text) out += c == '\\' ? "\\e" : std::string(1, c);
    return out;
}

std::string between(const std::string& what, const std::string& min, const std::string& max) {
    return fmt::format("{} from {} to {}", what, min, max);
}

std::string kind(const Key& key) {
    const auto& [type, min, max, choices] = key.shape;
    switch (type) {
        case Type::text:
            return fmt::format("Text of at most {} bytes", max);
        case Type::words:
            return "An array of strings";
        case Type::word_or_words:
            return "A string or an array of strings";
        case Type::pairs:
            return "A table of strings";
        case Type::boolean:
            return "Either true or false";
        case Type::integer:
            return between("An integer", std::to_string(min), std::to_string(max));
        case Type::duration:
        case Type::seconds:
            return between(type == Type::seconds ? "A duration in whole seconds" : "A duration",
                           format_duration(Duration(min)), format_duration(Duration(max)));
        case Type::size:
            return fmt::format("A size up to {}", format_size(static_cast<std::uint64_t>(max)));
        case Type::octal:
            return fmt::format("Octal digits up to {:04o}", max);
        case Type::choice:
            return fmt::format("One of \"{}\"", fmt::join(choices, "\", \""));
        case Type::signal:
            return "A signal's name or number";
        case Type::count_limit:
            return "A number, [soft, hard] or \"unlimited\"";
        case Type::size_limit:
            return "A size or a number of bytes, [soft, hard] or \"unlimited\"";
        case Type::number:
            return "A number above 0";
        case Type::rate:
            return "A rate";
        case Type::prefixes:
            return "A prefix or an array of them";
        case Type::windows:
            return "A time of the week or an array of them";
    }
    return "";
}

std::string entry(const Key& key) {
    std::string text = fmt::format(".It Ic {}\n{}.\n{}", key.name, plain(key.description), plain(kind(key)));
    if (!key.fallback.empty()) text += fmt::format("; the default is {}", plain(key.fallback));
    text += ".\n";
    if (key.required) text += "Required.\n";
    if (key.per_service) text += "Not in [defaults].\n";
    return text;
}

std::string list(const std::string& section) {
    std::string text = ".Bl -tag -width Ds\n";
    for (const Key& key : conf::keys()) {
        if (key.section == section) text += entry(key);
    }
    return text + ".El";
}

}  // namespace

int main(int, char** argv) {
    std::ifstream in(argv[1]);
    std::ofstream out(argv[2]);
    std::set<std::string> left;
    for (const Key& key : conf::keys()) left.insert(key.section);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("@KEYS") && line.ends_with("@")) {
            const std::string section = line.size() > 6 ? line.substr(6, line.size() - 7) : "";
            if (left.erase(section) == 0) {
                fmt::print(stderr, "no keys, or twice: {}\n", line);
                return 1;
            }
            line = list(section);
        }
        out << line << '\n';
    }
    for (const std::string& section : left) fmt::print(stderr, "left out: @KEYS {}@\n", section);
    return left.empty() && out.flush() ? 0 : 1;
}
