// SPDX-License-Identifier: MIT
// Rules of tcprules(1) and ipsvd(7): by address; the longest match decides.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "ctl/import/command.h"

namespace superd::ctl::command {

namespace {

std::uint32_t word_at(std::string_view data, std::size_t at) {
    std::uint32_t out = 0;
    for (std::size_t i = 4; i-- > 0;) out = out << 8 | static_cast<unsigned char>(data[at + i]);
    return out;
}

/// "10.1." and "10.1", "10.1.2.3", and "" and "0" for everybody; nullopt: it is a name.
std::optional<std::vector<sys::Prefix>> prefixes_of(std::string_view key) {
    if (key.empty() || key == "0") return everybody();
    if (key.ends_with('.')) key.remove_suffix(1);
    if (const auto whole = sys::parse_prefix(key)) return std::vector{*whole};
    const auto parts = split(key, '.');
    std::string address;
    for (const std::string_view part : parts) {
        if (!all_digits(part)) return std::nullopt;
        address += fmt::format("{}{}", address.empty() ? "" : ".", part);
    }
    for (std::size_t i = parts.size(); i < 4; ++i) address += ".0";
    const auto prefix = sys::parse_prefix(fmt::format("{}/{}", address, 8 * parts.size()));
    return prefix ? std::optional(std::vector{*prefix}) : std::nullopt;
}

void add(AccessList& list, std::string_view key, bool in) {
    if (const auto prefixes = prefixes_of(key)) return list.add(*prefixes, in);
    (in ? list.lost_in : list.lost_out).emplace_back(key);
}

/// "1.2.3.37-53:deny": the last number may be a range.
void add_range(AccessList& list, std::string_view key, bool in) {
    const std::size_t dash = key.find('-'), dot = key.rfind('.', dash);
    int from = 0, to = 0;
    if (dash == std::string_view::npos || key.find_first_not_of("0123456789.-") != std::string_view::npos)
        return add(list, key, in);
    const std::size_t start = dot == std::string_view::npos ? 0 : dot + 1;
    std::from_chars(key.data() + start, key.data() + dash, from);
    std::from_chars(key.data() + dash + 1, key.data() + key.size(), to);
    const std::string_view rest = key.ends_with('.') ? "." : "";
    for (int number = from; number <= std::min(to, 255); ++number)
        add(list, fmt::format("{}{}{}", key.substr(0, start), number, rest), in);
}

void read_rules(AccessList& list, std::string_view text) {
    for (const std::string_view raw : split(text, '\n')) {
        const std::string_view line = trimmed(raw);
        const std::size_t colon = line.find(':');
        if (line.starts_with('#') || colon == std::string_view::npos) continue;
        add_range(list, line.substr(0, colon), !line.substr(colon + 1).starts_with("deny"));
    }
}

/// A constant database: 256 table positions, then the records up to the first table. nullopt: the file is not one.
std::optional<std::vector<std::pair<std::string, std::string>>> records_of(std::string_view data) {
    constexpr std::size_t header = 2048;
    if (data.size() < header) return std::nullopt;
    std::size_t end = data.size();
    for (std::size_t at = 0; at < header; at += 8) end = std::min<std::size_t>(end, word_at(data, at));
    std::vector<std::pair<std::string, std::string>> out;
    if (end < header) return std::nullopt;
    for (std::size_t at = header; at < end;) {
        if (end - at < 8) return std::nullopt;
        const std::size_t key = word_at(data, at), value = word_at(data, at + 4);
        at += 8;
        if (key > end - at || value > end - at - key) return std::nullopt;
        out.emplace_back(data.substr(at, key), data.substr(at + key, value));
        at += key + value;
    }
    return out;
}

AccessList named(const std::string& path) {
    AccessList list;
    list.name = path;
    list.at = {path, 0};
    return list;
}

}  // namespace

AccessList rules_of_cdb(const std::string& path, const std::string& content, bool ipsvd) {
    AccessList list = named(path);
    const auto records = records_of(content);
    if (!records) read_rules(list, content);
    for (const auto& [key, value] : records.value_or(std::vector<std::pair<std::string, std::string>>{})) {
        // ipsvd: Deny, eXecute another program, Instructions.
        const bool other = ipsvd && value.starts_with('X');
        if (other) {
            list.lost_out.push_back(fmt::format("{} (another program)", key));
        } else {
            add(list, key, !value.starts_with('D'));
        }
    }
    list.by_length();
    return list;
}

AccessList rules_of_folder(const Machine& machine, const std::string& path) {
    AccessList list = named(path);
    const auto names = machine.list(path);
    if (!names) list.lost_out.push_back(names.error().text);
    for (const std::string& name : names.value_or(std::vector<std::string>{})) {
        const unsigned mode = machine.mode(fmt::format("{}/{}", path, name)).value_or(0);
        if ((mode & 0100) != 0) {
            list.lost_out.push_back(fmt::format("{} (another program)", name));
        } else {
            add(list, name, (mode & 0400) != 0);
        }
    }
    list.by_length();
    return list;
}

}  // namespace superd::ctl::command
