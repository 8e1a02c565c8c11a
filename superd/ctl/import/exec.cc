// SPDX-License-Identifier: MIT
// systemd's command lines: quotes, escapes, specifiers, variables.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "ctl/import/unit.h"

namespace superd::ctl::unit {

namespace {

constexpr std::string_view blanks = " \t\r\n\f\v";

bool is_word(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xc0 | (code >> 6));
        out += static_cast<char>(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        out += static_cast<char>(0xe0 | (code >> 12));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
        out += static_cast<char>(0x80 | (code & 0x3f));
    } else {
        out += static_cast<char>(0xf0 | (code >> 18));
        out += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
        out += static_cast<char>(0x80 | (code & 0x3f));
    }
}

/// The character for the escape at `at`; leaves `at` on its last character. An unknown escape stays as it is.
void unescape(std::string_view text, std::size_t& at, std::string& out) {
    constexpr std::string_view names = "abfnrtvs\\\"'", values = "\a\b\f\n\r\t\v \\\"'";
    const char c = text[at];
    if (const std::size_t known = names.find(c); known != std::string_view::npos) {
        out += values[known];
        return;
    }
    const std::size_t length = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0;
    const unsigned base = length == 3 ? 8 : 16;
    const std::string_view digits = text.substr(at + (length == 3 ? 0 : 1), length);
    unsigned code = 0;
    bool sound = length > 0 && digits.size() == length;
    for (const char digit : digits) {
        const unsigned value = digit >= '0' && digit <= '9'   ? static_cast<unsigned>(digit - '0')
                               : digit >= 'a' && digit <= 'f' ? static_cast<unsigned>(digit - 'a') + 10
                               : digit >= 'A' && digit <= 'F' ? static_cast<unsigned>(digit - 'A') + 10
                                                              : base;
        sound = sound && value < base;
        code = code * base + value;
    }
    if (!sound || code > 0x10ffff) {
        out += '\\';
        out += c;
        return;
    }
    if (c == 'u' || c == 'U') {
        append_utf8(out, code);
    } else {
        out += static_cast<char>(code & 0xff);
    }
    at += length == 3 ? 2 : length;
}

/// A variable's name at the start of `text`: NAME or {NAME}. Its length including braces, 0 if there is none.
std::size_t variable_at(std::string_view text, std::string& name) {
    const bool braced = text.starts_with('{');
    const std::string_view rest = text.substr(braced ? 1 : 0);
    const auto end = static_cast<std::size_t>(std::ranges::find_if_not(rest, is_word) - rest.begin());
    if (end == 0 || (braced && (end == rest.size() || rest[end] != '}'))) return 0;
    name = rest.substr(0, end);
    return braced ? end + 2 : end;
}

class Expansion {
  public:
    Expansion(const std::map<std::string, std::string>& environment, Command& command)
        : environment_(environment), command_(command) {}

    void add(const std::string& word) {
        std::string name;
        // As a whole word without braces, it becomes as many words as its value has.
        if (word.size() > 1 && word[0] == '$' && word[1] != '{' &&
            variable_at(std::string_view(word).substr(1), name) == word.size() - 1) {
            const std::string value = value_of(name);
            for (std::size_t at = value.find_first_not_of(blanks); at != std::string::npos;) {
                const std::size_t end = std::min(value.find_first_of(blanks, at), value.size());
                command_.argv.push_back(value.substr(at, end - at));
                at = value.find_first_not_of(blanks, end);
            }
            return;
        }
        std::string out;
        for (std::size_t at = 0; at < word.size(); ++at) {
            const std::string_view rest = std::string_view(word).substr(at + 1);
            if (word[at] != '$') {
                out += word[at];
            } else if (rest.starts_with('$')) {
                out += '$';
                ++at;
            } else if (const std::size_t length = rest.starts_with('{') ? variable_at(rest, name) : 0; length > 0) {
                out += value_of(name);
                at += length;
            } else {
                out += '$';
            }
        }
        command_.argv.push_back(out);
    }

  private:
    std::string value_of(const std::string& name) {
        const auto found = environment_.find(name);
        if (found != environment_.end()) return found->second;
        if (std::ranges::find(command_.unset, name) == command_.unset.end()) command_.unset.push_back(name);
        return "";
    }

    const std::map<std::string, std::string>& environment_;
    Command& command_;
};

}  // namespace

std::optional<std::vector<std::string>> words_of(std::string_view text) {
    std::vector<std::string> out;
    std::string word;
    bool inside = false;
    char quote = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        if (c == '\\' && at + 1 < text.size()) {
            inside = true;
            unescape(text, ++at, word);
        } else if (quote != 0) {
            if (c == quote) {
                quote = 0;
            } else {
                word += c;
            }
        } else if (c == '"' || c == '\'') {
            quote = c;
            inside = true;
        } else if (blanks.find(c) != std::string_view::npos) {
            if (inside) out.push_back(std::move(word));
            word.clear();
            inside = false;
        } else {
            word += c;
            inside = true;
        }
    }
    if (quote != 0) return std::nullopt;
    if (inside) out.push_back(std::move(word));
    return out;
}

Result<Command> command_of(std::string_view text, const Specifiers& specifiers,
                           const std::map<std::string, std::string>& environment) {
    Command out;
    bool replace = true, named = false;
    constexpr std::string_view prefixes = "-@:+!";
    for (; !text.empty() && prefixes.find(text[0]) != std::string_view::npos; text.remove_prefix(1)) {
        if (text[0] == '@') named = true;
        if (text[0] == ':') replace = false;
        // "!!" is "!" only where the kernel has no ambient capabilities; today every kernel has them.
        if (text.starts_with("!!")) {
            text.remove_prefix(1);
        } else if (text[0] == '+' || text[0] == '!') {
            out.full_privileges = true;
        }
    }
    const auto words = words_of(text);
    if (!words) return fail("a quote is not closed");
    if (words->empty()) return fail("has no program");
    Expansion expansion(environment, out);
    for (const std::string& word : *words) {
        if (word == ";") {
            out.more = true;
            break;
        }
        const auto expanded = specifiers.expand(word == "\\;" ? ";" : word);
        if (!expanded) return fail(fmt::format("\"{}\" has a specifier that superd cannot give a value", word));
        if (!is_plain_text(*expanded)) return fail("is not UTF-8 text");
        if (&word == &words->front()) {
            out.program = *expanded;
        } else if (replace) {
            expansion.add(*expanded);
        } else {
            out.argv.push_back(*expanded);
        }
    }
    if (out.program.empty()) return fail("has no program");
    if (named && out.argv.empty()) return fail("has no name after \"@\" and the program");
    if (!named) out.argv.insert(out.argv.begin(), out.program);
    return out;
}

}  // namespace superd::ctl::unit
