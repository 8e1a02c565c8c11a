// SPDX-License-Identifier: MIT
// Prints the parser's own table of keys for people.
//   superd-keys manual superd.toml.5.in superd.toml.5: replaces each line "@KEYS section@" with the list of that
//     section's keys ("@KEYS@": the keys outside any section). A section that the page omits is an error.
#include "conf/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <vector>

#include "base/text.h"
#include "base/time.h"

namespace {

using namespace superd;
using conf::Key;
using conf::Type;

/// Escapes text for a roff line.
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
        case Type::flag_or_word:
            return fmt::format("One of false, true, \"{}\"", fmt::join(choices.begin() + 2, choices.end(), "\", \""));
        case Type::flag_or_words:
            return "Either true, false or an array of strings";
        case Type::integer:
            return between("An integer", std::to_string(min), std::to_string(max));
        case Type::duration:
        case Type::seconds:
            return between(type == Type::seconds ? "A duration in whole seconds" : "A duration",
                           format_duration(Duration(min)), format_duration(Duration(max)));
        case Type::size:
            return fmt::format("A size up to {}", format_size(static_cast<std::uint64_t>(max)));
        case Type::percent:
            return fmt::format("A percentage from {}% to {}%", min, max);
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
        case Type::tls_names:
            return "An array of tables with names, certificate and key: [[tls.name]]";
    }
    return "";
}

/// "server, server_args (xinetd); ExecStart (systemd)"
std::string counterparts(const Key& key) {
    std::string text;
    for (const char* whose : {"xinetd", "systemd"}) {
        std::vector<std::string> names;
        for (const conf::Counterpart& one : key.elsewhere) {
            if ((one.where == conf::Elsewhere::xinetd) == (std::string_view(whose) == "xinetd"))
                names.push_back(one.name);
        }
        if (names.empty()) continue;
        text += fmt::format("{}{} ({})", text.empty() ? "" : "; ", fmt::join(names, ", "), whose);
    }
    return text;
}

std::string entry(const Key& key) {
    std::string text = fmt::format(".It Ic {}\n{}.\n{}", key.name, plain(key.description), plain(kind(key)));
    if (!key.fallback.empty()) text += fmt::format("; the default is {}", plain(key.fallback));
    text += ".\n";
    if (key.required) text += "Required.\n";
    if (key.per_service) text += "Not in [defaults].\n";
    if (!key.elsewhere.empty()) text += fmt::format("Elsewhere: {}.\n", counterparts(key));
    return text;
}

std::string list(const std::string& section) {
    std::string text = ".Bl -tag -width Ds\n";
    for (const Key& key : conf::keys()) {
        if (key.section == section) text += entry(key);
    }
    return text + ".El";
}

int write_manual(const char* from, const char* to) {
    std::ifstream in(from);
    std::ofstream out(to);
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

}  // namespace

int main(int count, char** words) {
    const std::string_view mode = count > 1 ? words[1] : "";
    if (mode == "manual" && count == 4) return write_manual(words[2], words[3]);
    fmt::print(stderr, "usage: superd-keys manual IN OUT\n");
    return 2;
}
