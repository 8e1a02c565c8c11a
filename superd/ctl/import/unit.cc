// SPDX-License-Identifier: MIT
#include "ctl/import/unit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"

namespace superd::ctl::unit {

namespace {

void parse(const Units::File& file, std::vector<Assignment>& out, Notes& notes) {
    std::string section, whole;
    Origin at{file.path, 0};
    int number = 0;
    const auto statement = [&](std::string_view line) {
        if (line.empty()) return;
        const std::size_t equals = line.find('=');
        if (!is_plain_text(line)) {
            notes.push_back({at, "", Fate::error, "is not UTF-8 text: left out"});
        } else if (line.starts_with('[') && line.ends_with(']')) {
            section = line.substr(1, line.size() - 2);
        } else if (equals == std::string_view::npos || equals == 0) {
            notes.push_back(
                {at, "", Fate::error, fmt::format("\"{}\" is neither [SECTION] nor KEY=VALUE: left out", line)});
        } else {
            out.push_back({section, std::string(trimmed(line.substr(0, equals))),
                           std::string(trimmed(line.substr(equals + 1))), at});
        }
    };
    for (const std::string_view raw : split(file.text, '\n')) {
        ++number;
        std::string_view line = trimmed(raw);
        // Comments may come between the lines of one value.
        if (line.starts_with('#') || line.starts_with(';')) continue;
        if (whole.empty()) at.line = number;
        const bool goes_on = line.ends_with('\\');
        if (goes_on) line.remove_suffix(1);
        whole += line;
        if (goes_on) {
            whole += ' ';
            continue;
        }
        statement(trimmed(whole));
        whole.clear();
    }
    statement(trimmed(whole));
}

/// systemd-escape(1): - is a slash, \x2d a byte.
std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        unsigned byte = 0;
        const std::string_view digits = text.substr(std::min(at + 2, text.size()), 2);
        if (text.substr(at).starts_with("\\x") && digits.size() == 2 &&
            std::from_chars(digits.data(), digits.data() + 2, byte, 16).ptr == digits.data() + 2) {
            out += static_cast<char>(byte);
            at += 3;
        } else {
            out += text[at] == '-' ? '/' : text[at];
        }
    }
    return out;
}

}  // namespace

Unit::Unit(const Units& units, const std::string& name, Notes& notes) {
    const std::string file = units.find(name);
    if (const auto found = units.files.find(file); found != units.files.end())
        parse(found->second, assignments_, notes);
    std::vector<std::string> folders{name};
    if (template_of(name) != name) folders.insert(folders.begin(), template_of(name));
    for (const std::string& folder : folders) {
        const auto found = units.drop_ins.find(folder);
        if (found == units.drop_ins.end()) continue;
        for (const Units::File& drop_in : found->second) parse(drop_in, assignments_, notes);
    }
}

const Assignment* Unit::last(std::string_view section, std::string_view key) const {
    const auto all_of = all(section, key);
    return all_of.empty() ? nullptr : all_of.back();
}

std::vector<const Assignment*> Unit::all(std::string_view section, std::string_view key) const {
    std::vector<const Assignment*> out;
    for (const Assignment& one : assignments_) {
        if (one.section != section || one.key != key) continue;
        if (one.value.empty()) {
            out.clear();
        } else {
            out.push_back(&one);
        }
    }
    return out;
}

std::string template_of(const std::string& name) {
    const std::size_t at = name.find('@'), dot = name.rfind('.');
    return at == std::string::npos || dot == std::string::npos || dot < at ? name
                                                                           : name.substr(0, at + 1) + name.substr(dot);
}

std::optional<bool> boolean(std::string_view text) {
    std::string word(text);
    std::ranges::transform(word, word.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    for (const char* yes : {"1", "yes", "y", "true", "t", "on"}) {
        if (word == yes) return true;
    }
    for (const char* no : {"0", "no", "n", "false", "f", "off"}) {
        if (word == no) return false;
    }
    return std::nullopt;
}

std::optional<Duration> time_span(std::string_view text) {
    using namespace std::chrono_literals;
    static const std::map<std::string_view, Duration> units{
        {"", 1s},          {"s", 1s},     {"sec", 1s},    {"second", 1s},    {"seconds", 1s},   {"us", 1us},
        {"usec", 1us},     {"ms", 1ms},   {"msec", 1ms},  {"m", 1min},       {"min", 1min},     {"minute", 1min},
        {"minutes", 1min}, {"h", 1h},     {"hr", 1h},     {"hour", 1h},      {"hours", 1h},     {"d", 24h},
        {"day", 24h},      {"days", 24h}, {"w", 24h * 7}, {"week", 24h * 7}, {"weeks", 24h * 7}};
    constexpr Duration most = 24h * 1000;
    Duration out{0};
    text = trimmed(text);
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
        if (digits == 0 || digits > 12) return std::nullopt;
        const auto number = parse_size(text.substr(0, digits));
        text = trimmed(text.substr(digits));
        const std::size_t end = std::min(text.find_first_of(" \t0123456789"), text.size());
        const auto unit = units.find(text.substr(0, end));
        if (!number || unit == units.end()) return std::nullopt;
        if (*number > static_cast<std::uint64_t>(most / unit->second)) return std::nullopt;
        out += unit->second * static_cast<Duration::rep>(*number);
        if (out > most) return std::nullopt;
        text = trimmed(text.substr(end));
    }
    return out;
}

Specifiers::Specifiers(const std::string& unit_name) {
    const std::size_t dot = std::min(unit_name.rfind('.'), unit_name.size());
    const std::string stem = unit_name.substr(0, dot);
    const std::size_t at = std::min(stem.find('@'), stem.size());
    const std::string prefix = stem.substr(0, at);
    const auto last_part = [](const std::string& name) { return name.substr(name.rfind('-') + 1); };
    values_ = {{'%', "%"},
               {'n', unit_name},
               {'N', stem},
               {'p', prefix},
               {'P', unescaped(prefix)},
               {'t', "/run"},
               {'S', "/var/lib"},
               {'C', "/var/cache"},
               {'L', "/var/log"},
               {'E', "/etc"},
               {'T', "/tmp"},
               {'V', "/var/tmp"},
               {'h', "/root"},
               {'u', "root"},
               {'U', "0"},
               {'g', "root"},
               {'G', "0"},
               {'s', "/bin/sh"},
               {'j', last_part(prefix)},
               {'J', unescaped(last_part(prefix))}};
    // A template's instance has a fixed name; a connection's instance has a new name each time.
    if (at + 1 < stem.size()) {
        values_['i'] = stem.substr(at + 1);
        values_['I'] = unescaped(values_['i']);
    }
}

std::optional<std::string> Specifiers::expand(std::string_view text) const {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '%') {
            out += text[at];
            continue;
        }
        constexpr std::string_view known = "aAbBcCdDEfgGhHiIjJlLmMnNopPqsStTuUvVwW%";
        const auto found = at + 1 < text.size() ? values_.find(text[at + 1]) : values_.end();
        if (found != values_.end()) {
            out += found->second;
            ++at;
        } else if (at + 1 < text.size() && known.find(text[at + 1]) != std::string_view::npos) {
            return std::nullopt;
        } else {
            out += '%';  // not a specifier: stays as it is
        }
    }
    return out;
}

Result<std::string> listen_uri(std::string_view key, std::string_view value, bool ipv6_only) {
    const bool stream = key == "ListenStream", datagram = key == "ListenDatagram";
    if (value.starts_with('/') || value.starts_with('@')) {
        return fmt::format("unix{}://{}", stream ? "" : datagram ? "-dgram" : "-seqpacket", value);
    }
    constexpr std::string_view vsock = "vsock:";
    if (value.starts_with(vsock) && stream) {
        value.remove_prefix(vsock.size());
        return fmt::format("vsock://{}{}", value.starts_with(':') ? "*" : "", value);
    }
    if (!stream && !datagram) return fail("superd serves seqpacket only on unix sockets");
    const char* protocol = stream ? "tcp" : "udp";
    if (!value.empty() && all_digits(value)) return inet_uri(protocol, ipv6_only ? "::" : "*", value);
    const std::size_t colon = value.rfind(':');
    if (colon == std::string_view::npos) return fail("superd does not support such sockets");
    std::string_view host = value.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (!is_address(host)) return fail("superd does not support such sockets");
    // systemd.socket(5): "[x]:y%dev".
    std::string zoned(host);
    std::string_view port = value.substr(colon + 1);
    if (const std::size_t percent = port.find('%'); percent != std::string_view::npos) {
        if (zoned.find(':') == std::string::npos || zoned.find('%') != std::string::npos)
            return fail("superd does not support such sockets");
        zoned += port.substr(percent);
        port = port.substr(0, percent);
    }
    // systemd.socket(5): the IPv6 wildcard also takes IPv4 unless told otherwise.
    if (zoned == "::" && !ipv6_only) zoned = "*";
    return inet_uri(protocol, zoned, port);
}

}  // namespace superd::ctl::unit

namespace superd::ctl {

std::string Units::find(const std::string& name) const {
    if (files.contains(name)) return name;
    const std::string pattern = unit::template_of(name);
    return files.contains(pattern) ? pattern : "";
}

}  // namespace superd::ctl
