// SPDX-License-Identifier: MIT
// NetBSD's key-values notation: KEY = VALUE…, KEY = VALUE…; over any number of lines.
#include <fmt/format.h>

#include <map>
#include <set>

#include "base/text.h"
#include "ctl/import/inetd.h"

namespace superd::ctl::inetd {

namespace {

using Values = std::vector<std::string>;

class Parser {
  public:
    Parser(Cursor& cursor, Entry& entry) : cursor_(cursor), entry_(entry) {}

    Result<void> run() {
        bool has_user = false, has_wait = false;
        for (bool more = true; more;) {
            const auto key = word_of_key();
            if (!key) return std::unexpected(key.error());
            const auto values = read_values(more);
            if (!values) return std::unexpected(values.error());
            if (!seen_.insert(*key).second) off(fmt::format("{} is given twice", *key));
            has_user = has_user || *key == "user";
            has_wait = has_wait || *key == "wait";
            set(*key, *values);
        }
        if (entry_.program.empty()) entry_.program = "internal";
        if (entry_.type.empty() && entry_.protocol.starts_with("tcp")) entry_.type = "stream";
        if (entry_.type.empty() && entry_.protocol.starts_with("udp")) entry_.type = "dgram";
        if (entry_.program == "internal") {
            entry_.wait = entry_.type == "dgram";
            has_wait = true;
        }
        if (!has_user) off("it has no user");
        if (!has_wait) off("it has no wait");
        if (entry_.protocol.empty()) off("it has no protocol");
        if (entry_.type.empty()) off("it has no socktype");
        return {};
    }

  private:
    void off(std::string why) {
        if (entry_.off.empty()) entry_.off = std::move(why);
    }

    /// Skips blanks, line ends and comments. False: the text has ended.
    bool skip() {
        for (; cursor_.at < cursor_.text.size(); ++cursor_.at) {
            const char c = cursor_.text[cursor_.at];
            if (c == '#') {
                cursor_.at = std::min(cursor_.text.find('\n', cursor_.at), cursor_.text.size());
                if (cursor_.at == cursor_.text.size()) return false;
            } else if (c != '\n' && kBlanks.find(c) == std::string_view::npos) {
                return true;
            }
            if (cursor_.text[cursor_.at] == '\n') ++cursor_.line;
        }
        return false;
    }

    Result<std::string> word_of_key() {
        if (!skip()) return fail("the file ends within a definition");
        const std::size_t start = cursor_.at;
        const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
        while (cursor_.at < cursor_.text.size() && is_letter(cursor_.text[cursor_.at])) ++cursor_.at;
        const std::string key(cursor_.text.substr(start, cursor_.at - start));
        if (!skip() || cursor_.text[cursor_.at] != '=') return fail(fmt::format("\"{}\" is not followed by =", key));
        ++cursor_.at;
        return key;
    }

    Result<Values> read_values(bool& more) {
        Values out;
        for (;;) {
            if (!skip()) return fail("the file ends within a definition");
            const char c = cursor_.text[cursor_.at];
            if (c == ',' || c == ';') {
                ++cursor_.at;
                more = c == ',';
                return out;
            }
            auto value = read_value();
            if (!value) return std::unexpected(value.error());
            if (!is_plain_text(*value)) return fail("is not UTF-8 text");
            out.push_back(std::move(*value));
        }
    }

    Result<std::string> read_value() {
        std::string out;
        for (; cursor_.at < cursor_.text.size(); ++cursor_.at) {
            const char c = cursor_.text[cursor_.at];
            if (c == ',' || c == ';' || c == '#' || c == '\n' || kBlanks.find(c) != std::string_view::npos) break;
            if (c != '"' && c != '\'') {
                out += c;
            } else if (auto done = read_quoted(c, out); !done) {
                return std::unexpected(done.error());
            }
        }
        return out;
    }

    /// Leaves the cursor on the closing quote.
    Result<void> read_quoted(char quote, std::string& out) {
        static const std::map<char, char> escapes{{'\\', '\\'}, {'n', '\n'},  {'t', '\t'},
                                                  {'r', '\r'},  {'\'', '\''}, {'"', '"'}};
        for (++cursor_.at; cursor_.at < cursor_.text.size() && cursor_.text[cursor_.at] != '\n'; ++cursor_.at) {
            const char c = cursor_.text[cursor_.at];
            if (c == quote) return {};
            if (c != '\\') {
                out += c;
                continue;
            }
            const char next = ++cursor_.at < cursor_.text.size() ? cursor_.text[cursor_.at] : '\n';
            if (const auto known = escapes.find(next); known != escapes.end()) {
                out += known->second;
            } else if (const auto byte = next == 'x' ? hexadecimal() : std::nullopt) {
                out += *byte;
            } else {
                return fail("an escape is unknown to inetd");
            }
        }
        return fail("a quote is not closed");
    }

    std::optional<char> hexadecimal() {
        const std::string_view digits = cursor_.text.substr(cursor_.at + 1, 2);
        const std::string_view known = "0123456789abcdef";
        if (digits.size() < 2) return std::nullopt;
        const std::string both = lower(digits);
        const std::size_t high = known.find(both[0]), low = known.find(both[1]);
        if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
        cursor_.at += 2;
        return static_cast<char>(high * 16 + low);
    }

    void set(const std::string& key, const Values& values) {
        static const std::map<std::string_view, std::string Entry::*> texts{
            {"socktype", &Entry::type},         {"protocol", &Entry::protocol}, {"user", &Entry::user},
            {"group", &Entry::group},           {"exec", &Entry::program},      {"sndbuf", &Entry::send_buffer},
            {"recvbuf", &Entry::receive_buffer}};
        static const std::map<std::string_view, std::optional<int> Entry::*> counts{
            {"service_max", &Entry::per_minute},
            {"ip_max", &Entry::per_source_minute},
            {"accept_max", &Entry::instances}};
        if (key == "args") {
            entry_.argv = values;
            return;
        }
        if (key == "ipsec" || key == "acceptfilter") return;
        if (values.size() != 1) return off(fmt::format("{} takes one value", key));
        if (const auto text = texts.find(key); text != texts.end()) {
            entry_.*text->second = values[0];
        } else if (const auto count = counts.find(key); count != counts.end()) {
            entry_.*count->second = count_of(values[0]);
            if (!(entry_.*count->second)) off(fmt::format("{} = {} is not a number", key, values[0]));
        } else if (key == "bind") {
            entry_.hosts = {values[0]};
        } else if (key == "wait") {
            entry_.wait = values[0] == "yes";
            if (!entry_.wait && values[0] != "no") off(fmt::format("wait = {} is neither yes nor no", values[0]));
        } else {
            off(fmt::format("\"{}\" is not an option of inetd's", key));
        }
    }

    Cursor& cursor_;
    Entry& entry_;
    std::set<std::string> seen_;
};

}  // namespace

Result<void> read_keys(Cursor& cursor, Entry& entry) {
    return Parser(cursor, entry).run();
}

}  // namespace superd::ctl::inetd
